import sys

import pytest
import xarray as xr

import sedyn
from analysis.rates import rates
from analysis.rates_section import verdict

NAMES = ["train_error", "test_error", "signal_overlap", "deep_weights"]
SIZES = (400, 1600, 6400, 25600)


def problem_of(n):
    return sedyn.Problem(n=n, d=n, width=2, depth=2, noise=0.5, learning_rate=1.5, steps=5)


@pytest.fixture(scope="module")
def runs():
    each = [sedyn.simulate(problem_of(n), replicates=16, estimate=False)[NAMES] for n in SIZES]
    return xr.concat(each, dim=xr.DataArray(list(SIZES), dims="n", name="n"), combine_attrs="drop_conflicts")


def verdicts(runs):
    theory = sedyn.state_evolution(problem_of(SIZES[0]), samples=2**13, randomizations=4)
    measured = rates(runs, theory.expand_dims(n=list(SIZES)), draws=400)
    return {name: verdict(measured, name) for name in NAMES}


def test_the_theory_is_not_refuted(runs):
    assert "fails" not in {answer for answer, _ in verdicts(runs).values()}


def test_a_theory_without_its_memory_is_caught(runs, monkeypatch):
    # h^t = z^t, as if a sample had never been used before.
    monkeypatch.setattr(
        sys.modules["sedyn.state_evolution"], "remembered", lambda memory, gradients: 0 * gradients[0, ...]
    )
    found = verdicts(runs)
    for name in ("train_error", "deep_weights"):
        assert found[name] == ("fails", "the bias stays as n grows, so theory and simulation do not converge")
