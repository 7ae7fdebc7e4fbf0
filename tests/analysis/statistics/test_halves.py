"""The bias by halves: its power, its constant, and what it does not see."""

import numpy as np
import pytest
import xarray as xr

from analysis.power.made_up import CANCELLED, Truth, made_up_halves
from analysis.questions.bias import bias_finding, bias_verdict, constants_table
from analysis.questions.rates import SECTION
from analysis.statistics.rates import rates

SIZES = (64, 128, 256, 512, 1024, 2048)
SMALL = Truth(bias=0.4)
STAYS = Truth(off=0.02)


def measured(truth, seed=0, replicates=200, draws=200, observables=("train_error", "deep_weights")):
    groups = made_up_halves(truth, seed, sizes=SIZES, replicates=replicates)
    return rates(*groups, observables=observables, draws=draws)


def test_a_bias_that_theory_does_not_show_is_seen_and_measured():
    found = measured(SMALL).sel(observable="train_error")
    assert float(found.bias_p_value) > 0.05
    assert float(found.halves_p_value) < 0.01
    assert float(found.halves_exponent_low) < -1 < float(found.halves_exponent_high)
    assert float(found.halves_exponent_high - found.halves_exponent_low) < 0.8
    assert not np.isfinite([found.bias_exponent_low, found.bias_exponent_high]).all()
    # Variances of the run and of what is left, at the largest n.
    assert float(found.halves_gain) == pytest.approx(SIZES[-1] / CANCELLED, rel=0.2)
    # At most so many percent of the fluctuation where theory knows ten times less.
    assert 0.4 * SIZES[-1] ** -0.5 < float(found.halves_bound) < float(found.bias_bound) / 3


def test_the_constant_without_noise_is_exact():
    """A bias b/n + c/n^2, whose halves give b/n + 3 c/n^2: a line in 1/n."""
    runs, theory = made_up_halves(Truth(bias=0.3), 0, sizes=SIZES, replicates=8)
    left = 0.3 / runs.n + 3 * 5.0 / runs.n**2
    noise = 1e-9 * np.random.default_rng(0).standard_normal(runs.train_error.shape)
    runs["train_error_halves"] = (runs.train_error + left + noise).expand_dims(half=2)
    found = rates(runs, theory, observables=["train_error"], draws=20).squeeze()
    np.testing.assert_allclose(found.bias_constant, 0.3, atol=1e-4)
    np.testing.assert_array_less(found.bias_constant_low, found.bias_constant_high)


def test_a_cell_that_is_not_there_leaves_the_others_their_intervals():
    groups = made_up_halves(SMALL, 0, axes={"noise": [0.1, 0.5]}, sizes=SIZES, replicates=40)
    whole = rates(*groups, observables=["train_error"], draws=50).squeeze()
    gone = (groups[0].noise == 0.5) & (groups[0].n == SIZES[0])
    found = rates(groups[0].where(~gone), groups[1], observables=["train_error"], draws=50).squeeze()
    for name in ("bias_constant", "bias_constant_low", "bias_constant_high"):
        xr.testing.assert_equal(found[name].sel(noise=0.1), whole[name].sel(noise=0.1))
        assert np.isfinite(found[name]).all()


def test_no_bias_is_rarely_seen_and_intervals_of_the_constant_cover_as_often_as_they_say():
    seeds = 40
    found = [measured(Truth(), seed, 24, 60, ("train_error",)).squeeze() for seed in range(seeds)]
    seen = np.mean([float(one.halves_p_value) < 0.1 for one in found])
    assert seen < 0.1 + 3 * np.sqrt(0.1 * 0.9 / seeds)
    inside = [float(((one.bias_constant_low < 0) & (one.bias_constant_high > 0)).mean()) for one in found]
    assert abs(np.mean(inside) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / seeds)


def test_findings_go_by_halves_and_what_stays_fails_all_the_same():
    (seen, hidden, off) = (bias_finding(measured(truth), "train_error") for truth in (SMALL, Truth(), STAYS))
    assert (seen.verdict, seen.sentence.endswith("by halves")) == ("holds", True)
    assert seen.low < -1 < seen.high
    assert hidden.verdict == "undecided"
    assert "no bias seen" in hidden.sentence
    assert off.verdict == "fails"
    slow = bias_verdict(measured(Truth(bias=0.3, bias_exponent=-0.25)), "train_error", "halves")
    assert slow == ("fails", "falls more slowly than the fluctuation")


def test_the_section_has_a_table_of_constants_and_draws_them():
    groups = made_up_halves(SMALL, 0, axes={"noise": [0.1, 0.5]}, sizes=SIZES, replicates=40)
    found = SECTION.measure(*groups)
    (table,) = constants_table(found)
    assert table in SECTION.tables(found)
    assert [line[:2] for line in table.lines] == [
        (name, noise) for noise in ("0.1", "0.5") for name in ("train error", "test error")
    ]
    assert {"halves_exponent_by_noise", "halves_exponent_by_window"} <= set(found)
    figure = SECTION.figures(*groups, found)[1]
    assert "by halves" in figure.caption
    plain = groups[0].drop_vars([name for name in groups[0] if str(name).endswith("_halves")])
    without = rates(plain, groups[1], draws=20)
    assert constants_table(without) == []
    xr.testing.assert_equal(without, rates(*groups, draws=20)[list(without)])
