import numpy as np
import pytest

from analysis.answers.finding import Finding, judge
from analysis.statistics.intervals import Interval


def test_a_finding_is_one_line():
    assert str(Finding("test error", "holds", "as claimed")) == "test error: holds: as claimed"
    number = Finding("test error", "fails", "slower", "exponent", -0.2, -0.3, -0.1)
    assert str(number) == "test error: fails: slower (exponent -0.200 [-0.300, -0.100])"
    assert Finding("test error", "holds", "as claimed", "exponent", -0.5).number == " (exponent -0.500)"


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (-0.6, -0.4, "holds", "consistent with n^-1/2"),
        (-0.8, -0.4, "undecided", "consistent with n^-1/2, but the interval is wide"),
        (-0.45, -0.3, "undecided", "slower than n^-1/2 over these n; larger n decide"),
        (-0.7, -0.55, "undecided", "faster than n^-1/2 over these n; larger n decide"),
        (-0.2, -0.1, "fails", "slower than n^-1/2"),
        (-0.45, 0.1, "fails", "slower than n^-1/2"),  # it may not fall at all
        (-1.1, -0.9, "fails", "faster than n^-1/2"),
        (np.nan, np.nan, "undecided", "no exponent: too little data"),
    ],
)
def test_an_exponent_is_judged_by_its_interval(low, high, verdict, words):
    assert judge(Interval(low / 2 + high / 2, low, high), -0.5) == (verdict, words)


def test_powers_have_names():
    assert judge(Interval(-1.0, -1.1, -0.9), -1.0) == ("holds", "consistent with 1/n")
    assert judge(Interval(-2.0, -2.1, -1.9), -2.0) == ("holds", "consistent with n^-2")
