import numpy as np
import pytest
from scipy import special

from sedyn.model.quadrature import gauss_quadrature, interpolation


@pytest.mark.parametrize("count", [1, 2, 6])
def test_gauss_quadrature_averages_polynomials_exactly(count):
    eigenvalues = np.arange(1, 301) ** -0.4
    eigenvalues /= eigenvalues.mean()
    nodes, weights = gauss_quadrature(eigenvalues, count)
    assert nodes.size == count
    for degree in range(2 * count):
        np.testing.assert_allclose(weights @ nodes**degree, np.mean(eigenvalues**degree), rtol=1e-12)


def test_gauss_quadrature_of_few_values_is_these_values():
    nodes, weights = gauss_quadrature(np.array([1.0, 3.0, 3.0, 1.0]), 10)
    np.testing.assert_allclose(nodes, [1, 3])
    np.testing.assert_allclose(weights, [0.5, 0.5])
    nodes, weights = gauss_quadrature(np.ones(50), 10)
    np.testing.assert_allclose((nodes, weights), [[1], [1]])


@pytest.mark.parametrize(("exponent", "d", "count"), [(0.2, 300, 12), (0.9, 300, 40), (0.6, 20_000, 40), (0.4, 9, 40)])
def test_interpolation_from_gauss_nodes_reaches_every_eigenvalue(exponent, d, count):
    eigenvalues = np.arange(1, d + 1) ** -exponent
    eigenvalues /= eigenvalues.mean()
    nodes = gauss_quadrature(eigenvalues, count).nodes
    towards = interpolation(eigenvalues, count)
    ordered, middle = eigenvalues[::-1], eigenvalues[0] / 2
    assert towards.shape == (d, nodes.size)
    # Chebyshev polynomials, bounded all along the spectrum.
    for degree in (0, 1, count // 2, min(count, d) - 1):
        found = towards @ special.eval_chebyt(degree, nodes / middle - 1)
        np.testing.assert_allclose(found, special.eval_chebyt(degree, ordered / middle - 1), atol=1e-8)
