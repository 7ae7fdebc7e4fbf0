"""Stores as measures and reports open them."""

from __future__ import annotations

import time

import pytest
import xarray as xr

from analysis.report import main as report
from analysis.report.cautions import cautions
from analysis.statistics.datasets import features_of
from analysis.store import open_store
from sedyn.errors import InvalidInput
from sweeps.store import Store, metadata, patience
from tests.sweeps.store.storages import storage  # noqa: F401
from tests.sweeps.stores import finish, spec_of


def test_a_growth_on_its_way_is_not_seen(tmp_path, monkeypatch):
    location = str(tmp_path / "a.zarr")
    finish(location, spec_of({"noise": (0.1, 0.5)}))
    before = open_store(location)

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(metadata, "publish", die)
        with pytest.raises(KeyboardInterrupt):
            Store.prepare(location, spec_of({"noise": (0.1, 0.5, 0.9)}, replicates=7))
    for opened, expected in zip(open_store(location), before, strict=True):
        xr.testing.assert_identical(opened, expected)


def test_a_storage_is_asked_again_and_one_that_never_answers_is_one_line(storage, monkeypatch, capsys):  # noqa: F811
    finish("unsteady://a.zarr", spec_of())
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.001)
    answer, failures = storage._answer, [True, True]

    def busy(files):
        if failures and failures.pop():
            raise ConnectionResetError("busy")
        answer(files)

    monkeypatch.setattr(storage, "_answer", busy)
    simulation, _ = open_store("unsteady://a.zarr")
    assert simulation.train_error.notnull().all()
    assert not failures
    storage.away = True
    start = time.monotonic()
    with pytest.raises(InvalidInput, match="the storage does not answer"):
        open_store("unsteady://a.zarr")
    assert report(["unsteady://a.zarr"]) == 2
    assert time.monotonic() - start < 2 * patience.FIRST_SECONDS + 1
    shown = capsys.readouterr().err
    assert "the storage does not answer" in shown
    assert shown.count("\n") == 1


def test_features_are_known_where_they_follow_an_n_that_is_no_axis(tmp_path):
    location = str(tmp_path / "stores" / "a.zarr")
    finish(location, spec_of({"noise": (0.1, 0.5)}, {"n": 40, "steps": 1}, features_at={40: 20}, aspect=2))
    simulation, _ = open_store(location)
    assert int(features_of(simulation)) == 20
    assert cautions(simulation) == []
