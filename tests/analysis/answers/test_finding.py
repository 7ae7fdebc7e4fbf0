import numpy as np
import pytest

from analysis.answers.finding import (
    ALONE,
    HOLDING,
    PAPER,
    Claim,
    Finding,
    judge,
    lacking,
    lacking_sign,
    refuted,
    together,
    within,
)
from analysis.statistics.intervals import Interval, student_reach
from analysis.statistics.power_law import Exponents, fit_powers, leverages
from sweeps.verdict import APART


def test_a_finding_is_one_line():
    assert str(Finding("test error", "holds", "as claimed")) == "test error: holds: as claimed"
    number = Finding("test error", "fails", "slower", "exponent", -0.2, -0.3, -0.1)
    assert str(number) == "test error: fails: slower (exponent -0.200 [-0.300, -0.100])"
    assert Finding("test error", "holds", "as claimed", "exponent", -0.5).number == " (exponent -0.500)"


def test_a_finding_names_its_claim():
    number = Finding("test error", "holds", "", "exponent", -0.5, -0.6, -0.4, Claim("-1/2", PAPER, "exponent"))
    assert number.number == " (exponent -0.500 [-0.600, -0.400]; claim: -1/2 (paper, theory.md#exponent))"


def alike(low, high):
    """Fits that agree."""
    one = Interval(low / 2 + high / 2, low, high)
    return fits(one, one, one)


def fits(whole, larger, corrected, rooted=None, twice=None, misfit=1.0):
    """Fits of which those with other corrections say what the one with a correction of order 1/n says, unless given."""
    added = corrected.value - whole.value
    approach = around(added, 0.005)
    return Exponents(whole, larger, corrected, rooted or corrected, twice or corrected, approach, misfit)


def around(value, half):
    return Interval(value, value - half, value + half)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (-0.57, -0.43, "holds", "consistent with n^-1/2"),
        (-0.59, -0.41, "undecided", "consistent with n^-1/2, but the interval is wide"),
        (-0.6, -0.3, "undecided", "consistent with n^-1/2, but the interval is wide"),
        (-0.49, -0.3, "undecided", "slower than n^-1/2 over these n; larger n decide"),
        (-0.7, -0.55, "undecided", "faster than n^-1/2 over these n; larger n decide"),
        (-0.7, -0.6, "fails", "faster than n^-1/2, from n = 1,024 on as well"),
        (-0.46, -0.44, "fails", "slower than n^-1/2, from n = 1,024 on as well"),
        (-0.45, -0.1, "undecided", "slower than n^-1/2 over these n; larger n decide"),
        (-0.2, -0.1, "fails", "slower than n^-1/2, from n = 1,024 on as well"),
        (np.nan, np.nan, "undecided", "no exponent: too little data"),
    ],
)
def test_an_exponent_is_judged_by_its_interval(low, high, verdict, words):
    assert judge(alike(low, high), -0.5, 1024) == (verdict, words)


@pytest.mark.parametrize(
    ("whole", "larger", "corrected", "verdict", "words"),
    [
        # What small sizes add is neither in the larger half nor beside a correction.
        (-0.45, -0.49, -0.47, "holds", "slower than n^-1/2 over these n, consistent with it from n = 64 on"),
        (-0.45, -0.45, -0.49, "holds", "slower than n^-1/2 over these n, consistent with it beside a correction of"),
        (-0.45, -0.45, -0.43, "fails", "slower than n^-1/2, from n = 64 on as well"),
        (-0.5, -0.4, -0.4, "fails", "slower than n^-1/2 from n = 64 on"),
        (-0.5, -0.4, -0.5, "undecided", "slower than n^-1/2 from n = 64 on, unless by what small n add"),
        (-0.45, -0.45, -0.55, "undecided", "slower than n^-1/2 over these n; larger n decide"),
    ],
)
def test_the_larger_half_and_a_correction_decide_together(whole, larger, corrected, verdict, words):
    each = fits(*(around(value, 0.03) for value in (whole, larger, corrected)))
    kind, sentence = judge(each, -0.5, 64)
    assert kind == verdict
    assert sentence.startswith(words)


WHOLE, LARGER, CORRECTED = around(-0.47, 0.003), around(-0.48, 0.006), around(-0.482, 0.007)
"""Of sizes whose exponent nears -1/2 as they grow; both fits exclude it."""


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("rooted", "twice", "misfit", "fails"),
    [
        (-0.46, -0.45, 1.0, True),
        (-0.489, -0.45, 1.0, False),  # the first has the claim inside
        (-0.52, -0.45, 1.0, False),  # or on its other side
        (-0.46, -0.48, 1.0, False),  # the second excludes it, and not for certain
        (-0.46, -0.53, 1.0, False),
        (-0.46, -0.45, 0.005, False),  # no correction describes the sizes
        (-0.46, -0.45, 0.02, True),
    ],
)
def test_what_nears_the_claim_is_refuted_by_every_correction_or_not_at_all(rooted, twice, misfit, fails, sign):
    each = fits(WHOLE, LARGER, CORRECTED, around(rooted, 0.012), around(twice, 0.012), misfit)
    if sign < 0:  # faster than claimed, and nearing it from there
        mirrored = (Interval(-1 - one.value, -1 - one.high, -1 - one.low) for one in each[:5])
        added = each.approach
        each = Exponents(*mirrored, Interval(-added.value, -added.high, -added.low), misfit)
    assert refuted(each, -0.5) == (sign if fails else 0)
    assert judge(each, -0.5, 800)[0] == ("fails" if fails else "undecided")


def test_what_goes_away_from_the_claim_is_refuted_by_what_no_correction_describes():
    """The farther from a power, the larger n: no correction that fades as n grows makes an exponent do so."""
    whole, larger, corrected = around(-0.4, 0.003), around(-0.2, 0.006), around(-0.1, 0.007)
    assert refuted(fits(whole, larger, corrected, misfit=1e-9), -0.5) == 1
    nearing = fits(larger, whole, around(-0.42, 0.007), misfit=1e-9)
    assert refuted(nearing, -0.5) == 0
    assert refuted(nearing._replace(misfit=1.0), -0.5) == 1


def test_larger_sizes_and_not_replicates_decide_what_nears_the_claim():
    n = np.array([200, 400, 800, 1600, 3200])
    rooted = around(-0.489, 0.012)
    nearing = fits(WHOLE, LARGER, CORRECTED, rooted)
    assert np.isnan(lacking(nearing, -0.5, n).runs)
    barely = nearing._replace(approach=around(-0.012, 0.011))  # with more runs it is seen for certain
    assert np.isnan(lacking(barely, -0.5, n).runs)
    staying = fits(LARGER, LARGER, LARGER, rooted, around(-0.5, 0.1))
    np.testing.assert_allclose(lacking(staying, -0.5, n).runs, (1.3 * 0.012 / 0.011) ** 2)


def test_what_is_off_by_the_margin_does_not_hold_unless_its_interval_misses():
    assert judge(alike(-0.57, -0.43), -0.5, 64)[0] == "holds"
    assert judge(alike(-0.57, -0.41), -0.5, 64)[0] == "undecided"
    assert judge(alike(-0.57, -0.41), -0.5, 64, margin=0.2)[0] == "holds"
    assert judge(alike(-0.57, -0.41), -0.5, 64, widths=together(5))[0] == "holds"


def test_what_must_not_pass_is_excluded_by_a_wider_interval():
    """An end of it is 1.3 times as far away as of the one stated, and the stated one has the claim inside."""
    assert within(Interval(0.0, -0.7, 0.76), 0.0, 1.0)
    assert not within(Interval(0.0, -0.7, 0.78), 0.0, 1.0)
    assert not within(Interval(0.0, -0.78, 0.7), 0.0, 1.0)
    assert within(Interval(0.0, -0.7, 0.78), 0.0, 1.0, holding=1.0)
    assert not within(Interval(0.2, 0.1, 0.3), 0.0, 1.0)


def test_intervals_that_hold_together_are_wide_already():
    """Ends are as many standard errors away as where one is alone, and not nearer than those of the interval."""
    np.testing.assert_allclose(together(1), ALONE)
    for count, reach in ((2, 2.2414), (5, 2.5758), (15, 2.9352)):
        widths = together(count)
        np.testing.assert_allclose(widths.certain * reach, 2 * 1.95996, rtol=1e-4)
        np.testing.assert_allclose(widths.holding * reach, max(1.3 * 1.95996, reach), rtol=1e-4)


def test_looks_that_are_so_far_apart_let_what_must_not_pass_hold_in_a_twentieth():
    """A power off by the margin is judged with 32 to 4,096 runs; its number is a mean over them."""
    counts = 32 * APART ** np.arange(int(np.log(128) / np.log(APART)) + 1)
    rng = np.random.default_rng(0)
    added = rng.standard_normal((20_000, len(counts))) * np.sqrt(np.diff(counts, prepend=0))
    errors = 1 / np.sqrt(counts)
    means = 0.1 + added.cumsum(1) / counts
    shares = []
    for holding in (1.0, HOLDING):
        held = means + holding * student_reach(10**6, 0.95) * errors < 0.1
        shares.append(held.any(1).mean())
    assert shares[1] < 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(means))
    assert shares[0] > 3 * shares[1]


def test_powers_have_names():
    assert judge(alike(-1.07, -0.93), -1.0, 64) == ("holds", "consistent with 1/n")
    assert judge(alike(-2.07, -1.93), -2.0, 64) == ("holds", "consistent with n^-2")


@pytest.mark.parametrize(
    ("exponent", "half", "expected"),
    [
        (-0.5, 0.2, 6.76),
        (-0.47, 0.14, 6.76),
        (-0.42, 0.12, 4.0),
        (-0.3, 0.3, 9.0),
        (-0.5, 0.05, 1.0),
        (np.nan, np.nan, np.nan),
    ],
)
def test_replicates_that_would_decide(exponent, half, expected):
    """Intervals shrink like one over their root: until inside the margin, or clear of the claim at twice the width."""
    one = Interval(exponent, exponent - half, exponent + half)
    lack = lacking(fits(one, one, one), -0.5, np.array([64, 128, 256, 512]))
    np.testing.assert_allclose(lack.runs, expected)
    assert lack.leverage.keys() == ({64, 128, 256, 512} if np.isfinite(expected) else set())


def test_leverage_is_what_sizes_have_to_do_with_a_slope():
    """Against the slopes of fits to unit vectors."""
    n = np.array([64, 128, 256, 512, 2048])
    for fit, found in zip(fit_powers(n, np.eye(5)[:, :, None], np.ones((5, 1))), leverages(n), strict=True):
        np.testing.assert_allclose(found, fit.slope[:, 0] ** 2, atol=1e-12)
    assert (leverages(n)[1][:2] == 0).all()


def test_a_fit_that_excludes_the_claim_is_not_waited_for():
    """An exponent that is precise and off by little is decided by no number of runs over the same sizes."""
    whole, larger = Interval(-0.53, -0.54, -0.52), Interval(-0.53, -0.54, -0.52)
    n = np.array([64, 128, 256, 512])
    corrected = Interval(-0.51, -0.63, -0.39)
    lack = lacking(fits(whole, Interval(-0.5, -0.62, -0.38), corrected), -0.5, n)
    np.testing.assert_allclose(lack.runs, (1.3 * 1.2) ** 2)  # the larger half, which has the claim in its middle
    assert lack.leverage[64] == 0
    assert np.isnan(lacking(fits(whole, larger, Interval(-0.49, -0.6, -0.38)), -0.5, n).runs)


def test_runs_that_tell_a_number_from_zero():
    lack = lacking_sign(Interval(0.1, -0.1, 0.3), 500, {"noise": 0.3})
    np.testing.assert_allclose(lack.runs, 2.6**2)
    assert (lack.leverage, lack.cells) == ({500: 1.0}, {"noise": 0.3})
    np.testing.assert_allclose(lacking_sign(Interval(-0.1, -0.3, 0.1), 500, {}).runs, 4.0**2)
