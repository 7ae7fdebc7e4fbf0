"""Kicks of the weights: their law, and the law that they lead to."""

import dataclasses

import numpy as np

from sedyn import Problem
from sedyn.descent import dynamics
from sedyn.descent import inputs as descent_inputs
from sedyn.model.algorithm import states
from sedyn.model.gradient_noise import GradientNoise
from sedyn.model.seeds import streams_of
from sedyn.model.update import updates_together
from tests.helpers import assert_within_se

BASE = Problem(n=60, d=40, width=2, depth=3, steps=3, temperature=0.2, deep_learning_rate=0.3)


def data_of(problem, replicates):
    streams = streams_of([problem] * replicates, 0, range(replicates))
    return descent_inputs.draw([problem] * replicates, streams, "dense")


def path_of(problem, data):
    return list(states(dynamics, problem, data, updates_together([problem] * len(data.labels), data.start)))


def test_kicks_are_the_same_every_time_and_independent_between_steps_layers_and_replicates():
    noise = GradientNoise(streams_of([BASE] * 2, 0, range(2)).gradient_noise, 2)
    like, deep = np.empty((2, 3, 500)), (np.empty((2, 3, 500)),)
    parts = [noise.of_first_weights(step, like) for step in (0, 1)]
    parts.append(noise.of_deep_weights(BASE, 1, deep)[0] * np.sqrt(BASE.d))
    np.testing.assert_array_equal(parts[0], noise.of_first_weights(0, like))
    rows = np.concatenate([part.reshape(2, -1) for part in parts])
    assert_within_se(rows @ rows.T / 1500, np.eye(6), 2 / np.sqrt(1500))
    alone = GradientNoise(streams_of([BASE], 0, [1]).gradient_noise, 2)
    np.testing.assert_array_equal(alone.of_first_weights(1, np.empty((3, 500))), parts[1][1])


def test_no_temperature_no_kicks():
    assert data_of(dataclasses.replace(BASE, temperature=0.0), 1).gradient_noise is None


def kicks_of_one_step(problem, replicates):
    """What gradient noise adds to the weights in the first step: first layer, and the rest."""
    data = data_of(problem, replicates)
    one, two = (path_of(problem, given)[1] for given in (data, data._replace(gradient_noise=None)))
    deep = [(a - b).reshape(replicates, -1) for a, b in zip(one.deep_weights, two.deep_weights, strict=True)]
    return (one.first_weights - two.first_weights).ravel(), np.concatenate(deep, axis=1).ravel()


def test_deeper_weights_are_kicked_by_the_root_of_d_less():
    for d in (20, 80):
        first, deep = kicks_of_one_step(dataclasses.replace(BASE, d=d, steps=1), 400)
        for kicks, variance in (
            (first, 2 * BASE.learning_rates[0] * BASE.temperature),
            (deep, 2 * BASE.deep_learning_rates[0] * BASE.temperature / d),
        ):
            assert_within_se(np.mean(kicks**2), variance, variance * np.sqrt(2 / kicks.size))


def test_frozen_layers_are_not_kicked():
    first, deep = kicks_of_one_step(dataclasses.replace(BASE, train="first", deep_learning_rate=None), 2)
    assert np.abs(first).min() > 0
    np.testing.assert_array_equal(deep, 0)


def test_a_long_run_has_the_gibbs_law():
    """Of a linear model with decay: in each direction of the data the variance that the rate and its Hessian say.

    That of Gibbs, temperature over Hessian, but for a factor that is 1 at small rates: the process is an AR(1).
    """
    n, d, rate, temperature, decay, steps = 30, 20, 0.2, 0.5, 0.1, 4000
    problem = Problem(
        n=n, d=d, width=1, depth=1, learning_rate=rate, temperature=temperature, weight_decay=decay, steps=steps
    )
    data = data_of(problem, 1)._replace(estimate=None)
    x = np.swapaxes(data.design.matmul(np.eye(d)[None, ...]), 1, 2)[0]
    hessians, directions = np.linalg.eigh(x.T @ x / (n / d) + decay * np.eye(d))
    assert rate * hessians.max() < 1
    walk = states(dynamics, problem, data, updates_together([problem], data.start))
    weights = np.stack([state.first_weights[0, 0] for state in walk])[steps // 4 :]
    mean = np.linalg.solve(x.T @ x / (n / d) + decay * np.eye(d), x.T @ data.labels[0, 0] / (n / d))
    squares = ((weights - mean) @ directions) ** 2
    gibbs = temperature / hessians
    memory = (1 - rate * hessians) ** 2  # correlation of squares from one step to the next
    se = np.sqrt(2 * (1 + memory) / (1 - memory) / len(squares))
    assert_within_se(squares.mean(axis=0) / gibbs, 1 / (1 - rate * hessians / 2), se)
