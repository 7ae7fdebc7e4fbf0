from __future__ import annotations

import numpy as np
import pytest
import zarr

from sweeps.plan import SweepSpec
from sweeps.store import Store
from sweeps.store.layout import Layout, document
from sweeps.store.metadata import read_document
from tests.sweeps.stores import BASE, finish, spec_of, tree_of


@pytest.mark.parametrize("checked", [False, True])
@pytest.mark.parametrize(
    ("dtype", "fill_value"),
    [("float64", np.nan), ("float64", 0), ("int8", 0), ("int64", 0), ("bool", 0), (np.dtypes.StringDType(), "")],
    ids=str,
)
def test_the_document_of_an_array_is_the_one_that_zarr_writes(dtype, fill_value, checked):
    attributes = {"long_name": "a number", "flags": [0, 1]}
    layout = Layout(("noise", "replicate"), (1, 4), dtype, fill_value, attributes, checked)
    root = zarr.group(zarr.storage.MemoryStore())
    root.create_array(
        "array",
        shape=(3, 10),
        chunks=layout.chunks,
        dtype=dtype,
        fill_value=fill_value,
        attributes=layout.attributes,
        dimension_names=layout.dims,
        compressors=zarr.codecs.Crc32cCodec() if checked else None,
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    assert read_document(root.store, "array") == document((3, 10), layout)


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
