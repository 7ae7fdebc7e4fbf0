"""The estimate for other people's loops, against leave-one-out and against the estimate of sedyn's own loop."""

import numpy as np
import pytest

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.designs.dense import DenseDesign
from sedyn.estimate.by_modes import ByModes
from sedyn.estimate.rows import row_modes, row_scales
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import Batches, batch_weights
from sedyn.model.evaluation import sample_scores
from sedyn.model.label_laws import DrawnLabels
from sedyn.model.update import updates_of
from tests.helpers import orders_of

RNG = np.random.default_rng(0)


def linear_loop(X, y, rates, momentum, decay, nesterov, batches, tracker=None, without=None):
    """A user's loop, momentum as torch.optim.SGD has it: weights after each step."""
    W, velocity = np.zeros((X.shape[1], 1)), 0.0
    for step, (rate, batch) in enumerate(zip(rates, batches, strict=True)):
        G = X[batch] @ W - y[batch, None]
        if tracker is not None:
            tracker.step(G, np.ones((len(batch), 1, 1)), batch=batch, learning_rate=rate)
        G = G * (np.asarray(batch) != without)[:, None]
        gradient = X[batch].T @ G / len(batch) + decay * W
        velocity = gradient if step == 0 else momentum * velocity + gradient
        W = W - rate * (gradient + momentum * velocity if nesterov else velocity)
    return W


@pytest.mark.parametrize(
    ("momentum", "decay", "nesterov", "rates"),
    [
        (0, 0, False, [0.2] * 9),
        (0.6, 0.1, False, [0.1] * 9),
        (0.6, 0.1, True, [0.1] * 9),
        (0.5, 0.1, False, np.linspace(0.05, 0.2, 9)),
        (0.5, 0.1, True, np.linspace(0.05, 0.2, 9)),
    ],
)
def test_a_linear_loop_is_left_one_out(momentum, decay, nesterov, rates):
    X, y = RNG.standard_normal((15, 6)), RNG.standard_normal(15)
    batches = [np.arange(15)] * len(rates)
    tracker = sedyn.track(X, rates[0], momentum=momentum, weight_decay=decay, nesterov=nesterov, centred=False)
    options = rates, momentum, decay, nesterov, batches
    W = linear_loop(X, y, *options, tracker=tracker)
    expected = [X[i] @ linear_loop(X, y, *options, without=i) for i in range(15)]
    np.testing.assert_allclose(tracker.fresh_like(X @ W), expected, atol=1e-12)
    found = tracker.estimate(X @ W, lambda h: (h[:, 0] - y) ** 2)
    squares = (np.array(expected)[:, 0] - y) ** 2
    np.testing.assert_allclose(found, [squares.mean(), squares.std(ddof=1) / np.sqrt(15)])


@pytest.mark.parametrize("fields", [{}, {"batch_fraction": 0.5}, {"momentum": 0.5, "weight_decay": 0.1}], ids=str)
def test_another_loop_gets_what_sedyns_own_gets(fields):
    problem = Problem(n=40, d=20, width=3, depth=2, steps=8, learning_rate=0.4, **fields)
    X = RNG.standard_normal((problem.n, problem.d))
    X -= X.mean(axis=0)
    y = np.tanh(X[:, 0]) + 0.3 * RNG.standard_normal(problem.n)
    batches = None if problem.full_batch else Batches(lambda: batch_weights(problem, orders_of(problem.n, 1)))
    start = RNG.standard_normal((problem.width, problem.d))
    estimate = ByModes.begin(row_modes(X, centred=True), row_scales(X), start)
    data = Data(DenseDesign(X, problem.d**-0.5), np.ones(problem.d), y[None], start, initial_deep_weights(problem))
    tracker = sedyn.track(X, 0.4, momentum=problem.momentum, weight_decay=problem.weight_decay)
    for state in states(dynamics, problem, data._replace(batches=batches, estimate=estimate), updates_of(problem)):
        expected = dynamics.scores(problem, data, state)["estimated_test_error"]

        def losses(h, deep=state.deep_weights):
            return sample_scores(problem, h.T, DrawnLabels(data.labels), deep)[0]

        assert tracker.estimate(state.trained.T, losses).mean == pytest.approx(expected, rel=1e-12)
        if state.derivatives is None:
            break
        weights = np.ones(problem.n) if batches is None else batches[state.iteration]
        batch = np.flatnonzero(weights)
        gradient, curvature = state.derivatives.gradient[:, batch], state.derivatives.curvature[:, :, batch]
        tracker.step(gradient.T / weights[batch, None], np.moveaxis(curvature, -1, 0) / weights[batch[0]], batch=batch)


def test_wrong_arguments_are_one_line():
    X = RNG.standard_normal((6, 3))
    tracker = sedyn.track(X, 0.1)
    tracker.step(np.zeros((6, 2)), np.zeros((6, 2, 2)))
    refused = {
        "X": lambda: sedyn.track(X[:1], 0.1),
        "learning_rate": lambda: tracker.step(np.zeros((6, 2)), np.zeros((6, 2, 2)), learning_rate=-1),
        "momentum": lambda: sedyn.track(X, 0.1, momentum=1.0),
        "h": lambda: tracker.fresh_like(np.zeros((5, 2))),
        "gradients": lambda: tracker.step(np.zeros((6, 3)), np.zeros((6, 3, 3))),
        "curvatures": lambda: tracker.step(np.zeros((6, 2)), np.zeros((6, 2))),
        "batch": lambda: tracker.step(np.zeros((2, 2)), np.zeros((2, 2, 2)), batch=[1, 6]),
        "losses": lambda: tracker.estimate(np.zeros((6, 2)), lambda h: h),
    }
    for field, call in refused.items():
        with pytest.raises(InvalidInput) as refusal:
            call()
        assert refusal.value.field == field
        assert len(str(refusal.value).splitlines()) == 1


def test_rows_of_a_batch_are_whole_numbers():
    tracker = sedyn.track(RNG.standard_normal((6, 3)), 0.1)
    with pytest.raises(InvalidInput, match="batch"):
        tracker.step(np.zeros((2, 2)), np.zeros((2, 2, 2)), batch=[1, 2.5])


def test_pytorch_is_given_a_loss_for_each_row_and_no_mean_of_them():
    torch = pytest.importorskip("torch", reason="PyTorch is optional: pip install torch")
    h = torch.ones((6, 2), dtype=torch.float64)
    for losses in (lambda h: (h**2).mean(), lambda h: h**2, lambda h: h.detach()[:, 0], lambda h: 3.0):
        with pytest.raises(InvalidInput, match=r"losses=.*reduction='none'"):
            sedyn.track(RNG.standard_normal((6, 3)), 0.1).step_through(h, losses)


def test_pytorch_differentiates_what_sedyn_does():
    torch = pytest.importorskip("torch", reason="PyTorch is optional: pip install torch")
    problem = Problem(n=30, d=10, width=3, depth=2, steps=5, learning_rate=0.3, momentum=0.5)
    X, y = RNG.standard_normal((problem.n, problem.d)), RNG.standard_normal(problem.n)
    start, deep = RNG.standard_normal((problem.width, problem.d)), initial_deep_weights(problem)
    estimate = ByModes.begin(row_modes(X, centred=False), row_scales(X), start)
    data = Data(DenseDesign(X, problem.d**-0.5), np.ones(problem.d), y[None], start, deep, estimate=estimate)
    *_, last = states(dynamics, problem, data, updates_of(problem))
    expected = dynamics.scores(problem, data, last)["estimated_test_error"]

    features, labels = torch.tensor(X), torch.tensor(y)
    first = torch.tensor(start.T / problem.d**0.5, requires_grad=True)
    head = torch.tensor(deep[0], requires_grad=True)
    # In standard parameters the first layer's rate is the same: X has entries of variance one.
    optimizer = torch.optim.SGD([first, head], lr=0.3, momentum=0.5)
    tracker = sedyn.track(X, 0.3, momentum=0.5, centred=False)

    def losses(h):
        return (torch.tanh(h) @ head - labels[:, None])[:, 0] ** 2 / 2

    for _ in range(problem.steps):
        h = features @ first
        tracker.step_through(h, losses)
        optimizer.zero_grad()
        losses(h).mean().backward()
        optimizer.step()
    found = tracker.estimate(features @ first, lambda h: 2 * losses(h))
    assert found.mean == pytest.approx(float(expected), rel=1e-9)
