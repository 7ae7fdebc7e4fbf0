"""The predicted covariance of runs around their theory, against a closed form and against runs."""

import numpy as np
import pytest
import xarray as xr

import sedyn


def marchenko_pastur(delta, points=4000):
    """Nodes and weights of the spectrum of X^T X for delta > 1: after a cosine, trapezoids are exact to rounding."""
    low, high = (delta**0.5 - 1) ** 2, (delta**0.5 + 1) ** 2
    angles = (np.arange(points) + 0.5) * np.pi / points
    x = (low + high) / 2 + (high - low) / 2 * np.cos(angles)
    weights = ((high - low) / 2 * np.sin(angles)) ** 2 / (2 * np.pi * x) * np.pi / points
    return x, weights


def closed_form(problem):
    """Covariances of sqrt(n) (run - theory) for gradient descent on least squares from a start of norm 1.

    Errors are quadratic forms of matrices with the spectrum of X^T X in independent vectors: the start's difference
    from the signal, uniform on a sphere, and Gaussian noise.
    """
    delta, sigma = float(problem.aspect_ratio), problem.noise
    x, weights = marchenko_pastur(delta)
    steps = np.arange(problem.steps + 1)
    a = (1 - problem.learning_rate * x / delta) ** steps[:, None]
    b = (1 - a) / x
    length = 2.0  # |w^0 - mu|^2 / d

    def mean(first, second):
        return np.einsum("sx,tx,x->st", first, second, weights)

    def on_a_sphere(form):
        return 2 * length**2 * (mean(form, form) - np.outer(form @ weights, form @ weights))

    crossed = 4 * sigma**2 * length
    test = delta * (on_a_sphere(a**2) + crossed * mean(x * a * b, a * b) + 2 * sigma**4 * mean(x * b**2, x * b**2))
    beyond = 1 - 1 / delta  # of all samples, directions that no feature reaches
    train = on_a_sphere(x * a**2) / delta + crossed * mean(x * a**2, a**2) / delta
    return {"test_error": test, "train_error": train + 2 * sigma**4 * (mean(a**2, a**2) / delta + beyond)}


def test_the_spectrum_has_its_moments():
    x, weights = marchenko_pastur(2.0)
    np.testing.assert_allclose([weights.sum(), weights @ x, weights @ x**2], [1, 2, 6], rtol=1e-12)


def test_depth_one_is_the_closed_form():
    problem = sedyn.Problem(
        n=200, d=100, width=1, depth=1, steps=6, learning_rate=0.6, noise=0.5, activation="identity", link="identity"
    )
    predicted = sedyn.fluctuations(problem, samples=2**13, randomizations=8)
    for name, expected in closed_form(problem).items():
        first = 1 if name == "test_error" else 0  # the first test error does not vary
        found, expected = predicted[name].values[first:, first:], expected[first:, first:]
        deviations, known = np.sqrt(np.diagonal(found)), np.sqrt(np.diagonal(expected))
        np.testing.assert_allclose(deviations / known, 1, atol=1e-3)
        np.testing.assert_allclose(found / np.outer(known, known), expected / np.outer(known, known), atol=2e-3)


BASE = {"n": 600, "d": 300, "width": 2, "depth": 2, "steps": 4, "learning_rate": 1.0, "noise": 0.5, "init_overlap": 0.4}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"initialization": "random", "link": "sin"},
        pytest.param({"batch_fraction": 0.25, "batching": "shuffle"}, marks=pytest.mark.slow),
        pytest.param({"temperature": 0.1}, marks=pytest.mark.slow),
    ],
)
def test_runs_have_the_predicted_covariance(changes):
    problem, replicates = sedyn.Problem(**{**BASE, **changes}), 300
    runs = sedyn.simulate(problem, replicates)
    runs["estimate_minus_test_error"] = runs.estimated_test_error - runs.test_error
    predicted = sedyn.fluctuations(problem, samples=2**11)
    later = slice(1, None)
    names = ("train_error", "test_error", "estimated_test_error", "estimate_minus_test_error")
    for name in (*names, "signal_overlap", "deep_weights"):
        measured = problem.n * runs[name].var("replicate", ddof=1).isel(iteration=later)
        wide = predicted[name].rename(iteration_="other")
        variance = wide.isel(other=xr.DataArray(np.arange(1, problem.steps + 1), dims="iteration"), iteration=later)
        ratio = (measured / variance.transpose(*measured.dims)).values
        # Four relative standard errors of a normal variable's variance, and the 5 % that this n leaves.
        assert abs(ratio[np.isfinite(ratio)] - 1).max() < 4 * (2 / (replicates - 1)) ** 0.5 + 0.05
    between = np.corrcoef(runs.test_error.isel(iteration=later), rowvar=False)
    test = predicted.test_error.values[later, later]
    scale = np.sqrt(np.diagonal(test))
    assert abs(between - test / np.outer(scale, scale)).max() < 4 / replicates**0.5


def test_what_cannot_be_predicted_is_refused():
    with pytest.raises(sedyn.InvalidInput, match="activation"):
        sedyn.fluctuations(sedyn.Problem(**BASE, activation="relu"))


def test_a_theory_that_diverges_ends_there():
    problem = sedyn.Problem(n=60, d=30, width=1, depth=1, steps=60, learning_rate=1e3, activation="identity")
    predicted = sedyn.fluctuations(problem, samples=1024, randomizations=2)
    finite = np.isfinite(np.diagonal(predicted.test_error))
    assert 10 < finite.sum() < problem.steps
    assert finite[: finite.sum()].all()


@pytest.mark.parametrize("fields", [{"signal_norm": 1e160, "link": "identity"}, {"bias": "all", "bias_init": 1e160}])
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_theory_without_a_finite_start_has_no_values(fields):
    predicted = sedyn.fluctuations(sedyn.Problem(n=60, d=40, width=1, depth=2, steps=2, **fields), 256, 2)
    assert predicted.test_error.shape == (3, 3)
    assert all(np.isnan(values).all() for values in predicted.values())
