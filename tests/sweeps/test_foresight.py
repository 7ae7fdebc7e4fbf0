"""Replicates that a precision takes, foreseen, against the variance of runs."""

import math

import numpy as np
import pytest

import sedyn
from sweeps.compute import Compute
from sweeps.forecast import forecast
from sweeps.foresight import foresee
from sweeps.target import Target
from tests.sweeps.stores import spec_of

BASE = {"d": 200, "steps": 2, "depth": 2, "width": 2, "init_overlap": 0.4}
AXES = {"n": (400, 800), "noise": (0.2, 0.8)}


def spec(**changes):
    return spec_of(AXES, BASE, **{"features_at": {400: 200, 800: 400}, "aspect": 2.0, **changes})


def test_runs_need_as_many_replicates_as_foreseen():
    target, replicates = Target("test_error", 1e-3, 10**4), 400
    found = foresee(spec(), target)
    assert not found.unknown
    assert len(found.replicates) == 4
    counts = [count for _, count in found.replicates]
    assert counts == sorted(counts, reverse=True)
    for cell, count in found.replicates:
        runs = sedyn.simulate(cell.problem, replicates, estimate=False).test_error
        needed = float(runs.var("replicate", ddof=1).max()) / target.stderr**2
        # Four standard errors of a variance from so many runs, and the prediction's own tenth.
        assert abs(count / needed - 1) < 4 * (2 / replicates) ** 0.5 + 0.1
    by_cell = {cell.values: count for cell, count in found.replicates}
    assert by_cell[400, 0.8] in (2 * by_cell[800, 0.8] - 1, 2 * by_cell[800, 0.8])  # of one variance, rounded up


def test_there_is_a_first_round_in_any_case():
    (_, count), *_ = foresee(spec(replicates=7), Target("train_error", 10.0)).replicates
    assert count == 7


@pytest.mark.parametrize(
    ("changes", "observable", "reason"),
    [
        ({"activation": "relu"}, "test_error", "activation='relu': has a kink"),
        ({"loss": "huber(0.5)"}, "estimated_test_error", "theory has no finite fluctuations of it"),
        ({"steps": 200}, "test_error", "problem.steps=200: its fluctuations would take more time"),
        (
            {"labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "noise": 0.0},
            "test_error_rate",
            "target.observable='test_error_rate': its fluctuations are not predicted",
        ),
    ],
)
def test_what_is_not_known_is_said(changes, observable, reason):
    one = spec_of({"n": (400,)}, {**BASE, **changes}, samples=512)
    found = foresee(one, Target(observable, 1e-3))
    assert not found.replicates
    ((said, cells),) = found.unknown.items()
    assert reason in said
    assert cells == 1


def test_a_plan_says_it(tmp_path):
    where = Compute("inline", device="cpu"), Target("test_error", 1e-3, 60), str(tmp_path / "a.zarr")
    lines = list(forecast(spec(), *where))
    (place,) = (number for number, line in enumerate(lines) if line.startswith("replicates for it"))
    counts = [min(count, 60) for _, count in foresee(spec(), where[1]).replicates]
    assert f"by predicted fluctuations: {sum(counts)} in 4 cells, " in lines[place]
    assert max(counts) == 60  # else this does not test the cap
    assert " of the " in lines[place + 1]
    assert "n=400" in lines[place + 1]
    plain = list(forecast(spec(), where[0], None, where[2]))
    assert not [line for line in plain if "replicates for it" in line]
    unknown = list(forecast(spec_of({"n": (400,)}, {**BASE, "activation": "relu"}), *where))
    assert [line for line in unknown if line.startswith("replicates for it are not known of 1 cell: activation='relu'")]


def test_the_formula():
    one = spec_of({}, {**BASE, "n": 400})
    target = Target("signal_overlap", 2e-3)
    ((cell, count),) = foresee(one, target).replicates
    covariance = sedyn.fluctuations(cell.problem, 2**12, 2).signal_overlap
    variance = np.nanmax(covariance.sel(iteration_=covariance.iteration).values)
    assert count == max(math.ceil(variance / 400 / target.stderr**2), 5)
