"""A store with a known answer, for what is said, drawn and written about it."""

import pytest

from analysis.statistics.rates import rates
from tests.analysis.synthetic import store


@pytest.fixture(scope="module")
def tree():
    return store(steps=5)


@pytest.fixture(scope="module")
def measured(tree):
    return rates(tree["simulation"].to_dataset(), tree["theory"].to_dataset(), draws=100)


@pytest.fixture(scope="module")
def small():
    """One problem, a few steps: what is measured of it is not what the tests are about."""
    return store(steps=2, depths=(2,), noises=(0.1,))
