"""Bad command lines: each is refused in one line and at once, with status 2 and before there is a store."""

from __future__ import annotations

import dataclasses
import random
import re
import shutil
import time

import pytest
from omegaconf import OmegaConf

from sedyn.model.problem import Problem
from sweeps.application.composition import CONFIGURATIONS
from sweeps.compute import Compute
from tests.bad_values import HUGE

QUICK = 40  # of the lines, at each `make test`; all of them with those that are slow
PIECES = 12  # of these, which are run one by one
SLOWEST_SECONDS = 3.0
MOST_LOADED = 20  # times as long by the clock, at most, a busy machine takes; what waits for an answer takes longer

# As they are written on a command line. What is quoted twice is a text, whatever it looks like.
NO_VALUE = ["{a:1}", "[[1]]", "${nope}", "${oc.env:NOT_THERE_AT_ALL}", "???", "${problem}"]
NO_NUMBER = [*NO_VALUE, "abc", "true", "nan", "inf", "-inf", "1e400", str(HUGE), "'1'", "''", "[1]", "0x10"]
NO_WHOLE = [*NO_NUMBER, "1.5", "-1", "1e3"]
NO_NAME = [*NO_VALUE, "nope", "''", "3", "0.5", "true", "[a,b]", "tanh(1)", "'tanh '"]
NO_FLAG = [*NO_VALUE, "maybe", "3", "0", "'true'", "[true]", "''"]
OF_A_TYPE = {"int": NO_WHOLE, "float": NO_NUMBER, "bool": NO_FLAG, "str": NO_NAME}
OUT_OF_RANGE = {
    **{name: ["0"] for name in ("n", "d", "width", "depth", "steps", "signals", "outputs", "signal_norm")},
    "depth": ["1000000"],
    "steps": ["100000000000"],
    "momentum": ["1", "-0.1"],
    "noise": ["-1"],
    "batch_fraction": ["0", "2"],
    "learning_rate": ["0", "[0.1,0.2]", "[0,0,0]", "-1"],
    "features": ["sparse(1e-300)", "student_t(2)", "student_t"],
    "covariance": ["power_law(1)", "two_level(2)"],
}
OF_KEYS = {
    "replicates": [*NO_WHOLE, "null", "0", "1000000000000"],
    "block": [*NO_WHOLE, "0", "1000000000000"],
    "seed": [*NO_WHOLE, "null"],
    "aspect": [  # of which a list has several
        *(value for value in NO_NUMBER if value != "[1]"),
        *("null", "0", "[]", "[0]", "[1,abc]", "[1,-2]", "-1", "1e-320", "1e300"),
    ],
    "engine": [*NO_NAME, "null"],
    "dtype": [*NO_NAME, "null", "float16"],
    "estimate": [*NO_FLAG, "null"],
    "halves": [*NO_FLAG, "null"],
    "laws": [*NO_FLAG, "null"],
    "fluctuations": [*NO_FLAG, "null"],
    "code": [*NO_NAME, "null"],
    "max_failures": [*NO_WHOLE, "0"],
    "plan": [*NO_FLAG, "null"],
    "theory": ["3", "null", "abc", "[1]", "{sample:3}"],
    "theory.samples": [*NO_WHOLE, "null", "0", "63", "100", "1099511627776"],
    "theory.randomizations": [*NO_WHOLE, "null", "1", "1000000000000"],
    "target": ["3", "null", "abc", "[1]", "{sterr:3}"],
    "target.stderr": [*NO_NUMBER, "0", "-1"],
    "target.observable": [*NO_NAME, "null"],
    "target.verdict": [*NO_FLAG, "null"],
    "target.max_seconds": [*NO_NUMBER, "0", "-1"],
    "target.max_replicates": [*NO_WHOLE, "null", "1", "1000000000000"],
    "compute.executor": [*NO_NAME, "null"],
    "compute.device": [*NO_NAME, "null", "cuda"],
    "compute.workers": [*NO_WHOLE, "0", "1000000000000"],
    "compute.gpus_per_worker": [*NO_NUMBER, "0", "-1", "1e-300"],
    "compute.address": [*NO_VALUE, "3", "true", "''", "[a]"],
    "compute.walltime": [*NO_VALUE, "3", "null", "abc", "1:00", "00:00:00", "'60'", "[a]", "-01:00:00"],
    "compute.cpus_per_task": [*NO_WHOLE, "null", "0", "1000000000000"],
    "compute.partition": [*NO_VALUE, "3", "true", "''", "[a]"],
    "compute.account": [*NO_VALUE, "3", "true", "''", "[a]"],
    "compute.sbatch": [*NO_VALUE, "3", "null", "abc", "[3]", "['']"],
    "imports": [*NO_VALUE, "json", "3", "null", "[3]", "[no_such_module]", "['']", "[.json]"],
    "report": [*NO_VALUE, "os", "os.sep", "os.getcwd", "os.nope", "no.such", "''", "3", "[a]"],
    "store": [*NO_VALUE, "/", "''", "..", "3", "true", "[a]", "'~nobody-of-that-name/x.zarr'", "nope://x/y.zarr"],
    **{f"zip.{name}": ["3", "[]", "null,null", "[abc]", "[[1]]"] for name in ("n", "noise", "activation")},
    **{f"ranges.{name}": ["3", "[1]", "[2,1]", "[0,1]", "[0,1,log]", "[a,b]"] for name in ("n", "noise", "activation")},
    "grids": ["3", "[]", "[3]", "[{}]", "[{n:3}]", "[{nise:[1]}]", "[{d:[3]},{n:[40]}]", "{n:[3]}", "[{n:[1.5]}]"],
    "cells": ["3", "nope.csv", "nope.txt", "[a]", "true", "''"],
    "design": ["3", "null", "{pints:3}", "{points:3}"],
    "refine": ["3", "null", "{axe:n}", "{axis:n}", "{axis:activation}", "{axis:noise}", "{within:2}", "{axis:nope}"],
    "problem": ["null", "3", "nope", "fields", "[1]", "{n:3}", "1_000"],
    "grid": ["null", "3", "nope", "fields", "[1]", "{n:[3]}"],
    "compute": ["null", "3", "nope", "[1]", "{workers:3}"],
    "experiment": ["3", "nope", "1_000", "[1]", "quick", "quickstrat"],
    "hydra.run.dir": ["elsewhere"],
    "hydra.mode": ["MULTIRUN"],
    **{key: ["1"] for key in ("nonsense", "problem.widht", "grid.nosie", "compute.worker", "+problem.colour")},
}
MALFORMED = ["n", "=3", "problem.n", "problem.n==3", "problem.n=[", "~seed", "~problem", "a=b=c", "'", "-1", "ü=1"]
OTHERS = [
    *([flag] for flag in ("--foo", "-x", "--resolve", "--config-dir=/nonexistent", "--cfg=all", "--multirun=3")),
    *([word] for word in MALFORMED),
    *(
        ["target.verdict=true", f"target.judge={value}"]
        for value in (*NO_VALUE, "null", "os", "os.sep", "no.such", "3")
    ),
    *(["ranges.noise=[0.1,0.5]", f"design.points={value}"] for value in (*NO_WHOLE, "null", "0", "1000000000000")),
    *(["ranges.noise=[0.1,0.5]", "design.points=4", f"design.method={value}"] for value in (*NO_NAME, "null")),
    *([f"refine.axis={value}"] for value in NO_NAME),
    *(
        ["refine.axis=noise", "grid.noise=[0.1,1]", f"refine.within={value}"]
        for value in (*NO_NUMBER, "null", "-1", "1")
    ),
    *([f"store={'x' * 300}"], ["store=~/x.zarr"], ["grid.n=interval(1,5)"], ["problem.noise=0.1,0.2"], ["glob(*)"]),
    *(
        [
            ["zip.n=[40,80]", word]
            for word in ("zip.d=[20]", "grid.n=[3]", "problem.n=3", "cells=x.csv", "ranges.d=[2,3]")
        ]
    ),
    *([["refine.axis=noise", "grid.noise=[0.1,1]", word] for word in ("target.stderr=0.1", "refine.within=0")]),
    *(["--multirun", word] for word in ("seed=1,2", "problem.nise=1,2", "problem.noise=glob(*)", "problem.noise=1,-1")),
]


def lines():
    """Every bad command line, as words."""
    for field in dataclasses.fields(Problem):
        may_be_left_out = field.default is None or "None" in field.type
        bad = [*OF_A_TYPE[re.split(r"\W", field.type)[0]], *OUT_OF_RANGE.get(field.name, [])]
        for value in [*bad, *([] if may_be_left_out else ["null"])]:
            yield [f"problem.{field.name}={value}"]
            yield [f"grid.{field.name}=[{value}]"]
        yield [f"grid.{field.name}=3"]
        yield [f"grid.{field.name}=[]"]
    for key, values in OF_KEYS.items():
        for value in values:
            yield [f"{key}={value}"]
    yield from OTHERS


def keys_of(node, prefix=""):
    """Name what can be set, in a configuration, as a command line does."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from keys_of(value, f"{prefix}{name}.")


def test_every_key_has_bad_lines():
    config = OmegaConf.to_container(OmegaConf.load(CONFIGURATIONS / "config.yaml"))
    groups = [next(iter(choice)) for choice in config.pop("defaults") if isinstance(choice, dict)]
    keys = {*keys_of(config), *(f"compute.{field.name}" for field in dataclasses.fields(Compute)), *groups}
    named = {word.partition("=")[0] for words in lines() for word in words}
    assert {
        key for key in keys if key not in named and not any(other.startswith(f"{key}.") for other in named)
    } == set()


@pytest.fixture
def fault_of(sweep, capsys, tmp_path):
    """Say what is wrong with how a line is taken; nothing if it is refused as it should be."""

    def say(words, again=True):
        capsys.readouterr()
        start, began = time.process_time(), time.perf_counter()
        try:
            status = sweep(*words)
        except BaseException as error:
            return f"{words}: {type(error).__name__}: {error}"[:400]
        # Of the processor: a machine that does other things takes longer by the clock, and waits are far longer.
        seconds = max(time.process_time() - start, (time.perf_counter() - began) / MOST_LOADED)
        shown = capsys.readouterr()
        if made := list(tmp_path.rglob("*.zarr")):
            shutil.rmtree(made[0])  # of which the lines that follow are not guilty
        if status != 2 or shown.out or made:
            return f"{words}: status {status}, {shown}"[:400]
        if shown.err.count("\n") != 1 or len(shown.err) > 4000:
            return f"{words}: not one line: {shown.err}"[:400]
        if seconds > SLOWEST_SECONDS:
            # Once may be the machine's fault, which does other things as well.
            return say(words, again=False) if again else f"{words}: after {seconds:.1f} s: {shown.err}"[:400]
        return None

    return say


def test_some_bad_lines_are_refused_at_once_and_make_no_store(fault_of):
    every = list(lines())
    assert len(every) > 1000
    assert [fault for words in random.Random(0).sample(every, QUICK) if (fault := fault_of(words))] == []


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("piece", range(PIECES))
def test_every_bad_line_is_refused_at_once_and_makes_no_store(fault_of, piece):
    assert [fault for words in list(lines())[piece::PIECES] if (fault := fault_of(words))] == []
