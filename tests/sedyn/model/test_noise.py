"""Laws of the label noise: quantiles and moments against scipy's, and what becomes of labels."""

import numpy as np
import pytest
from scipy import integrate, stats

import sedyn
from sedyn import Problem
from sedyn.kernels.cpu import largest
from sedyn.kernels.dispatch import definitions_only, label_law
from sedyn.model.labels import label_noise, labels_of
from sedyn.model.noise import largest_with_normal_noise, noise_law

LAWS = {
    "laplace": stats.laplace(scale=np.sqrt(0.5)),
    "student_t(2.5)": stats.t(2.5, scale=np.sqrt(0.5 / 2.5)),
    "student_t(5)": stats.t(5, scale=np.sqrt(3 / 5)),
    "student_t(30)": stats.t(30, scale=np.sqrt(28 / 30)),
}


@pytest.mark.parametrize(("text", "expected"), LAWS.items(), ids=LAWS)
def test_quantiles_are_right_far_into_both_tails(text, expected):
    x = np.linspace(0, 8.2, 83)
    values = noise_law(text).of_normal(x)
    np.testing.assert_allclose(values, expected.isf(stats.norm.sf(x)), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(expected.sf(values), stats.norm.sf(x), rtol=1e-12)
    np.testing.assert_array_equal(noise_law(text).of_normal(-x), -values)


@pytest.mark.parametrize("text", ["gaussian", *LAWS])
def test_moments_below_a_bound(text):
    law, density = noise_law(text), LAWS.get(text, stats.norm).pdf
    bounds = np.array([-7.0, -1.3, -0.2, 0.0, 0.4, 2.5])
    for power, found in enumerate(law.moments_below(bounds)):
        expected = [integrate.quad(lambda t, p=power: t**p * density(t), -np.inf, b, limit=400)[0] for b in bounds]
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10)
    for bound, expected in ((1e100, (1, 0, 1)), (-1e100, (0, 0, 0))):
        np.testing.assert_allclose(law.moments_below(np.array(bound)), expected, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_largest_of_noisy_means(classes):
    rng = np.random.default_rng(0)
    means = 2 * rng.standard_normal((classes, 40))
    found = noise_law("gaussian").largest(means)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=1e-13)
    if classes == 2:
        np.testing.assert_allclose(found[0], stats.norm.cdf((means[0] - means[1]) / np.sqrt(2)), atol=1e-13)
    expected = [
        integrate.quad(
            lambda x, m=m, c=c: stats.norm.pdf(x - m[c]) * np.prod(np.delete(stats.norm.cdf(x - m), c)),
            m.max() - 9, m.max() + 9,
        )[0]
        for m in means.T[:5] for c in range(classes)
    ]  # fmt: skip
    np.testing.assert_allclose(found.T[:5].ravel(), expected, atol=1e-8)
    np.testing.assert_allclose(noise_law("gaussian").largest(0 * means), 1 / classes, atol=1e-13)
    np.testing.assert_allclose(noise_law("gaussian").largest(1e100 * means), means == means.max(axis=0))


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 30, 100, 300])
def test_nodes_are_close_enough_for_any_number_of_classes(classes):
    # Where all means are equal each is the largest equally often, and what is left of the rule is most.
    found = largest_with_normal_noise(np.zeros((classes, 1)))
    np.testing.assert_allclose(found, 1 / classes, rtol=2e-14)


@pytest.mark.parametrize("shape", [(2, 40), (3, 2, 3, 64), (10, 129), (2, 40, 5)])
@pytest.mark.parametrize("noise", [1e-100, 0.2, 3.0])
def test_compiled_chances_are_those_of_array_operations(shape, noise):
    *leading, classes, samples = shape
    fields = {"labels": "classes", "loss": "softmax", "outputs": classes, "signals": classes, "link": "identity"}
    problem = Problem(**fields, width=classes, noise=noise)
    indices, nothing = np.random.default_rng(0).standard_normal(shape), np.empty((*leading, 0, samples))
    found = label_law(problem, indices, nothing)
    with definitions_only():
        expected = label_law(problem, indices, nothing)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, rtol=0, atol=3e-15)


def test_compiled_chances_know_no_neighbours():
    means = np.random.default_rng(0).standard_normal((3, 2, 200))
    found = largest.largest_with_normal_noise(means)
    for replicate in range(3):
        np.testing.assert_array_equal(largest.largest_with_normal_noise(means[replicate]), found[replicate])
    np.testing.assert_array_equal(largest.largest_with_normal_noise(means[..., :71]), found[..., :71])


@pytest.mark.parametrize("text", ["gaussian", "laplace", "student_t(5)", "student_t(30)"])
def test_laws_are_standardized(text):
    law = noise_law(text)
    kurtosis = LAWS[text].stats("k") if text in LAWS else 0
    for power, moment in ((1, 0), (2, 1), (3, 0), (4, 3 + kurtosis)):
        found, _ = integrate.quad(lambda x, p=power: law.of_normal(np.array(x)) ** p * stats.norm.pdf(x), -20, 20)
        np.testing.assert_allclose(found, moment, rtol=1e-6, atol=1e-9)


def test_the_gaussian_law_is_the_normals_themselves():
    x = np.random.default_rng(0).standard_normal(5)
    assert noise_law("gaussian").of_normal(x) is x
    np.testing.assert_array_equal(label_noise(Problem(noise=0.7), x), 0.7 * x)


def test_noise_scales_a_law():
    x = np.linspace(-3, 3, 7)
    for text in LAWS:
        np.testing.assert_array_equal(
            label_noise(Problem(noise=0.7, noise_law=text), x), 0.7 * noise_law(text).of_normal(x)
        )


@pytest.mark.parametrize("probability", [0.0, 0.01, 0.2, 0.49])
def test_flips_are_uniform_where_they_are_not_zero(probability):
    problem = Problem(labels="binary", noise_law=f"flip({probability})")
    level = (np.arange(100_000) + 0.5) / 100_000
    flips = label_noise(problem, stats.norm.ppf(level))
    assert np.count_nonzero(flips) == round(probability * level.size)
    np.testing.assert_allclose(flips[level <= 1 - probability], 0)
    expected = 1 - (1 - level) / probability if probability else np.zeros_like(level)
    np.testing.assert_allclose(flips, np.maximum(expected, 0), atol=1e-9)


def test_flipped_labels_are_the_opposite_of_clean_ones():
    problem = Problem(labels="binary", noise_law="flip(0.3)", link="identity", signals=2)
    rng = np.random.default_rng(0)
    indices, normals = rng.standard_normal((3, 2, 500)), rng.standard_normal((3, 1, 500))
    labels = labels_of(problem, indices, label_noise(problem, normals))
    clean = np.sign(indices.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(labels, np.where(stats.norm.cdf(normals) > 0.7, -clean, clean))


def test_a_law_of_a_users_own():
    sedyn.register_noise("skewed", lambda x: (x * x - 1) / np.sqrt(2))
    runs, gaussian = (sedyn.simulate(Problem(n=50, d=30, steps=1, noise_law=law), 1) for law in ("skewed", "gaussian"))
    assert not np.array_equal(runs.train_error, gaussian.train_error)
    assert runs.attrs["noise_law"] == "skewed"
