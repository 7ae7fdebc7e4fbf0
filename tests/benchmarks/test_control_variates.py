"""A run is its theory and an average of what its rows add, up to what is of higher order."""

import numpy as np

import sedyn
from benchmarks.control_variates import FIELDS, deviations, last_errors, points_of, rows


def test_what_rows_add_is_a_run_to_first_order():
    replicates, gains = 80, {}
    for n in (250, 1000):
        problem, rng = sedyn.Problem(n=n, d=n // 2, **{**FIELDS, "steps": 4}), np.random.default_rng(n)
        points = points_of(problem, 2**11)
        runs = [rows(problem, rng) for _ in range(replicates)]
        control = deviations(problem, points, runs)
        errors = [last_errors(problem, run, run.weights, points.samples)[1] for run in runs]
        values = np.array([[node.value.item() for node in each] for each in errors])
        gains[n] = values.var(0) / (values - control).var(0)
        assert (abs(control.mean(0)) < 4 * control.std(0) / replicates**0.5).all()
    assert (gains[250] > 4).all()
    # What is left falls like 1/n beside a run's variance: four times, known to 0.45 in the logarithm.
    grown = np.log(gains[1000] / gains[250])
    assert (abs(grown - np.log(4)) < 3 * (4 * 2 / replicates) ** 0.5).all()
