"""Bad values for every public argument: each is one line that names it, at once, and no other exception."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
import math
import random
import re
import time
import warnings

import numpy as np
import pytest
import scipy.sparse
import xarray as xr

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.checks import checked
from tests.bad_values import (
    HUGE,
    NO_FLAG,
    NO_FUNCTION,
    NO_NAME,
    NO_NUMBER,
    NO_VALUE,
    NO_WHOLE,
    Endless,
)

QUICK = 80  # of the cases, at each `make test`; all of them with those that are slow
SLOWEST_SECONDS = 3.0
PROBLEM = Problem(n=30, d=20, width=2, depth=2, steps=2)

OF_A_TYPE = {"int": NO_WHOLE, "float": NO_NUMBER, "bool": NO_FLAG, "str": NO_NAME}
OUT_OF_RANGE = {
    **{name: [0] for name in ("n", "d", "width", "depth", "steps", "signals", "outputs")},
    **{name: [-1e-9] for name in ("noise", "weight_decay")},
    "momentum": [1.0, -0.1],
    "batch_fraction": [0, 1.5, 1e-300],
    "signal_norm": [0],
    "learning_rate": [0, -1, [], [0.0] * 20, [0.1] * 19, [-0.1] * 20, [0.1, "1"] * 10, [[0.1] * 20], {0.1, 0.2}],
    "features": ["student_t", "student_t(2)", "student_t(1e999)", "sparse(1e-300)", "sparse(0)", "sparse(a)"],
    "covariance": ["power_law(1)", "power_law(1e999)", "two_level(0,0.5)", "two_level(1e999,0.5)"],
}


def bad_values_of(field):
    """Values that a field of `Problem` refuses, by its type and its name."""
    may_be_left_out = field.default is None or "None" in field.type
    of_its_type = OF_A_TYPE[re.split(r"\W", field.type)[0]]
    return [*of_its_type, *OUT_OF_RANGE.get(field.name, []), *([] if may_be_left_out else [None])]


OF_A_PROBLEM = {field.name: bad_values_of(field) for field in dataclasses.fields(Problem)}


def of_problems():
    for name, values in OF_A_PROBLEM.items():
        for value in values:
            yield f"Problem.{name}", lambda name=name, value=value: Problem(**{name: value})
    for value in [*NO_VALUE, None, 3, "n", {3: 4}, {"nope": 3}, [("n", 3)]]:
        yield "Problem.from_mapping", lambda value=value: Problem.from_mapping(value)


NO_PROBLEM = [*NO_VALUE, None, 3, "tanh", {"n": 30}, Problem]
NO_REPLICATES = [*NO_VALUE, None, "1", "", True, math.nan, HUGE, -1, 0, 2.5, 10**12, range(10**12)]
NO_REPLICATES += [[], [0, 0], [-1], [0.5], ["0"], [True], Endless(), itertools.repeat(1)]
NO_DATASET = [*NO_VALUE, 3, "theory.zarr", xr.Dataset(), xr.DataArray([1.0])]
NOT_SMOOTH = [{"activation": "relu"}, {"initialization": "random"}]
NO_DEVICE = [*NO_NAME, "cuda", None]
NO_SEED = [*NO_NUMBER, 2.5, -1, 2**128, None]

X = np.random.default_rng(0).standard_normal((30, 5))
NO_TABLE = [None, 3, "table", X[0], X[:0], X[:, :0], np.full((30, 5), "a"), X * 1j, np.full((30, 5), np.nan), {"a": 1}]
NO_TABLE += [
    [[1, 2], [3]],
    object(),
    np.where(X > 1, np.inf, X),
    X[None],
    scipy.sparse.csr_array(np.where(X > 1, np.inf, X)),
]

OF_FUNCTIONS = {
    "simulate": (
        {"problem": PROBLEM, "replicates": 1},
        {
            "problem": NO_PROBLEM,
            "replicates": NO_REPLICATES,
            "seed": NO_SEED,
            "engine": [*NO_NAME, None],
            "estimate": [*NO_FLAG, None],
            "device": NO_DEVICE,
            "dtype": [*NO_NAME, "float16", np.float64, np.dtype("float64"), None],
            "theory": NO_DATASET,
            "halves": [*NO_FLAG, None],
        },
    ),
    "simulate_together": (
        {"cells": [(PROBLEM, 1)]},
        {
            "cells": [*NO_VALUE, None, PROBLEM, [PROBLEM], [(PROBLEM,)], [(PROBLEM, 0)], [(1, 1)], [(PROBLEM, 1, 1)]],
            "seed": NO_SEED,
            "engine": [*NO_NAME, None],
            "estimate": [*NO_FLAG, None],
            "device": NO_DEVICE,
            "dtype": [*NO_NAME, None],
            "theories": [*NO_DATASET, [None, None], ["theory"], [xr.Dataset()]],
            "halves": [*NO_FLAG, None],
        },
    ),
    "state_evolution": (
        {"problem": PROBLEM, "samples": 64, "randomizations": 2},
        {
            "problem": NO_PROBLEM,
            "samples": [*NO_WHOLE, None, 0, 1, 63, 65, 2**50],
            "randomizations": [*NO_WHOLE, None, 0, 1, 10**12],
            "seed": NO_SEED,
            "target_stderr": [*NO_NUMBER, 0, -1],
            "max_samples": [*NO_WHOLE, None, 0],
            "include": [*NO_VALUE, None, 3, "samples", ["sample"], [3], ["samples", None]],
            "device": NO_DEVICE,
        },
    ),
    "fluctuations": (
        {"problem": PROBLEM, "samples": 64, "randomizations": 2},
        {
            "problem": [*NO_PROBLEM, *(dataclasses.replace(PROBLEM, **new) for new in NOT_SMOOTH)],
            "samples": [*NO_WHOLE, None, 0, 1, 63, 2**50],
            "randomizations": [*NO_WHOLE, None, 0, 1],
            "seed": NO_SEED,
        },
    ),
    "online_limit": (
        {"problem": Problem(n=30, d=20, steps=2, epochs=1, batching="one_pass"), "samples": 64, "randomizations": 2},
        {
            "problem": [*NO_PROBLEM, PROBLEM],
            "samples": [*NO_WHOLE, None, 0, 1, 63, 2**50],
            "randomizations": [*NO_WHOLE, None, 0, 1, 10**12],
            "seed": NO_SEED,
        },
    ),
    "memory_needed": (
        {"problem": PROBLEM},
        {
            "problem": NO_PROBLEM,
            "engine": [*NO_NAME, None],
            "dtype": [*NO_NAME, None],
            "estimate": [*NO_FLAG, None],
            "device": [*NO_DEVICE, "auto"],
        },
    ),
    "register_activation": (
        {"name": "bad", "f": np.tanh, "df": np.tanh, "d2f": np.tanh},
        {
            "name": [*NO_VALUE, None, "", "1st", "a b", "tanh", 3],
            **{
                name: [*NO_FUNCTION, None, lambda x: "text", lambda x: x[:1, :2], lambda x: 1 / 0]
                for name in ("f", "df", "d2f")
            },
            "kinked": [*NO_FLAG, None],
        },
    ),
    "register_link": (
        {"name": "bad", "f": np.tanh},
        {
            "name": [*NO_VALUE, None, "", "1st", "a b", "tanh", 3],
            "f": [*NO_FUNCTION, None, lambda z: None],
            "joint": [*NO_FLAG, None],
        },
    ),
    "register_features": (
        {"name": "bad", "draw": lambda rng, shape: rng.standard_normal(shape)},
        {"name": [*NO_VALUE, None, "", "1st", "gaussian"], "draw": [*NO_FUNCTION, None, lambda rng: 0]},
    ),
    "register_loss": (
        {"name": "bad", "jet": lambda f, y, order: (f, f, f)},
        {"name": [*NO_VALUE, None, "", "squared"], "jet": [*NO_FUNCTION, None], "binary": [*NO_FLAG, None]},
    ),
    "register_noise": (
        {"name": "bad", "of_normal": np.tanh},
        {"name": [*NO_VALUE, None, "", "laplace"], "of_normal": [*NO_FUNCTION, None]},
    ),
    "register_hidden": (
        {"name": "bad", "build": lambda parts: None},
        {"name": [*NO_VALUE, None, "", "dense"], "build": [*NO_FUNCTION, None]},
    ),
    "track": (
        {"X": X, "learning_rate": 0.1},
        {
            "X": [*NO_TABLE, X[:1], 0 * X, scipy.sparse.csr_array(X)],
            "learning_rate": [*NO_NUMBER, 0, -1, None],
            "momentum": [*NO_NUMBER, 1, -0.1, None],
            "weight_decay": [*NO_NUMBER, -1e-9, None],
            "nesterov": [*NO_FLAG, None],
            "centred": NO_FLAG,
        },
    ),
}


def of_functions():
    for function, (valid, bad) in OF_FUNCTIONS.items():
        for name, values in bad.items():
            for value in values:
                given = {**valid, name: value}
                yield f"{function}.{name}", lambda function=function, given=given: getattr(sedyn, function)(**given)


OF_AN_ESTIMATOR = {
    "early_stopping": [*NO_FLAG, None],
    "estimate": [value for value in NO_FLAG if value is not None] + [None, "first"],
    "fit_intercept": [*NO_FLAG, None],
    "warm_start": [*NO_FLAG, None],
    "verbose": [*NO_FLAG, None],
    "steps": [value for value in OF_A_PROBLEM["steps"] if value is not None],
    "max_steps": OF_A_PROBLEM["steps"],
    "patience": OF_A_PROBLEM["steps"],
    "class_weight": ["even", 1, 2.5, [1, 2], {2: 1.0}],
    "standardize": [*NO_FLAG, None],
    "random_state": [*NO_WHOLE, "seed", 2**32, np.random.default_rng(0)],
    "spectrum": [*NO_VALUE, "nope", "", None, 1.0, HUGE, [], [-1] * 5, ["1"] * 5, [0.0] * 5, [1.0] * 4, [math.nan] * 5],
}


@functools.cache
def fitted(make):
    return make(steps=4).fit(X, X[:, 0] > 0)


def of_estimators():
    for name, y in (("NetworkRegressor", X[:, 0]), ("NetworkClassifier", X[:, 0] > 0)):
        estimator = getattr(sedyn, name)
        for option in inspect.signature(estimator).parameters:
            for value in OF_AN_ESTIMATOR[option] if option in OF_AN_ESTIMATOR else OF_A_PROBLEM[option]:
                given = {"steps": 4, option: value}
                yield f"{name}.{option}", lambda make=estimator, given=given, y=y: make(**given).fit(X, y)
        for value in [*NO_TABLE, X[:1], np.ones((30, 5))]:
            yield f"{name}.fit.X", lambda make=estimator, value=value, y=y: make(steps=4).fit(value, y)
        for value in [None, 3, y[:5], np.full(30, np.nan), y * 1j, np.zeros((30, 2, 2)), np.zeros(0), {"a": 1}]:
            yield f"{name}.fit.y", lambda make=estimator, value=value: make(steps=4).fit(X, value)
        for value in [*NO_TABLE, X[:, :2]]:
            yield f"{name}.predict.X", lambda make=estimator, value=value: fitted(make).predict(value)


NO_WEIGHT = [b"20", {"a": 1}, 3 + 4j, "a", True, 0, -1, math.nan, HUGE, np.ones(5), np.ones((30, 2)), ["a"] * 30]
NO_WEIGHT += [np.full(30, math.nan), np.full(30, -1.0), np.zeros(30), np.full(30, 1j)]
NO_SCORING = [*NO_VALUE, 3, "nope", "", True, math.nan, HUGE, [1], lambda: 0, lambda model, X, y: 1 / 0]
NO_SCORING += [lambda model, X, y: "text"]
NO_GRID = [*NO_VALUE, None, 3, "width", [], {"width": []}, {"nope": [1]}, {"width": 3}, {3: [1]}, [{"width": [1]}, 3]]
NO_GRID += [{"width": ["a"]}, {"width": "ab"}, {"width": [0]}, {"width": Endless()}]
H, CURVATURES = np.ones((30, 2)), np.ones((30, 2, 2))
NO_H = [*NO_VALUE, None, 3, "a", X[0], H[:5], H * math.nan, H * 1j, CURVATURES]

OF_METHODS = {
    "NetworkRegressor.fit": ({}, {"sample_weight": NO_WEIGHT}),
    "NetworkRegressor.predict_interval": ({"X": X}, {"X": [*NO_TABLE, X[:, :2]], "coverage": [*NO_NUMBER, 0, 1, None]}),
    "NetworkClassifier.fit": ({}, {"sample_weight": NO_WEIGHT}),
    **{
        f"NetworkClassifier.{name}": ({}, {"X": [*NO_TABLE, X[:, :2]]})
        for name in ("decision_function", "predict_proba", "calibrated_proba")
    },
    **{
        f"{name}.estimated_score": ({}, {"scoring": NO_SCORING, "return_stderr": [*NO_FLAG, None]})
        for name in ("NetworkRegressor", "NetworkClassifier")
    },
    "Tracker.fresh_like": ({}, {"h": NO_H}),
    "Tracker.estimate": (
        {"h": H, "losses": lambda h: h[:, 0]},
        {"h": NO_H, "losses": [*NO_FUNCTION, None, lambda h: "text", lambda h: h, lambda h: 1 / 0]},
    ),
    "Tracker.step": (
        {"gradients": H, "curvatures": CURVATURES},
        {
            "gradients": NO_H,
            "curvatures": [*NO_VALUE, None, 3, "a", H, CURVATURES * math.nan, CURVATURES[:3]],
            "batch": [*NO_VALUE, 3, "a", [], [0, 0], [30], [-1], [0.5], ["0"], [True] * 30, [0]],
            "learning_rate": [*NO_NUMBER, 0, -1],
        },
    ),
    "Tracker.step_through": ({"h": H, "losses": lambda h: h}, {"h": NO_H}),
}


def of_methods():
    for method, (valid, bad) in OF_METHODS.items():
        kind, _, name = method.partition(".")
        for argument, values in bad.items():
            for value in values:
                given = {**valid, argument: value}
                yield f"{method}.{argument}", lambda kind=kind, name=name, given=given: call_of(kind, name, given)


def call_of(kind, name, given):
    if kind == "Tracker":
        return getattr(sedyn.track(X, 0.1), name)(**given)
    make = getattr(sedyn, kind)
    return make(steps=4).fit(X, X[:, 0] > 0, **given) if name == "fit" else getattr(fitted(make), name)(**given)


NO_SEARCH = {
    "estimator": [*NO_VALUE, None, 3, "x", sedyn.NetworkRegressor],
    "grid": NO_GRID,
    "scoring": NO_SCORING,
    "verbose": [*NO_FLAG, None],
}


def of_searches():
    valid = {"estimator": sedyn.NetworkRegressor(steps=2), "grid": {"width": [1]}}
    for name, values in NO_SEARCH.items():
        for value in values:
            given = {**valid, name: value}
            yield f"NetworkSearch.{name}", lambda given=given: sedyn.NetworkSearch(**given).fit(X, X[:, 0])
    for value in NO_TABLE:
        yield "NetworkSearch.fit.X", lambda value=value: sedyn.NetworkSearch(**valid).fit(value, X[:, 0])


def every_case():
    return [*of_problems(), *of_functions(), *of_estimators(), *of_methods(), *of_searches()]


def fault_of(case, field=None, again=True):
    """What is wrong with how a bad value is taken; nothing if it is refused in one line, of this field, and at once."""
    name, call = case
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(action="ignore"):
            call()
    except InvalidInput as refusal:
        words, seconds = str(refusal), time.perf_counter() - start
        if len(words.splitlines()) > 1 or len(words) > 3000:
            return f"{name}: not one line: {words[:200]!r}"
        if field not in (None, refusal.field):
            return f"{name}: not named: {words[:200]!r}"
        if seconds > SLOWEST_SECONDS:
            # Once may be the machine's fault, which does other things as well.
            return fault_of(case, field, again=False) if again else f"{name}: after {seconds:.1f} s: {words[:200]}"
        return None
    except Exception as error:
        return f"{name}: {type(error).__name__}: {str(error)[:200]}"
    return f"{name}: accepted {[default for default in call.__defaults__ if not isinstance(default, np.ndarray)]}"


def test_some_bad_values_are_refused_in_one_line_and_at_once():
    every = every_case()
    assert len(every) > 2000
    fitted(sedyn.NetworkRegressor), fitted(sedyn.NetworkClassifier)  # compiles what they need
    assert [fault for case in random.Random(0).sample(every, QUICK) if (fault := fault_of(case))] == []


@pytest.mark.slow
def test_every_bad_value_is_refused_in_one_line_and_at_once():
    every = every_case()
    fitted(sedyn.NetworkRegressor), fitted(sedyn.NetworkClassifier)
    assert [fault for case in every if (fault := fault_of(case))] == []


def test_every_public_function_declares_its_checks():
    functions = {name for name in sedyn.__all__ if inspect.isfunction(getattr(sedyn, name))}
    assert functions == OF_FUNCTIONS.keys()
    for name, (_, bad) in OF_FUNCTIONS.items():
        assert inspect.signature(getattr(sedyn, name)).parameters.keys() == bad.keys()


def test_a_function_with_an_argument_that_has_no_check_is_refused_when_it_is_declared():
    with pytest.raises(TypeError, match="checks and arguments differ in second"):
        checked(first=NO_VALUE)(lambda first, second: None)


def test_every_argument_of_a_search_is_among_the_cases():
    assert inspect.signature(sedyn.NetworkSearch).parameters.keys() == NO_SEARCH.keys()


def test_bad_values_of_methods_are_refused_too():
    fitted(sedyn.NetworkRegressor), fitted(sedyn.NetworkClassifier)
    assert [fault for case in of_methods() if (fault := fault_of(case))] == []
