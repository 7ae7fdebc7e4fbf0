"""All iterations of runs by CUDA kernels, without a GPU: launches counted, results those of a CPU."""

import numpy as np
import pytest

import sedyn

TOLERANCES = {"float64": 1e-10, "float32": 1e-4}
PLAIN = {"n": 60, "d": 40, "width": 2, "depth": 3, "steps": 4, "noise": 0.2}


def runs(fields, dtype="float64", estimate=False):
    problem = sedyn.Problem(**PLAIN | fields)
    return lambda: sedyn.simulate(problem, 3, engine="dense", device="cpu", dtype=dtype, estimate=estimate)


def compare(on_host, *args, **kwargs):
    compute = runs(*args, **kwargs)
    expected, found = compute(), on_host(compute)
    tolerance = TOLERANCES[expected.attrs["dtype"]]
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    "fields",
    [
        {"batch_fraction": 0.5, "momentum": 0.3, "momentum_form": "nesterov"},
        {"signals": 2, "loss": "huber", "covariance": "power_law(0.3)", "momentum": 0.4, "weight_decay": 0.1},
        {"temperature": 0.1, "labels": "binary", "loss": "logistic", "bias": "all"},
        {"train": "first", "learning_rate": (0.3, 0.2, 0.0, 0.1)},
        {"depth": 1, "width": 1, "temperature": 0.2},
    ],
)
def test_whole_runs(on_host, fields):
    compare(on_host, fields)


def test_single_precision(on_host):
    compare(on_host, {}, "float32")


def test_two_launches_a_step_and_one_for_all_test_errors(on_host):
    compare(on_host, {})
    assert on_host.launches.count("descend") == 5
    assert on_host.launches.count("advance_weights") == 4
    assert on_host.launches.count("average") == 1
    assert not {"gather", "forward", "differentiate"} & set(on_host.launches)


def test_estimates_along_the_way(on_host):
    compare(on_host, {"momentum": 0.2}, estimate=True)
    assert {"descend", "advance_weights", "average", "adjoints"} <= set(on_host.launches)


def test_classes_whose_error_rates_are_found_one_iteration_after_another(on_host):
    compare(on_host, {"labels": "classes", "loss": "softmax", "outputs": 2, "signals": 2})
    assert {"descend", "advance_weights", "forward"} <= set(on_host.launches)


def test_replicates_of_several_problems(on_host):
    """Each with its own numbers of the update."""
    problems = [sedyn.Problem(**PLAIN, learning_rate=rate, momentum=rate / 2) for rate in (0.1, 0.4)]

    def compute():
        return sedyn.simulate_together([(each, 2) for each in problems], engine="dense", device="cpu", estimate=False)

    for expected, found in zip(compute(), on_host(compute), strict=True):
        np.testing.assert_allclose(found.test_error, expected.test_error, rtol=1e-10)
