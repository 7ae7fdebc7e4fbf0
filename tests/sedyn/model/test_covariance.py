import dataclasses

import numpy as np
import pytest

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.model.covariance import SPECTRA, spectrum_law
from sedyn.model.initialization import initial_overlaps
from sedyn.model.quadrature import gauss_quadrature
from tests.helpers import start_of

WRITTEN = {"identity": "identity", "power_law": "power_law(0.5)", "two_level": "two_level(9, 0.25)"}


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("d", [4, 100])
def test_eigenvalues_decrease_and_average_to_one(name, d):
    values = spectrum_law(WRITTEN[name]).eigenvalues(d)
    assert values.shape == (d,)
    assert np.all(np.diff(values) <= 0)
    np.testing.assert_allclose(values.mean(), 1, rtol=1e-12)


def test_power_law():
    values = spectrum_law("power_law(0.5)").eigenvalues(100)
    np.testing.assert_allclose(values[0] / values[99], 10)


@pytest.mark.parametrize("ratio", [9.0, 0.5])
def test_two_levels_have_their_ratio_shares_and_moments(ratio):
    share, d = 0.25, 80
    values = spectrum_law(f"two_level({ratio}, {share})").eigenvalues(d)
    special = values[:20] if ratio > 1 else values[60:]
    others = values[20:] if ratio > 1 else values[:60]
    np.testing.assert_allclose(special, ratio * others[0], rtol=1e-12)
    assert np.ptp(others) == 0
    moments = [share * ratio**k + 1 - share for k in range(5)]
    for k, moment in enumerate(moments):
        np.testing.assert_allclose((values**k).mean(), moment / moments[1] ** k, rtol=1e-12)


def test_two_levels_and_the_theory_are_the_same_for_every_d():
    small, large = (spectrum_law("two_level(3, 0.1)").eigenvalues(d) for d in (10, 12_340))
    assert set(small) == set(large)
    for few, many in zip(gauss_quadrature(small, 5), gauss_quadrature(large, 5), strict=True):
        np.testing.assert_array_equal(few, many)
    problem = Problem(n=60, d=40, steps=2, covariance="two_level(3, 0.1)")
    larger = dataclasses.replace(problem, n=120, d=80)
    assert problem.theory_key == larger.theory_key
    theory, same = (sedyn.state_evolution(each, samples=64, randomizations=2) for each in (problem, larger))
    assert theory.equals(same)
    assert spectrum_law("power_law(0.1)").changes_with_d


def test_overlaps_are_exact_on_each_level():
    problem = Problem(n=100, d=80, covariance="two_level(9, 0.25)", init_overlap=0.3)
    rows = start_of(problem, 0)
    for level in (rows[:, :20], rows[:, 20:]):
        np.testing.assert_allclose(level @ level.T / level.shape[1], initial_overlaps(problem), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("two_levels(3, 0.1)", "did you mean 'two_level'?"),
        ("two_level", r"write two_level\(ratio, share\) with a ratio > 0 and a share in \(0, 1\)"),
        ("two_level(3)", r"write two_level\(ratio, share\)"),
        ("two_level(0, 0.1)", "a ratio > 0"),
        ("two_level(inf, 0.1)", "a name with numbers"),
        ("two_level(3, 1)", r"a share in \(0, 1\)"),
        ("two_level(3, 0.11)", r"a share of d=40 features must be whole; the nearest is 0.1$"),
        ("two_level(3, 0.001)", "the nearest is 0.025$"),
        ("two_level(3, 0.999)", "the nearest is 0.975$"),
        ("two_level(3, 0.999999999999)", "the nearest is 0.975$"),
        ("power_law(1)", r"write power_law\(exponent\) with an exponent in \[0, 1\)"),
        ("identity(1)", "write identity$"),
    ],
)
def test_refusals_say_what_works(text, said):
    with pytest.raises(InvalidInput, match=said):
        Problem(n=60, d=40, covariance=text)


def test_one_feature_has_no_two_levels():
    with pytest.raises(InvalidInput, match=r"2 eigenvalues need as many features, not d=1$"):
        Problem(n=60, d=1, width=1, depth=1, covariance="two_level(3, 0.5)")
