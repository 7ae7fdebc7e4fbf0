from __future__ import annotations

import json
import platform

import pytest
import xarray as xr

import sedyn
from sweeps import status, validate
from sweeps.store import only_driver

STORE = "stores/sweep.zarr"


def test_status_counts_what_is_done_failed_and_left(sweep, tmp_path, capsys):
    assert sweep("grid.noise=[0.1,0.5]") == 0
    (tmp_path / STORE / "status/simulation/c.0.1").unlink()
    capsys.readouterr()
    assert status.main([STORE]) == 0
    shown = capsys.readouterr().out
    assert "axes: noise (2)" in shown
    assert "simulation: 8 of 10 replicates done (80%), 0 failed, 2 left" in shown
    assert "theory: 2 of 2 cells done" in shown
    assert "no sweep is running" in shown
    assert "computed on " in shown
    with only_driver(STORE):
        assert status.main([STORE]) == 0
    assert "a sweep is running" in capsys.readouterr().out


def test_status_says_why_results_failed(sweep, monkeypatch, capsys):
    simulate = sedyn.simulate_together

    def failing(cells, **options):
        if any(problem.noise == 0.5 for problem, _ in cells):
            raise FloatingPointError("no luck")
        return simulate(cells, **options)

    monkeypatch.setattr(sedyn, "simulate_together", failing)
    assert sweep("grid.noise=[0.1,0.5]") == 1
    capsys.readouterr()
    assert status.main([STORE]) == 0
    shown = capsys.readouterr().out
    assert "simulation: 5 of 10 replicates done (50%), 5 failed, 0 left" in shown
    assert "failed 5 times: FloatingPointError: no luck" in shown


def test_status_says_what_computed_each_task(sweep, read):
    assert sweep("grid.noise=[0.1,0.5]") == 0
    status = read()["status"]
    simulation, theory = status.simulation_facts, status.theory_facts
    assert (simulation.sel(fact="attempt") == 1).all()
    assert (simulation.sel(fact="seconds") > 0).all()
    assert (theory.sel(fact="peak_memory") > 10 * 2**20).all()
    assert (theory.sel(fact="gpu_peak_memory") == 0).all()
    assert simulation.attrs["seconds"] == "share of its task's computing time (s)"
    assert (status.simulation_error == "").all()
    assert (status.attrs["seed"], status.attrs["dtype"]) == (0, "float64")
    (code,) = set(simulation.sel(fact="environment").values.ravel().tolist())
    facts = json.loads(theory.attrs[str(int(code))])
    assert facts["device"] == "cpu"
    assert facts["host"] == platform.node()
    assert {"commit", "sedyn_version", "numpy_version", "zarr_version", "python_version"} <= set(facts)


@pytest.mark.parametrize("command", [status.main, validate.main])
def test_a_store_that_is_not_there_is_one_line(command, capsys):
    assert command(["absent.zarr"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def damage_missing(store):
    (store / "simulation/test_error/c.1.0.0").unlink()


def damage_short(store):
    path = store / "simulation/weight_gram/c.0.1.0.0.0"
    path.write_bytes(path.read_bytes()[:-8])


def damage_theory(store):
    (store / "theory/test_error/c.1.0").unlink()


def damage_values(store):
    path = store / "simulation/train_error/c.0.2.0"
    path.write_bytes(b"\xff" * len(path.read_bytes()))


@pytest.mark.parametrize("damage", [damage_missing, damage_short, damage_theory, damage_values])
def test_damage_is_found_repaired_and_computed_again(sweep, read, tmp_path, damage):
    grid = ("grid.noise=[0.1,0.5]",)
    assert sweep(*grid) == 0
    assert validate.main([STORE]) == 0
    before = read()
    damage(tmp_path / STORE)
    assert validate.main([STORE]) == 1
    assert validate.main([STORE, "--repair"]) == 0
    assert sweep(*grid) == 0
    assert validate.main([STORE]) == 0
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(read()[group].ds, before[group].ds)


def test_orphans_of_killed_writers_are_found_and_deleted(sweep, tmp_path):
    assert sweep("replicates=1") == 0
    orphan = tmp_path / STORE / "simulation/test_error/c.0.0.0123.partial"
    orphan.write_bytes(b"half")
    assert validate.main([STORE]) == 1
    assert validate.main([STORE, "--repair"]) == 0
    assert not orphan.exists()


def test_status_shows_what_a_stranger_wrote_in_its_lines(sweep, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr(platform, "node", lambda: "\x1b]0;owned\x07\n0 faults")
        assert sweep("replicates=1") == 0
    capsys.readouterr()
    assert status.main([STORE]) == 0
    shown = capsys.readouterr().out
    assert "computed on \\x1b]0;owned\\x07\\n0 faults (cpu)" in shown
    assert shown.replace("\n", "").isprintable()
