import numpy as np
import pytest

from sedyn import response
from sedyn.response import mean_response, remembered


def random_recursion(iterations, q, samples, seed=0):
    rng = np.random.default_rng(seed)
    curvatures = rng.standard_normal((iterations, q, q, samples)) / np.sqrt(q)
    curvatures = (curvatures + np.swapaxes(curvatures, 1, 2)) / 2
    memory = rng.standard_normal((iterations, iterations, q, q)) / iterations
    memory[np.triu_indices(iterations)] = 0
    return curvatures, memory


def forward_jacobians(curvatures, memory):
    """dg^t/dz^s for every s, carried forward: O(T^2 q^2) numbers a sample, the definition in THEORY section 2."""
    iterations, q, _, samples = curvatures.shape
    jacobians = np.zeros((iterations, iterations, q, q, samples))
    for t in range(iterations):
        for s in range(t + 1):
            inner = np.einsum("rab,rbcN->acN", memory[t, s:t], jacobians[s:t, s])
            if s == t:
                inner = inner + np.eye(q)[:, :, None]
            jacobians[t, s] = np.einsum("abN,bcN->acN", curvatures[t], inner)
    return jacobians[-1].mean(axis=-1)


@pytest.mark.parametrize(("iterations", "q", "samples"), [(1, 1, 3), (2, 3, 5), (9, 2, 40), (20, 3, 33)])
def test_adjoint_is_the_forward_jacobian(iterations, q, samples, monkeypatch):
    monkeypatch.setattr(response, "SAMPLES_PER_CHUNK", 16)
    curvatures, memory = random_recursion(iterations, q, samples)
    expected = forward_jacobians(curvatures, memory)
    np.testing.assert_allclose(mean_response(curvatures, memory), expected, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("block", [1, 3, 8, 50])
def test_blocking_changes_nothing(block, monkeypatch):
    curvatures, memory = random_recursion(17, 2, 30)
    expected = mean_response(curvatures, memory)
    monkeypatch.setattr(response, "ITERATIONS_PER_BLOCK", block)
    np.testing.assert_allclose(mean_response(curvatures, memory), expected, atol=1e-13 * np.abs(expected).max())


def test_remembered_sums_over_earlier_gradients():
    rng = np.random.default_rng(0)
    memory, gradients = rng.standard_normal((4, 3, 3)), rng.standard_normal((4, 3, 11))
    np.testing.assert_allclose(remembered(memory, gradients), np.einsum("sab,sbN->aN", memory, gradients))
