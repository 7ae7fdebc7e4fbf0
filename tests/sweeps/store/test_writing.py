from __future__ import annotations

import xarray as xr

import sedyn
from sweeps.plan import TheoryTask
from sweeps.store import Store
from sweeps.worker import execute
from tests.sweeps.stores import finish, spec_of, tree_of


def test_what_is_stored_is_what_the_kernels_return(location):
    spec = spec_of({"noise": (0.1, 0.5)})
    finish(location, spec)
    tree = tree_of(location)
    for cell in spec.cells:
        runs = sedyn.simulate(cell.problem, replicates=5, engine=cell.engine, device="cpu")
        theory = sedyn.state_evolution(cell.problem, samples=64, randomizations=2, device="cpu")
        for stored, computed in ((tree["simulation"], runs), (tree["theory"], theory)):
            selected = stored.to_dataset().sel(noise=cell.problem.noise, drop=True)
            for name in computed.data_vars:
                xr.testing.assert_identical(selected[name].variable, computed[name].variable)


def test_simulation_and_theory_subtract(location):
    finish(location, spec_of({"noise": (0.1, 0.5)}))
    tree = tree_of(location)
    difference = tree["simulation"].to_dataset() - tree["theory"].to_dataset()
    assert difference.train_error.notnull().all()


def test_new_cells_that_share_a_solved_theory_copy_it(location):
    finish(location, spec_of({"features": ("gaussian",)}))
    tasks = finish(location, spec_of({"features": ("gaussian", "uniform")}))
    assert [task.solved_at for task in tasks if isinstance(task, TheoryTask)] == [(0,)]
    errors = tree_of(location)["theory"].test_error
    assert (errors.isel(features=0) == errors.isel(features=1)).all()


def test_a_task_of_several_blocks_stores_what_their_own_tasks_store(location):
    spec = spec_of()
    together, apart = (Store.prepare(f"{location}.{kind}", spec) for kind in ("together", "apart"))
    assert together.block == 2
    for store, tasks in ((together, [(0, 1, 2, 3)]), (apart, [(2, 3), (0, 1)]), (together, [(4,)]), (apart, [(4,)])):
        for replicates in tasks:
            execute(spec.simulation_task(spec.cells[0], (), replicates), store, device="cpu")
    one, other = (tree_of(f"{location}.{kind}") for kind in ("together", "apart"))
    xr.testing.assert_equal(one["simulation"].to_dataset(), other["simulation"].to_dataset())
    assert (one["status"].simulation == 1).all()
