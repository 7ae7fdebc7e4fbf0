from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

import sedyn
from sedyn.errors import InvalidInput
from sweeps.layout import Layout, document
from sweeps.metadata import read_document
from sweeps.plan import SimulationTask, SweepSpec, TheoryTask
from sweeps.store import Store
from sweeps.worker import execute

BASE = {"n": 40, "d": 20, "steps": 3, "depth": 2, "width": 2}


def spec_of(axes=None, base=BASE, **changes):
    axes = axes or {}
    settings = {"replicates": 5, "block": 2, "samples": 64, "randomizations": 2} | changes
    return SweepSpec({name: value for name, value in base.items() if name not in axes}, axes, **settings)


def finish(location, spec):
    store = Store.prepare(location, spec)
    tasks = store.missing_tasks(spec)
    for task in tasks:
        assert not execute(task, store, device="cpu").error
    return tasks


@pytest.fixture
def location(tmp_path):
    return str(tmp_path / "stores" / "a.zarr")


def tree_of(location):
    return xr.open_datatree(location, engine="zarr").load()


@pytest.mark.parametrize(
    ("dtype", "fill_value"),
    [("float64", np.nan), ("float64", 0), ("int8", 0), ("int64", 0), ("bool", 0), (np.dtypes.StringDType(), "")],
    ids=str,
)
def test_the_document_of_an_array_is_the_one_that_zarr_writes(dtype, fill_value):
    layout = Layout(("noise", "replicate"), (1, 4), dtype, fill_value, {"long_name": "a number", "flags": [0, 1]})
    root = zarr.group(zarr.storage.MemoryStore())
    root.create_array(
        "array",
        shape=(3, 10),
        chunks=layout.chunks,
        dtype=dtype,
        fill_value=fill_value,
        attributes=layout.attributes,
        dimension_names=layout.dims,
        compressors=None,
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    assert read_document(root.store, "array/zarr.json") == document((3, 10), layout)


@pytest.mark.filterwarnings("error")
def test_an_unfinished_store_reads_as_nan_and_pending(location):
    Store.prepare(location, spec_of({"noise": (0.1, 0.5)}))
    tree = tree_of(location)
    assert all(np.isnan(variable).all() for variable in tree["simulation"].data_vars.values())
    assert all(np.isnan(variable).all() for variable in tree["theory"].data_vars.values())
    assert (tree["status"].simulation == 0).all()
    assert tree["status"].simulation.attrs["flag_meanings"] == "pending done failed"
    assert tree["simulation"].train_error.dims == ("noise", "replicate", "iteration")
    assert tree["simulation"].noise.values.tolist() == [0.1, 0.5]


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


def test_ragged_axes_are_padded_with_nan(location):
    finish(location, spec_of({"width": (1, 3), "depth": (2, 3), "steps": (2, 3)}))
    weights = tree_of(location)["simulation"].deep_weights
    assert weights.sizes["layer"] == 2
    assert weights.layer.values.tolist() == [2, 3]
    padding = weights.sel(width=1, depth=2, steps=2)
    assert padding.notnull().sum() == 5 * 3  # replicates x iterations of a single weight
    assert padding.isel(layer=0, fan_in=0, fan_out=0, iteration=slice(0, 3)).notnull().all()


def test_a_linear_model_has_no_deep_layers_and_can_get_some(location):
    base = BASE | {"width": 1}
    finish(location, spec_of({"depth": (1,)}, base))
    assert tree_of(location)["simulation"].deep_weights.sizes["layer"] == 0
    finish(location, spec_of({"depth": (1, 3)}, base))
    tree = tree_of(location)
    assert tree["simulation"].deep_weights.sizes["layer"] == 2
    assert tree["simulation"].deep_weights.sel(depth=3, fan_out=0, fan_in=0).notnull().all()
    assert (tree["status"].theory == 1).all()


def test_names_make_an_axis(location):
    finish(location, spec_of({"activation": ("tanh", "erf")}))
    runs = tree_of(location)["simulation"]
    assert runs.train_error.sel(activation="erf").notnull().all()


def test_d_is_a_coordinate_along_n_where_it_follows(location):
    base = {name: value for name, value in BASE.items() if name not in ("n", "d")}
    finish(location, SweepSpec(base, {"n": (40, 60)}, {40: 20, 60: 30}, 2.0, 2, samples=64, randomizations=2))
    for group in ("simulation", "theory"):
        d = tree_of(location)[group].coords["d"]
        assert (d.dims, d.values.tolist()) == (("n",), [20, 30])


def test_growth_runs_only_what_is_missing_and_keeps_the_rest(location):
    finish(location, spec_of({"noise": (0.1, 0.5)}))
    before = tree_of(location)["simulation"].to_dataset()
    grown = spec_of({"noise": (0.05, 0.1, 0.3, 0.5)}, replicates=6)
    tasks = finish(location, grown)
    simulations = [task for task in tasks if isinstance(task, SimulationTask)]
    # The last replicate of each old cell, and three blocks of each of the two new ones.
    assert sorted(task.replicates for task in simulations) == [(0, 1)] * 2 + [(2, 3)] * 2 + [(4, 5)] * 2 + [(5,)] * 2
    assert sum(isinstance(task, TheoryTask) for task in tasks) == 2
    tree = tree_of(location)
    after = tree["simulation"].to_dataset()
    assert (tree["status"].simulation == 1).all()
    xr.testing.assert_identical(
        after.sel(noise=before.noise, replicate=before.replicate).train_error, before.train_error
    )
    fresh = location.replace("a.zarr", "b.zarr")
    finish(fresh, grown)
    xr.testing.assert_equal(after.sortby("noise"), tree_of(fresh)["simulation"].to_dataset())


def test_new_cells_that_share_a_solved_theory_copy_it(location):
    finish(location, spec_of({"features": ("gaussian",)}))
    tasks = finish(location, spec_of({"features": ("gaussian", "uniform")}))
    assert [task.solved_at for task in tasks if isinstance(task, TheoryTask)] == [(0,)]
    errors = tree_of(location)["theory"].test_error
    assert (errors.isel(features=0) == errors.isel(features=1)).all()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"seed": 1}, "seed was 0 and is now 1"),
        ({"samples": 128}, "theory.samples was 64 and is now 128"),
        ({"base": BASE | {"width": 3}}, "problem.width was 2 and is now 3"),
        ({"dtype": "float32"}, "dtype was 'float64' and is now 'float32'"),
        ({"base": BASE | {"d": 10}}, "problem.d was 20 and is now 10"),
    ],
)
def test_other_settings_are_refused_with_the_difference(location, changes, difference):
    Store.prepare(location, spec_of({"noise": (0.1,)}))
    with pytest.raises(InvalidInput, match=difference):
        Store.prepare(location, spec_of(**({"axes": {"noise": (0.1,)}} | changes)))


def test_the_block_of_a_store_stands(location):
    Store.prepare(location, spec_of(block=2))
    assert Store.prepare(location, spec_of(block=3)).block == 2


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


def test_tasks_are_as_long_as_a_second_allows_unless_a_block_is_asked_for():
    def counts(**settings):
        spec = spec_of(axes={"n": (40, 20000)}, replicates=64, **{"block": None, **settings})
        block = spec.block or spec.automatic_block
        return [[len(task.replicates) for task in spec.simulation_tasks(c, (), range(64), block)] for c in spec.cells]

    small, large = counts()
    assert len(small) < len(large)
    assert sum(small) == sum(large) == 64
    assert counts(block=2) == [[2] * 32] * 2


def test_an_interrupted_creation_is_taken_up_again(location, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("sweeps.store.lay_out", lambda root, settings: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Store.prepare(location, spec_of())
    finish(location, spec_of())
    assert (tree_of(location)["status"].simulation == 1).all()


def test_what_is_no_sweep_is_left_alone(tmp_path):
    (tmp_path / "stores").mkdir()
    (tmp_path / "stores" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match="is no Zarr store"):
        Store.prepare(str(tmp_path / "stores"), spec_of())
    with pytest.raises(InvalidInput, match="holds no sweep"):
        Store.open(str(tmp_path / "absent.zarr"))
