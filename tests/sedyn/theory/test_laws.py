"""Rows and pre-activations of training runs against the laws that the theory predicts."""

import dataclasses

import numpy as np
import pytest
import xarray as xr

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.model.initialization import initial_overlaps
from sedyn.model.observables import COMPARED, quantiles
from sedyn.model.quadrature import gauss_quadrature
from sedyn.theory.distances import from_normal
from sedyn.theory.laws import compare, laws_of, whitening
from sedyn.theory.weight_side import spectral_nodes
from tests.helpers import assert_within_se, mean_and_se

PROBLEM = Problem(n=2000, d=1000, width=2, depth=3, steps=4, init_overlap=0.3, momentum=0.4)
# So long steps on so few samples that training pre-activations are far from those of fresh samples.
FAST = Problem(n=1000, d=1000, width=2, depth=2, steps=4, init_overlap=0.3, momentum=0.4, learning_rate=2.0)
REPLICATES = 16
KOLMOGOROV_MEAN = np.sqrt(np.pi / 2) * np.log(2)
"""Limit of the mean distance of a sample from its own law, in units of one over the root of its size."""


@pytest.fixture(scope="module")
def theory():
    return sedyn.state_evolution(PROBLEM, samples=2**14, include=("samples",))


@pytest.fixture(scope="module")
def runs(theory):
    return sedyn.simulate(PROBLEM, REPLICATES, estimate=False, theory=theory)


def test_comparisons_come_on_top(runs, theory):
    plain = sedyn.simulate(PROBLEM, 1, estimate=False)
    assert set(runs.data_vars) - set(plain.data_vars) == set(COMPARED)
    assert runs.row_kolmogorov.dims == ("replicate", "iteration", "neuron", "scale")
    assert runs.theory_samples == theory.samples
    for name in plain.data_vars:
        np.testing.assert_array_equal(plain[name], runs[name][:1])


def test_residuals_have_the_predicted_covariance(runs, theory):
    mean, se = mean_and_se(runs.row_residual_covariance)
    assert_within_se(mean, theory.noise_covariance, se, theory.noise_covariance_stderr)
    assert (runs.row_residual_covariance[:, 0] == 0).all()


def test_distances_of_rows_are_those_of_normal_samples(runs):
    distances = runs.row_kolmogorov[:, 1:] * np.sqrt(PROBLEM.d)
    mean, se = mean_and_se(distances.sel(scale="predicted"))
    assert_within_se(mean, np.full(mean.shape, KOLMOGOROV_MEAN), se)
    # Standardized normal samples are nearer to the normal law than others; by how much is drawn.
    mean, se = mean_and_se(distances.sel(scale="own"))
    draws = np.sort(np.random.default_rng(0).standard_normal((500, PROBLEM.d)))
    standardized = (draws - draws.mean(axis=1, keepdims=True)) / draws.std(axis=1, keepdims=True)
    null = from_normal(standardized).kolmogorov * np.sqrt(PROBLEM.d)
    assert_within_se(mean, np.full(mean.shape, null.mean()), se, null.std() / np.sqrt(null.size))
    assert runs.row_kolmogorov[:, 0].isnull().all()


def test_quantiles_of_rows_are_those_of_normal_samples(runs):
    """Of samples as large: an extreme quantile of a sample is not the quantile of its law on average."""
    mean, se = mean_and_se(runs.row_residual_quantiles[:, 1:])
    null = quantiles(np.random.default_rng(0).standard_normal((500, PROBLEM.d)))
    expected, null_se = null.mean(axis=0), null.std(axis=0) / np.sqrt(500)
    assert_within_se(mean, np.broadcast_to(expected, mean.shape), se, null_se)


def test_quantiles_of_pre_activations_are_the_predicted_ones(runs, theory):
    central = {"probability": slice(0.01, 0.99)}  # with 20 samples beyond on either side
    mean, se = mean_and_se(runs.pre_activation_quantiles.sel(central))
    predicted, solver = (theory["pre_activation_quantiles" + suffix].sel(central) for suffix in ("", "_stderr"))
    assert_within_se(mean, predicted, se, solver)


def test_distances_of_pre_activations_are_those_of_samples(runs):
    """The draws of the theory lie so evenly that only the run's samples count."""
    for name in ("pre_activation_kolmogorov", "pre_activation_response_kolmogorov"):
        mean, se = mean_and_se(runs[name] * np.sqrt(PROBLEM.n))
        assert_within_se(mean, np.full(mean.shape, KOLMOGOROV_MEAN), se)


def test_distances_from_a_wrong_theory_stay():
    """When n and d grow fourfold, distances from the right laws halve; from wrong ones they do not."""
    right = sedyn.state_evolution(FAST, samples=2**14, include=("samples",))
    fresh = np.linalg.cholesky(right.weight_gram.values) @ np.random.default_rng(0).standard_normal((5, 2, 2**14))
    wrong = right.assign(
        row_covariances=2 * right.row_covariances,
        pre_activation_samples=right.pre_activation_samples.copy(data=fresh),  # of fresh samples, which keep nothing
    )

    def ratios(solution):
        means, variances = [], []
        for scale in (1, 4):
            problem = dataclasses.replace(FAST, n=scale * FAST.n, d=scale * FAST.d)
            runs = sedyn.simulate(problem, REPLICATES, estimate=False, theory=solution)
            names = [name for name in COMPARED if name.endswith(("kolmogorov", "wasserstein"))]
            distances = runs[names].sel(scale="predicted").isel(iteration=-1).mean("neuron").to_array()
            mean, se = mean_and_se(distances)
            means.append(mean)
            variances.append((se / mean) ** 2)
        ratio = means[1] / means[0]
        return ratio, ratio * np.sqrt(sum(variances))

    falls, se = ratios(right)
    assert_within_se(falls, np.full(falls.shape, 0.5), se)
    stays, se = ratios(wrong)
    assert (stays > 0.5 + 5 * se).all()


def test_a_marginal_that_is_right_by_accident_is_caught_with_the_response():
    """Draws that forget their response keep their own law and lose the joint one."""
    problem = dataclasses.replace(FAST, n=4000, d=4000)
    theory = sedyn.state_evolution(problem, samples=2**12, include=("samples",))
    responses = np.random.default_rng(0).permutation(theory.response_samples)
    shuffled = theory.assign(response_samples=theory.response_samples.copy(data=responses))
    right, wrong = (sedyn.simulate(problem, 2, estimate=False, theory=each) for each in (theory, shuffled))
    np.testing.assert_array_equal(right.pre_activation_kolmogorov, wrong.pre_activation_kolmogorov)
    ratio = wrong.pre_activation_response_kolmogorov / right.pre_activation_response_kolmogorov
    assert float(ratio[:, -1].min()) > 4


@pytest.mark.parametrize("width", [1, 3])
def test_whitening_inverts_the_cholesky_factor(width):
    root = np.random.default_rng(width).standard_normal((width, width))
    np.testing.assert_allclose(whitening(root @ root.T), np.linalg.inv(np.linalg.cholesky(root @ root.T)), atol=1e-10)


def test_a_unit_without_noise_of_its_own_has_no_residual():
    root = np.array([[1.0, 0], [2.0, 0], [1.0, 1.0]])  # the second unit follows the first
    factor = whitening(root @ root.T)
    np.testing.assert_allclose(factor[[0, 2]], [[1, 0, 0], [-1, 0, 1]], atol=1e-14)
    assert np.isnan(factor[1]).all()
    assert np.isnan(whitening(np.zeros((2, 2)))).all()


def test_rows_made_by_the_law_itself(theory):
    """With exact rows and the theory's own samples, distances are those of the null."""
    rng = np.random.default_rng(0)
    d, t = 20_000, 3
    laws = laws_of(dataclasses.replace(PROBLEM, n=2 * d, d=d), theory)
    start = np.linalg.cholesky(initial_overlaps(PROBLEM)) @ rng.standard_normal((3, d))
    noise = np.linalg.cholesky(theory.noise_covariance.values[t]) @ rng.standard_normal((2, d))
    samples = theory.pre_activation_samples.values[t], theory.response_samples.values[None, :]
    record = compare(laws, t, start, laws.carried[t, 0] @ start + noise, *samples)
    assert np.max(record["row_kolmogorov"]) < 1.95 / np.sqrt(d)  # exceeded once in a thousand
    for name in ("pre_activation_kolmogorov", "pre_activation_response_wasserstein"):
        np.testing.assert_array_equal(record[name], 0)


@pytest.mark.parametrize("covariance", ["power_law(0.4)", "two_level(8, 0.2)"])
def test_each_row_follows_the_law_of_its_eigenvalue(covariance):
    """The law of an average row, for all of them, is another one."""
    problem = dataclasses.replace(PROBLEM, covariance=covariance, learning_rate=0.5)
    theory = sedyn.state_evolution(problem, samples=2**14, include=("samples",))
    runs = sedyn.simulate(problem, REPLICATES, estimate=False, theory=theory)
    for name in COMPARED:
        assert runs[name][:, 1:].notnull().all(), name
    mean, se = mean_and_se(runs.row_residual_covariance)
    assert_within_se(mean, theory.noise_covariance, se, theory.noise_covariance_stderr)
    mean, se = mean_and_se(runs.row_kolmogorov[:, 1:].sel(scale="predicted") * np.sqrt(problem.d))
    assert_within_se(mean, np.full(mean.shape, KOLMOGOROV_MEAN), se)
    weights = gauss_quadrature(problem.eigenvalues, spectral_nodes(problem.steps)).weights
    at_nodes = theory[["row_coefficients", "row_covariances"]]
    alike = theory.assign(0 * at_nodes + at_nodes.weighted(xr.DataArray(weights, dims="node")).mean("node"))
    wrong = sedyn.simulate(problem, REPLICATES, estimate=False, theory=alike)
    assert float((wrong.row_wasserstein / runs.row_wasserstein).isel(iteration=-1).mean()) > 1.5


def test_nothing_is_compared_after_a_divergence():
    problem = Problem(n=600, d=400, width=2, depth=2, activation="identity", learning_rate=60.0, steps=40)
    theory = sedyn.state_evolution(problem, samples=256, randomizations=2, include=("samples",))
    runs = sedyn.simulate(problem, 2, theory=theory)
    assert runs.pre_activation_kolmogorov[:, : theory.diverged_at // 2].notnull().all()
    for name in COMPARED:
        assert runs[name][:, -1].isnull().all(), name


def test_n_and_d_may_differ_at_the_same_ratio(theory):
    runs = sedyn.simulate(dataclasses.replace(PROBLEM, n=200, d=100), 1, theory=theory)
    assert runs.pre_activation_kolmogorov.notnull().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"noise": 0.5}, "of a problem with noise 0.3 instead of 0.5"),
        ({"n": 3000, "init_overlap": 0.1}, "with aspect_ratio 2 instead of 3, init_overlap 0.3 instead of 0.1"),
    ],
)
def test_another_problem_is_refused_by_what_differs(theory, changes, message):
    with pytest.raises(InvalidInput, match=message):
        sedyn.simulate(dataclasses.replace(PROBLEM, **changes), 1, theory=theory)


def test_a_solution_without_samples_is_refused():
    theory = sedyn.state_evolution(Problem(steps=2), samples=256)
    with pytest.raises(InvalidInput, match=r"without pre_activation_samples.*include=\(\"samples\",\)"):
        sedyn.simulate(Problem(steps=2), 1, theory=theory)


def test_a_solution_from_before_a_field_is_one_at_its_default(theory):
    assert None not in theory.attrs.values()
    older = theory.copy()
    del older.attrs["temperature"], older.attrs["momentum_form"]
    sedyn.simulate(PROBLEM, 1, theory=older)
    with pytest.raises(InvalidInput, match=r"with temperature 0.0 instead of 0.5"):
        sedyn.simulate(dataclasses.replace(PROBLEM, temperature=0.5), 1, theory=older)


def test_a_solution_that_lost_its_attributes_is_refused(theory):
    with pytest.raises(InvalidInput, match="without attribute n, attribute d, "):
        sedyn.simulate(PROBLEM, 1, theory=theory.drop_attrs())
