import re

import numpy as np
import pytest

from analysis.questions.universality import SECTION
from analysis.statistics.universality import universality
from tests.analysis.grid import groups

SHIFTS = {"gaussian": 0.0, "rademacher": 0.0, "sparse(0.01)": 160.0, "student_t(2.2)": 0.5}
POWERS = {"sparse(0.01)": -1.0, "student_t(2.2)": -0.1}


def shift(n, features):
    return SHIFTS[features] * n ** POWERS.get(features, 0.0)


@pytest.fixture(scope="module")
def measured():
    return universality(*groups({"features": list(SHIFTS)}, shift=shift, fresh=0.01), draws=200)


def test_shifts_are_found_at_their_size(measured):
    known = np.array([[shift(n, law) for n in measured.n.values] for law in measured.features.values])
    for name in measured.observable.values:
        one = measured.sel(observable=name)
        assert (one.share_low * one.yardstick <= known).all()
        assert (one.share_high * one.yardstick >= known).all()
        large = known > 0.05
        np.testing.assert_allclose(one.shift_size.transpose("features", "n").values[large], known[large], rtol=0.2)


def test_yardstick_is_the_distance_of_a_gaussian_run(measured):
    # 24 replicates of a nearly one-dimensional deviation: 15% is one standard error of their root mean square.
    np.testing.assert_allclose(measured.yardstick / measured.n**-0.5, 1, atol=0.6)


def test_exponents_of_the_shift(measured):
    for law, power in POWERS.items():
        one = measured.sel(features=law, observable="train_error")
        assert one.exponent_low <= power <= one.exponent_high
    assert measured.exponent.sel(features="gaussian").isnull().all()


@pytest.mark.filterwarnings("error")
def test_sizes_may_have_unlike_numbers_of_replicates():
    runs, theory = groups({"features": ["gaussian", "rademacher"]})
    fewer = runs.where((runs.replicate < 20) | (runs.n > runs.n.min()))
    found = universality(fewer, theory, draws=60)
    alone = universality(runs.sel(replicate=slice(19)), theory, draws=60)
    first = {"n": int(runs.n.min())}
    np.testing.assert_allclose(found.yardstick.sel(first), alone.yardstick.sel(first), rtol=1e-12)


def test_no_shift_is_one_standard_error_and_seldom_found():
    units, found = [], 0
    for seed in range(12):
        one = universality(*groups({"features": ["gaussian"]}, seed=seed), draws=60).sel(observable="train_error")
        units.append(float(one.standard_errors.mean()))
        found += int((one.share_low > 0).sum())
    assert abs(np.mean(units) - 1) < 0.3
    # 36 intervals, of which 2.5% may lie above zero: 5 standard deviations of a binomial above 0.9.
    assert found <= 5


def test_one_wild_replicate_does_not_decide():
    simulation, theory = groups({"features": ["gaussian", "student_t(3)"]})
    simulation["train_error"][{"features": 1, "replicate": 0}] += 1e3
    one = universality(simulation, theory, draws=100).sel(observable="train_error", features="student_t(3)")
    assert (one.share < 1).all()


def test_verdicts(measured):
    found = {finding.subject: finding for finding in SECTION.findings(measured)}
    assert found["gaussian features"].verdict == "holds"
    assert found["rademacher features"].verdict == "holds"
    assert found["student_t(2.2) features"].verdict == "fails"
    assert "departs" in found["student_t(2.2) features"].sentence
    approaching = found["sparse(0.01) features"]
    # 160/n against n^-1/2: equal at n = 25,600.
    assert approaching.verdict == "undecided"
    reached = float(re.search(r"about n = ([\d,]+)", approaching.sentence)[1].replace(",", ""))
    assert 10_000 < reached < 60_000


def test_a_blunt_test_error_does_not_block_a_verdict():
    simulation, theory = groups({"features": ["gaussian", "rademacher"]}, fresh=0.5)
    measured = universality(simulation, theory, draws=100)
    assert float(measured.resolution.sel(observable="test_error", features="rademacher")[-1]) > 0.5
    assert [finding.verdict for finding in SECTION.findings(measured)] == ["holds", "holds"]


def test_refuses_without_control():
    simulation, theory = groups({"features": ["rademacher", "uniform"]})
    assert "gaussian" in SECTION.unanswerable(simulation)
    with pytest.raises(ValueError, match="gaussian"):
        universality(simulation, theory)


def test_a_shift_that_may_be_below_or_above_says_how_many_runs_decide():
    """The noise of a squared shift is one over the replicates: from 3 to 1 is what makes 2.2 of it 0.2 + 0.8 / 1.3."""
    found = universality(*groups({"features": ["gaussian", "rademacher"]}), draws=60)
    last = {"features": 1, "n": -1}
    share = np.sqrt(0.2)
    found["share"][last], found["share_low"][last], found["share_high"][last] = share, 0.0, np.sqrt(2.2)
    finding = SECTION.findings(found)[1]
    assert finding.verdict == "undecided"
    np.testing.assert_allclose(finding.lack.runs, 2.5 * 1.3)
    assert finding.lack[1:3] == ({int(found.n[-1]): 1.0}, {"features": "rademacher"})
