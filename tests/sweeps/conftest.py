from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import xarray as xr

from sweeps.application.sweep import main

SMALL = ["problem.n=40", "problem.d=20", "problem.steps=3", "problem.depth=2", "replicates=5", "block=2"]
CHEAP = ["theory.samples=64", "theory.randomizations=2"]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the application on a small problem, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> int:
        given = {re.sub("^(grid|zip|ranges)[.]", "problem.", argument.partition("=")[0]) for argument in arguments}
        if {"aspect", "problem.n"} & given:
            given.add("problem.d")
        defaults = [a for a in (*SMALL, *CHEAP, "compute=inline") if a.partition("=")[0] not in given]
        flags = [argument for argument in arguments if argument.startswith("--")]
        return main([*flags, *defaults, *(argument for argument in arguments if argument not in flags)])

    return run


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., xr.DataTree]:
    """Load a store of the test's folder whole."""

    def load(name: str = "stores/sweep.zarr") -> xr.DataTree:
        return xr.open_datatree(tmp_path / name, engine="zarr").load()

    return load


@pytest.fixture
def location(tmp_path: Path) -> str:
    """Path of a store that is not there yet."""
    return str(tmp_path / "stores" / "a.zarr")


@pytest.fixture(autouse=True)
def _no_litter(tmp_path: Path) -> Iterator[None]:
    yield
    assert {path.name for path in tmp_path.iterdir()} <= {"stores"}
