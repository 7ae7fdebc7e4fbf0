"""What plain runs need is compiled before them, side by side, and no number knows of it."""

import os
import subprocess
import sys

import pytest

from sedyn.arrays.compiling import SOURCE
from sedyn.kernels.cpu import ready

RUNS = """
import sys
import hashlib
import numpy as np
import sedyn
from numba.core import event
from sedyn.arrays.compiling import SOURCE
from sedyn.kernels.cpu import ready

compiled = []

class Listener(event.Listener):
    def on_start(self, found):
        function = found.data["dispatcher"].py_func
        if function.__module__.startswith("sedyn"):
            compiled.append(function.__qualname__)

    def on_end(self, found):
        pass

if "ready" in sys.argv:
    assert ready.make_ready(2) == len(ready.functions_of_runs())
    assert ready.make_ready(2) is None
event.register("numba:compile", Listener())
small = sedyn.Problem(n=60, d=45, width=3, depth=3, steps=4, noise=0.3)
large = sedyn.Problem(n=1500, d=1000, width=3, depth=3, steps=2)
runs = {
    "small": lambda: sedyn.simulate(small, 3),
    "large": lambda: sedyn.simulate(large, 1, engine="dense", estimate=False),
    "deferred": lambda: sedyn.simulate(large, 2, engine="deferred"),
    "theory": lambda: sedyn.state_evolution(small, samples=512, randomizations=2),
}
found = {name: runs[name]() for name in sys.argv[1].split(",")}
for name in sorted(found):
    numbers = b"".join(np.asarray(found[name][each]).tobytes() for each in sorted(found[name].data_vars))
    print(name, hashlib.sha256(numbers).hexdigest())
print("compiled:", *compiled, file=sys.stderr)
"""


def numbers_of(words, folder):
    """What runs give, bit by bit, and what they have compiled, of a process that keeps what it compiles in a folder."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(folder), "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [sys.executable, "-c", RUNS, *words], env=environment, capture_output=True, text=True, check=True
    )
    return found.stdout, found.stderr.splitlines()[-1].split()[1:]


@pytest.mark.slow
def test_numbers_do_not_depend_on_who_has_compiled_what_and_when(tmp_path):
    expected, compiled = numbers_of(["small,large,deferred,theory"], tmp_path / "one")
    assert "descend_paths" in compiled
    # The same again, with what is there; in another order; and by processes that do nothing else.
    assert numbers_of(["small,large,deferred,theory"], tmp_path / "one") == (expected, [])
    assert numbers_of(["theory,deferred,large,small"], tmp_path / "other")[0] == expected
    found, compiled = numbers_of(["small,large,deferred,theory", "ready"], tmp_path / "ready")
    assert found == expected
    assert compiled == []


def test_functions_of_runs_are_there_and_each_once():
    listed = ready.functions_of_runs()
    assert all(hasattr(each.function, "py_func") for each in listed)
    names = [(each.module, each.name) for each in listed]
    assert len(set(names)) == len(names)
    for each in listed:
        parameters = each.function.py_func.__code__.co_argcount
        assert {len(signature) for signature in each.signatures} == {parameters}, each.name


def test_processes_share_out_what_waits(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    numbers = [number for number, each in enumerate(ready.functions_of_runs()) if each.name.startswith("_bend_tanh")]
    assert ready.compile_before(numbers, 4) == len(numbers) == 1
    assert list(tmp_path.rglob("functions._bend_tanh-*.nbi"))


@pytest.mark.parametrize("folder", [None, "/proc/nowhere", "there"])
def test_what_is_tried_once_or_cannot_be_kept_starts_nothing(monkeypatch, tmp_path, folder):
    there = None if folder is None else tmp_path / folder
    monkeypatch.setattr(ready, "folder_of_compiled", lambda: there)
    monkeypatch.setattr(ready, "compile_before", lambda numbers, processes: len(numbers))
    kept = folder == "there"
    assert ready.make_ready(2) == (len(ready.functions_of_runs()) if kept else None)
    assert ready.make_ready(2) is None
    if kept:
        (mark,) = (each for each in there.iterdir() if each.suffix != ".lock")
        monkeypatch.setattr(ready.compiling, "SOURCE", SOURCE + "another")
        assert ready.make_ready(2)
        assert mark.exists()


def test_a_process_that_goes_away_is_no_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert ready.compile_before([0, 1], 2) == 0


def test_nobody_waits_for_a_process_that_hangs(monkeypatch, tmp_path):
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 1000\n")
    hanging.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(hanging))
    monkeypatch.setattr(ready, "MOST_SECONDS", 0.1)
    assert ready.compile_before([0, 1], 2) == 0
