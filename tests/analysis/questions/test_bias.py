from analysis.questions.bias import SEEN, bias_text, bias_verdict
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
