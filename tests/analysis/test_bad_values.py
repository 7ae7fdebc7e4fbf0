"""Bad values for the public functions of `analysis`: each is one line that names it, and no other exception."""

from __future__ import annotations

import inspect
import math

import xarray as xr
from rich.console import Console

import analysis
from analysis.report import report
from analysis.statistics import (
    breakdown_horizon,
    breakdown_rate,
    breakdown_width,
    coverage,
    deep_concentration,
    effective_signal,
    fluctuations,
    gaussian_fluctuations,
    generalization_estimate,
    large,
    rates_along,
    selection,
    sgd,
    single_runs,
    universality,
)
from analysis.store import open_store
from tests.analysis.synthetic import store
from tests.bad_values import NO_FLAG, NO_NAME, NO_NUMBER, NO_VALUE, NO_WHOLE
from tests.sedyn.test_bad_values import fault_of

MEASURES = (
    analysis.rates,
    breakdown_horizon.breakdown_horizon,
    breakdown_rate.breakdown_rate,
    breakdown_width.breakdown_width,
    coverage.coverage,
    deep_concentration.deep_concentration,
    effective_signal.effective_signal,
    fluctuations.fluctuations,
    gaussian_fluctuations.gaussian_fluctuations,
    generalization_estimate.generalization_estimate,
    large.large,
    rates_along.rates_along,
    selection.early_stopping,
    selection.tuning,
    sgd.sgd,
    single_runs.single_runs,
    universality.universality,
    analysis.learning_curves,
)
NO_DATASET = [*NO_VALUE, None, 3, "stores/a.zarr", xr.Dataset(), xr.DataArray([1.0])]
NO_NAMES = [*NO_VALUE, 3, "test_error", [3], [None], [""]]
BAD = {
    "simulation": NO_DATASET,
    "theory": NO_DATASET,
    "predicted": NO_DATASET,
    "observable": [*NO_NAME, None],
    "observables": NO_NAMES,
    "axes": [*NO_NAMES, None],
    "over": NO_NAMES,
    "draws": [*NO_WHOLE, None, 0],
    "windows": [*NO_WHOLE, None, 0, 3],
    "level": [*NO_NUMBER, None, 0, 1, 95],
    "solver_tolerance": [*NO_NUMBER, None, -1],
    "seed": [*NO_NUMBER, None, -1, 0.5, 2**128],
    "without_readout": NO_FLAG,
    "score": [*NO_VALUE, 3, None, "", "nope"],
    "options": [],
}
NO_FILE = [*NO_VALUE, 3, "", " ", "a\0b", math.nan, "~nobody-of-that-name/a.zarr"]
NO_PATH = [*NO_FILE, None, "no/such.zarr", "nope://a/b.zarr"]
OF_A_REPORT = {"output": NO_FILE, "console": [*NO_VALUE, "rich", 3]}
NEEDED = ("estimated_test_error", "row_residual_quantiles")
AXES = {"features": ["gaussian"], "learning_rate": [0.1], "width": [2], "batch_fraction": [0.5]}


def cases():
    """Every bad value of every argument, as the name of the argument and a call."""
    tree = store(steps=2, depths=(2,), noises=(0.1,))
    valid = {name: tree[name].to_dataset() for name in ("simulation", "theory")} | {"axes": ["depth"]}
    valid["predicted"] = valid["theory"].expand_dims(iteration_=valid["theory"].sizes["iteration"])
    error = valid["simulation"].test_error
    valid["simulation"] = valid["simulation"].assign(dict.fromkeys(NEEDED, error)).expand_dims(AXES)
    for measure in MEASURES:
        names = [name for name in inspect.signature(measure).parameters if name != "options"]
        for name in names:
            for value in BAD[name]:
                given = {key: valid[key] for key in valid.keys() & {*names}} | {name: value}
                yield f"{measure.__name__}.{name}", lambda measure=measure, given=given: measure(**given)
    for value in NO_DATASET:
        yield "rates_figure.measured", lambda value=value: analysis.rates_figure(value)
    for value in NO_PATH:
        yield "open_store.path", lambda value=value: open_store(value)
        there_is_none = value in ("no/such.zarr", "nope://a/b.zarr") if isinstance(value, str) else False
        argument = "path" if there_is_none else "paths"
        yield f"report.{argument}", lambda value=value: report(value, console=Console(quiet=True))
    yield "report.paths", lambda: report()
    for name, values in OF_A_REPORT.items():
        for value in values:
            yield f"report.{name}", lambda given={name: value}: report("no/such.zarr", **given)


def test_bad_values_are_refused_in_one_line_that_names_the_argument():
    every = list(cases())
    assert len(every) > 1000
    fields = (case[0].partition(".")[2] for case in every)
    assert [fault for case, field in zip(every, fields, strict=True) if (fault := fault_of(case, field))] == []
