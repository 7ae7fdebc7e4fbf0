from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from sedyn.errors import InvalidInput
from sweeps.plan import SimulationTask
from sweeps.precision import PreciseTasks, next_count, standard_error
from sweeps.store import Store
from sweeps.target import Target
from sweeps.worker import execute
from tests.sweeps.stores import run_out_of_order, spec_of, tree_of

TARGET = Target("train_error", 0.05, 20)


def test_the_standard_error_is_the_largest_of_all_entries():
    values = np.random.default_rng(0).standard_normal((50, 3)) * [1, 2, 3]
    expected = (values.std(axis=0, ddof=1) / np.sqrt(50)).max()
    assert standard_error(values) == pytest.approx(expected, rel=1e-12)
    padded = np.concatenate([values, np.full((50, 2), np.nan)], axis=1)
    assert standard_error(padded) == pytest.approx(expected, rel=1e-12)
    padded[0, 3] = 1.0
    assert standard_error(padded) == np.inf
    assert standard_error(np.full((4, 2), np.nan)) == 0.0


def test_the_next_count_follows_from_the_error_alone():
    target = Target("test_error", 1.0, 100)
    assert next_count(10, 0.9, 4, target) == 10
    assert next_count(10, 1.1, 4, target) == 16  # 12.1 needed, in whole blocks
    assert next_count(10, 50.0, 4, target) == 20  # at most twice as many
    assert next_count(96, 50.0, 4, target) == 100
    assert next_count(100, 50.0, 4, target) == 100


def drive(location, spec, order, stop_after=None):
    """Run a precise sweep, taking several tasks at a time and finishing them in another order."""
    store = Store.prepare(location, spec)
    source = PreciseTasks(store, spec, TARGET, "cpu")
    return run_out_of_order(source, location, order, stop_after)


def test_replicates_are_added_until_the_target_is_met_whatever_the_order(tmp_path):
    spec = spec_of({"noise": (0.01, 0.3, 3.0)}, replicates=4)
    first, second = (str(tmp_path / "stores" / name) for name in ("a.zarr", "b.zarr"))
    source = drive(first, spec, order=0)
    assert max(source.errors) > TARGET.stderr >= min(source.errors)  # the noisiest cell meets the cap instead
    drive(second, spec, order=2, stop_after=11)
    drive(second, spec, order=1)
    trees = [tree_of(location) for location in (first, second)]
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(trees[0][group].ds, trees[1][group].ds)
    counts = (trees[0]["status"].simulation == 1).sum("replicate").values
    assert counts[0] < counts[-1] == TARGET.max_replicates
    errors = [
        standard_error(trees[0]["simulation"].train_error.isel(noise=k).values[: counts[k]]) for k in range(len(counts))
    ]
    np.testing.assert_allclose(errors, source.errors)
    assert drive(first, spec, order=0).announced == 0


def test_tasks_are_sized_by_a_second_of_the_device(tmp_path):
    spec = spec_of({"n": (2000,)}, replicates=512, block=None, base={"d": 1000, "steps": 10})
    sizes = {}
    for device in ("cpu", "gpu"):
        store = Store.prepare(str(tmp_path / "stores" / f"{device}.zarr"), spec)
        source = PreciseTasks(store, spec, Target("train_error", 0.05, 512), device)
        sizes[device] = [task.size for task in source.tasks if isinstance(task, SimulationTask)]
    assert len(sizes["cpu"]) > 8
    assert sizes["gpu"] == [sum(sizes["cpu"])] == [512]


def test_a_later_round_has_tasks_as_large_as_its_own_number_of_replicates_allows(tmp_path):
    spec = spec_of(replicates=2, block=None, base={"n": 40, "d": 20, "steps": 2, "noise": 3.0})
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    source, sizes = PreciseTasks(store, spec, Target("train_error", 1e-3, 16), "cpu"), []
    while task := source.take():
        execute(task, store, device="cpu")
        sizes += [task.size] * isinstance(task, SimulationTask)
        source.finish(task, failed=False)
    assert sizes == [2, 2, 4, 8]


def test_the_next_round_goes_where_it_lowers_an_error_most_per_second(tmp_path):
    spec = spec_of({"noise": (0.3, 3.0)}, replicates=4)
    source = drive(str(tmp_path / "stores" / "a.zarr"), spec, order=0, stop_after=6)
    assert source.take().problem.noise == 3.0


def test_a_cell_with_a_failure_gets_no_more(tmp_path):
    spec = spec_of(replicates=2)
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    source = PreciseTasks(store, spec, TARGET, "cpu")
    tasks = [source.take() for _ in range(source.announced)]
    assert [source.finish(task, failed=True) for task in tasks] == [()] * len(tasks)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("tets_error", 1.0, 10), "did you mean 'test_error'"),
        (("test_error", 0, 10), "target.stderr=0"),
        (("test_error", 1.0, 1), "target.max_replicates=1"),
    ],
)
def test_a_wrong_target_is_refused(values, message):
    with pytest.raises(InvalidInput, match=message):
        Target(*values)


def test_a_target_is_met_by_ray_workers_with_the_same_replicates(sweep, read, ray_session, tmp_path):
    target = (
        "target.observable=train_error",
        "target.stderr=0.2",
        "target.max_replicates=9",
        "block=3",
        "replicates=3",
    )
    grid = "grid.noise=[0.01,0.5,3.0]"
    assert sweep(grid, *target, "store=stores/inline.zarr") == 0
    assert sweep(grid, *target, "store=stores/ray.zarr", "compute=local", "compute.workers=2") == 0
    inline, parallel = (read(f"stores/{name}.zarr") for name in ("inline", "ray"))
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(parallel[group].ds, inline[group].ds)
    done = (parallel["status"].simulation == 1).sum("replicate")
    assert done.max() == 9 == done.sel(noise=3.0) > done.sel(noise=0.01)  # the cap, and no more
    assert (done == (inline["status"].simulation == 1).sum("replicate")).all()
    for noise in (0.01, 0.5, 3.0):
        values = parallel["simulation"].train_error.sel(noise=noise).values[: int(done.sel(noise=noise))]
        assert standard_error(values) <= 0.2 or done.sel(noise=noise) == 9


def test_a_target_on_the_command_line(sweep, read, capsys):
    target = (
        "target.observable=train_error",
        "target.stderr=0.2",
        "target.max_replicates=9",
        "block=3",
        "replicates=3",
    )
    assert sweep("grid.noise=[0.01,3.0]", *target) == 0
    assert "target met in 1 of 2 cells" in capsys.readouterr().out
    done = (read()["status"].simulation == 1).sum("replicate")
    assert done.sel(noise=3.0) == 9 > done.sel(noise=0.01)
    assert sweep("grid.noise=[0.01,3.0]", *target) == 0
    assert "nothing was missing" in capsys.readouterr().out
