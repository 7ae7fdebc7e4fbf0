"""Sweeps whose simulations compare the laws of rows and pre-activations with the theory."""

from __future__ import annotations

import pytest
import xarray as xr

import sedyn
from sedyn.errors import InvalidInput
from sedyn.model.observables import COMPARED, SIMULATED
from sweeps import theories, validate
from sweeps.plan import SweepSpec, TheorySettings
from sweeps.store import Store
from sweeps.theories import Theories
from tests.sweeps.stores import finish, spec_of, tree_of

LAWS = ["laws=true", "theory.samples=128"]


def test_ray_and_inline_agree_with_laws_and_both_with_the_kernels(sweep, read, ray_session, capsys):
    grid = ("grid.n=[40,80]", "grid.noise=[0.1,0.5]", "aspect=2", "replicates=3")
    assert sweep(*LAWS, *grid, "store=stores/inline.zarr") == 0
    assert sweep(*LAWS, *grid, "store=stores/ray.zarr", "compute=local") == 0
    inline, ray = (read(f"stores/{name}.zarr")["simulation"].to_dataset() for name in ("inline", "ray"))
    xr.testing.assert_identical(inline, ray)
    assert set(inline.data_vars) == {*SIMULATED, *COMPARED}
    problem = sedyn.Problem(n=80, d=40, steps=3, depth=2, noise=0.5)
    theory = sedyn.state_evolution(problem, samples=128, randomizations=2, include=("samples",), device="cpu")
    runs = sedyn.simulate(problem, 3, theory=theory, device="cpu")
    for name in COMPARED:
        stored = inline[name].sel(n=80, noise=0.5, drop=True).drop_vars("d", errors="ignore")
        xr.testing.assert_equal(stored, runs[name])
    assert inline.row_kolmogorov.isel(iteration=-1).notnull().all()
    assert (inline.theory_samples, inline.theory_randomizations) == (runs.theory_samples, runs.theory_randomizations)
    assert validate.main(["stores/ray.zarr"]) == 0
    capsys.readouterr()
    assert sweep(*LAWS, *grid, "plan=true", "store=stores/other.zarr") == 0
    assert "predicted" in capsys.readouterr().out


def test_growth_and_resumption_keep_laws(tmp_path):
    grown, fresh = (str(tmp_path / "stores" / name) for name in ("a.zarr", "b.zarr"))
    finish(grown, spec_of({"noise": (0.1,)}, laws=True, replicates=2))
    spec = spec_of({"noise": (0.1, 0.5), "steps": (3, 4)}, laws=True, replicates=3)
    finish(grown, spec)
    finish(fresh, spec)
    assert finish(grown, spec) == []
    xr.testing.assert_identical(*(tree_of(location)["simulation"].to_dataset() for location in (grown, fresh)))


@pytest.mark.parametrize("first", [True, False])
def test_a_store_with_laws_is_not_one_without(tmp_path, first):
    location = str(tmp_path / "stores" / "a.zarr")
    Store.prepare(location, spec_of(laws=first))
    with pytest.raises(InvalidInput, match=f"laws was {first} and is now {not first}; name another store"):
        Store.prepare(location, spec_of(laws=not first))


def test_cells_that_share_a_theory_are_compared_with_the_same_one(monkeypatch):
    solved = []
    solve = sedyn.state_evolution
    monkeypatch.setattr(sedyn, "state_evolution", lambda *a, **k: solved.append(a[0]) or solve(*a, **k))
    spec = SweepSpec({"steps": 3}, {"n": (40, 80), "noise": (0.1, 0.5)}, {40: 20, 80: 40}, 2.0)
    kept, settings = Theories("cpu"), TheorySettings(128, 2, 0)
    found = [kept.of(cell.problem, settings) for cell in spec.cells]
    assert [problem.n for problem in solved] == [40, 40]
    alone = Theories("cpu").of(spec.cells[-1].problem, settings)  # solved at another n: the same to the last bit
    xr.testing.assert_equal(found[-1], alone)
    monkeypatch.setattr(theories, "BUDGET", 1)  # room for one
    before = len(solved)
    for cell in (*spec.cells[:2], spec.cells[0]):
        kept.of(cell.problem, settings)
    assert len(solved) - before >= 2
