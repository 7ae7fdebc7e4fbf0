from functools import cache

import numpy as np
import pytest
from scipy import sparse

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.designs.dense import dense_design
from sedyn.model.features import SPARSE_BELOW, feature_law
from tests.helpers import assert_within_se, mean_and_se, stream

# Moments 1 to 4 of each law, and their exact next ones up to 8, which the standard errors need.
EXACT = {
    "gaussian": (0, 1, 0, 3),
    "rademacher": (0, 1, 0, 1),
    "uniform": (0, 1, 0, 9 / 5),
    "laplace": (0, 1, 0, 6),
    "student_t(12)": (0, 1, 0, 3 + 6 / 8),
    "sparse(0.02)": (0, 1, 0, 3 / 0.02),
    "sparse(0.5)": (0, 1, 0, 6),
    "exponential": (0, 1, 2, 9),
}


def entries(law, shape, seed=0):
    values = feature_law(law).draw(np.random.default_rng(seed), shape)
    return (values.toarray() if sparse.issparse(values) else values).astype(float)


@pytest.mark.parametrize(("law", "moments"), EXACT.items(), ids=EXACT)
def test_moments(law, moments):
    x = entries(law, (1000, 1003))
    assert x.shape == (1000, 1003)
    for order, exact in enumerate(moments, start=1):
        powers = x**order
        assert_within_se(powers.mean(), exact, powers.std() / np.sqrt(x.size))


@pytest.mark.parametrize("law", EXACT)
def test_entries_are_uncorrelated_across_rows_and_columns(law):
    x = entries(law, (400, 500), seed=1)
    for left, right in ((x[:, :-1], x[:, 1:]), (x[:-1], x[1:]), (x[0::2], x[1::2])):
        products = left * right
        assert_within_se(products.mean(), 0.0, products.std() / np.sqrt(products.size))


def test_sparse_rows_have_binomial_counts():
    density, columns = 0.01, 700
    counts = np.concatenate([(entries(f"sparse({density})", (50, columns), seed) != 0).sum(1) for seed in range(200)])
    assert_within_se(counts.mean(), columns * density, counts.std() / 100)
    variance = columns * density * (1 - density)
    assert_within_se(counts.var(), variance, variance * np.sqrt(2.2 / counts.size))


@pytest.mark.parametrize("columns", [40, 4000])
def test_sparse_rows_have_so_many_entries_however_long(columns):
    drawn = [entries("sparse_rows(4)", (50, columns), seed) for seed in range(100)]
    counts = np.concatenate([(values != 0).sum(1) for values in drawn])
    variance = 4 * (1 - 4 / columns)
    assert_within_se(counts.mean(), 4, np.sqrt(variance / counts.size))
    # Standardized: a row's squared length is d on average, with variance d^2 times that of its few entries.
    lengths = np.concatenate([(values**2).mean(1) for values in drawn])
    assert_within_se(lengths.mean(), 1, lengths.std() / np.sqrt(lengths.size))


def test_sparse_at_the_least_density_and_shape():
    assert entries("sparse(1e-9)", (3, 4)).sum() == 0
    assert entries("sparse(1)", (3, 4)).shape == (3, 4)
    assert sparse.issparse(feature_law(f"sparse({SPARSE_BELOW / 2})").draw(np.random.default_rng(0), (1, 1)))


@pytest.mark.parametrize("law", ["gaussian", "rademacher", "sparse(0.02)", "exponential"])
def test_blocks_of_rows_have_streams_of_their_own(law):
    design = dense_design(700, 1000, feature_law(law), stream(4))
    matrix = design.matrix.toarray() if sparse.issparse(design.matrix) else np.asarray(design.matrix, float)
    assert np.unique(matrix, axis=0).shape[0] == 700
    # A prefix of the rows is the same in a taller matrix: block by block from its own seed.
    taller = dense_design(917, 1000, feature_law(law), stream(4)).matrix
    taller = taller.toarray() if sparse.issparse(taller) else taller
    np.testing.assert_array_equal(taller[:655], matrix[:655])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gausian", "did you mean 'gaussian'"),
        ("gaussian(2)", "takes no number"),
        ("student_t(5, 6)", "degrees of freedom"),
        ("student_t(5,)", "a name with numbers"),
        ("student_t", "degrees of freedom"),
        ("student_t(2)", "greater than 2"),
        ("sparse(0)", r"in \(0, 1\]"),
    ],
)
def test_refusals_say_what_works(text, said):
    with pytest.raises(InvalidInput, match=said):
        feature_law(text)


# --- universality: the theory sees mean and variance of the entries only --------------------------------------------

UNIVERSAL = {"width": 2, "depth": 2, "learning_rate": 1.5, "init_overlap": 0.5, "link": "identity"}


@cache
def theory_of(**sizes):
    """The same for all laws."""
    return sedyn.state_evolution(Problem(**sizes, **UNIVERSAL))


@pytest.mark.parametrize("law", ["rademacher", "uniform", "laplace", "exponential", "student_t(12)", "sparse(0.3)"])
def test_laws_with_enough_moments_agree_with_theory(law):
    sizes = {"n": 1200, "d": 800, "steps": 8}
    theory = theory_of(**sizes)
    runs = sedyn.simulate(Problem(features=law, **sizes, **UNIVERSAL), 12, estimate=False)
    for name in ("train_error", "test_error"):
        mean, se = mean_and_se(runs[name])
        assert_within_se(mean, theory[name], se, theory[name + "_stderr"])


@pytest.mark.parametrize("law", ["student_t(2.1)", "student_t(2.5)", "sparse(0.005)"])
def test_heavy_tails_and_very_sparse_features_do_not(law):
    sizes = {"n": 300, "d": 200, "steps": 4}
    replicates = 64
    runs = sedyn.simulate(Problem(features=law, **sizes, **UNIVERSAL), replicates, estimate=False)
    # A mean of heavy tails has no reliable standard error; the share of replicates above the theory has.
    above = np.sign(runs.train_error - theory_of(**sizes).train_error).mean("replicate")
    assert np.abs(above).max() * np.sqrt(replicates) > 5
