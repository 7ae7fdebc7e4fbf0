import pytest
import xarray as xr

import sedyn
from analysis.questions.bias import bias_verdict
from analysis.questions.rates import verdict
from analysis.statistics.rates import rates

NAMES = ["train_error", "test_error", "signal_overlap", "row_average", "deep_weights"]
SIZES = (400, 1600, 6400, 25600)


def problem_of(n):
    return sedyn.Problem(n=n, d=n, width=2, depth=2, noise=0.5, learning_rate=1.5, steps=5)


@pytest.fixture(scope="module")
def runs():
    each = [sedyn.simulate(problem_of(n), replicates=16, estimate=False)[NAMES] for n in SIZES]
    return xr.concat(each, dim=xr.DataArray(list(SIZES), dims="n", name="n"), combine_attrs="drop_conflicts")


def measure(runs):
    theory = sedyn.state_evolution(problem_of(SIZES[0]), samples=2**13, randomizations=4)
    return rates(runs, theory.expand_dims(n=list(SIZES)), draws=400)


def test_the_theory_is_not_refuted(runs):
    measured = measure(runs)
    assert measured.observable.values.tolist() == NAMES
    for name in NAMES:
        assert verdict(measured, name)[0] != "fails"
        assert bias_verdict(measured, name)[0] != "fails"


def test_a_theory_without_its_onsager_term_is_caught(runs, monkeypatch):
    # h^t = z^t, as if a sample had never been used before.
    monkeypatch.setattr("sedyn.theory.dynamics.onsager_term", lambda response, gradients: 0 * gradients[..., 0, :, :])
    measured = measure(runs)
    for name in ("train_error", "deep_weights"):
        words = "the bias falls more slowly than runs fluctuate, so over these n they do not approach theory"
        assert verdict(measured, name) == ("fails", words)
        assert bias_verdict(measured, name) == ("fails", "falls more slowly than the fluctuation")
