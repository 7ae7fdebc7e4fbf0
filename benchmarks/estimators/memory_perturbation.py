"""Nickl and others (2023), *The memory-perturbation equation*: residual times predictive variance.

Without sample i the output at it moves by v_i e_i to first order: e_i is the derivative of its loss in the output and
v_i = J_i H^-1 J_i^T the variance of the output under a Gaussian posterior about the weights, H the generalized
Gauss-Newton matrix plus the precision of a prior. The paper leaves the prior to the user. For a descent that has not
come to an end we take the variance that ridge regression has where it learns as much: the time that the descent has
gone through, over n.
"""

from __future__ import annotations

import numpy as np

from benchmarks.estimators.descent import Descent, Weights
from sedyn.model.architecture import layers_of
from sedyn.model.functions import loss_named
from sedyn.model.network import Network, differentiate

__all__ = ["learning_times", "memory_perturbation", "predictive_variances"]


def memory_perturbation(descent: Descent) -> np.ndarray:
    """Estimated test error at every iteration, shape (T + 1,); of networks with one output."""
    times, deep_times = learning_times(descent)
    errors = []
    for weights, time, deep_time in zip(descent.iterates(), times, deep_times, strict=True):
        outputs = descent.outputs(weights, descent.features)
        _, residual, curvature = loss_named(descent.problem.loss).jet(outputs, descent.labels, 2)
        kernel = _kernel(descent, weights, time, deep_time) / descent.problem.n
        variances = predictive_variances(kernel, curvature[0])
        errors.append(descent.error(outputs + variances * residual, descent.labels))
    return np.array(errors)


def predictive_variances(kernel: np.ndarray, curvatures: np.ndarray) -> np.ndarray:
    """Variances of the outputs given all samples, diagonal of K (I + L K)^-1, shape (n,).

    Parameters
    ----------
    kernel : ndarray, shape (n, n)
        K, prior covariance of the outputs.
    curvatures : ndarray, shape (n,)
        L, second derivatives of the losses in the outputs.
    """
    system = np.eye(len(kernel)) + curvatures[:, None] * kernel
    return np.diag(np.linalg.solve(system.T, kernel)).copy()


def learning_times(descent: Descent) -> tuple[np.ndarray, np.ndarray]:
    """How far a constant gradient has pushed a weight of the first and of the deeper layers, shape (T + 1,) each."""
    found = []
    for updates in (descent.updates, [update.of_deep_weights for update in descent.updates]):
        value = previous = np.zeros(1)
        times = [0.0]
        for update in updates:
            value, previous = update(value, previous, -np.ones(1))
            times.append(float(value[0]))
        found.append(np.array(times))
    return found[0], found[1]


def _kernel(descent: Descent, weights: Weights, time: float, deep_time: float) -> np.ndarray:
    """Products of the derivatives of outputs in the weights, each layer's times its time, shape (n, n)."""
    n, features = descent.problem.n, descent.features
    h = (weights.first @ features.T / np.sqrt(descent.problem.d)).T[:, :, None]  # a replicate for each sample
    deep = tuple(np.repeat(each[None], n, axis=0) for each in weights.deep)
    outputs = descent.outputs(weights, features).T[:, :, None]
    network = Network(layers_of(descent.problem), loss_named("squared"), deep, outputs - 1)  # its derivative there is 1
    found = differentiate(h, network, curvature=False)
    gradient = found.gradient[:, :, 0]
    kernel = time * (gradient @ gradient.T) * (features @ features.T)
    for each in found.deep_gradient:
        flat = each.reshape(n, -1)
        kernel += deep_time * flat @ flat.T
    return kernel
