import numpy as np

from analysis.answers.finding import Lack
from analysis.answers.words import title_of
from analysis.questions.bias import SEEN, SMALL, UNSEEN, bias_finding, bias_text, bias_verdict, shows_bias
from analysis.questions.rates import SECTION
from analysis.statistics.rates import rates
from tests.analysis.synthetic import store


def measured(**options):
    tree = store(depths=(2,), noises=(0.1, 0.5), steps=4, **options)
    return rates(tree["simulation"].to_dataset(), tree["theory"].to_dataset(), draws=200)


def test_a_bias_like_one_over_n_falls_faster_than_the_fluctuation():
    found = measured(bias=10.0, replicates=100)
    for name in found.observable.values:
        assert bias_verdict(found, name) == ("holds", "falls faster than the fluctuation; as claimed, like 1/n")


def test_a_bias_that_stays_does_not():
    found = measured(offset=0.05, replicates=32)
    for name in found.observable.values:
        assert bias_verdict(found, name) == ("fails", "falls more slowly than the fluctuation")


def test_a_bias_that_is_not_seen_is_bounded():
    found = measured(replicates=32).sel(observable=["train_error"])
    assert found.bias_p_value.item() > SEEN
    bound = f"{found.bias_bound.item():.0%}"
    assert bias_text(found.isel(observable=0)) == f"none seen, < {bound}"
    words = f"no bias seen; at n = 4,096 it is at most {bound} of the fluctuation"
    assert bias_verdict(found, "train_error") == ("undecided", words)


def test_the_error_of_the_solver_is_no_bias():
    found = measured(solver=0.02, replicates=64)
    assert (found.bias_p_value > SEEN).all()


def test_stores_that_begin_at_small_sizes_have_findings_on_their_bias():
    """By their sizes alone: not by what becomes of them."""
    large = measured(replicates=32)
    small = large.assign_coords(n=large.n // 2)
    assert int(small.n.min()) == SMALL
    assert shows_bias(small)
    assert not shows_bias(large)
    subjects = [[one.subject for one in SECTION.findings(found)] for found in (small, large)]
    assert set(subjects[0]) - set(subjects[1]) == {f"bias of {title_of(name)}" for name in large.observable.values}


def test_an_undecided_bias_says_how_many_runs_would_tell_it_from_the_fluctuation():
    few = bias_finding(measured(replicates=32), "train_error")
    assert few.verdict == "undecided"
    assert few.lack.runs == UNSEEN
    found = measured(bias=10.0, replicates=100)
    assert bias_finding(found, "train_error").lack == Lack()
    found = found.sel(observable=["train_error"])
    # One that reaches twice as far as the fluctuation needs four times the runs, and 1.3^2 times as many for its width.
    apart = (found.overall_exponent_low.sel(part="fluctuation") - found.bias_exponent).item()
    wide = found.assign(bias_exponent_high=found.bias_exponent + 2 * apart)
    lack = bias_finding(wide, "train_error").lack
    np.testing.assert_allclose(lack.runs, 1.3**2 * 4.0)
    assert list(lack.leverage) == found.n.values.tolist()
    assert max(lack.leverage, key=lack.leverage.get) == found.n.values.min()
