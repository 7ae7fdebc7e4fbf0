"""Orthonormal bases of a few long vectors: products with a basis, and what is new in a block of vectors.

A block of q vectors of length d is (q, d), a basis of k is (k, d). Products go by blocks of columns, see
`sedyn.arrays.blocks`.
"""

from __future__ import annotations

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, to_host
from sedyn.arrays.blocks import for_each_block, summed
from sedyn.arrays.shapes import Float
from sedyn.kernels.dispatch import add_block_combination, block_products

__all__ = ["add_combination", "coefficients_of", "combination", "remove", "split"]

# What a block adds to a basis below this share of the block's norm is rounding, not new.
NEGLIGIBLE_SHARE = 1e-12
# Directions found together are of similar size, within this factor, so that each is orthogonal to rounding.
SIMILAR = 1e-3


def coefficients_of(block: Float[Array, "q d"], basis: Float[Array, "k d"]) -> Float[Array, "q k"]:
    """Scalar products of vectors: ``block @ basis.T``.

    Parameters
    ----------
    block : array, shape (q, d)
    basis : array, shape (k, d)

    Returns
    -------
    array, shape (q, k)
    """
    return summed(lambda columns: block_products(block, basis, columns), block)


def combination(coefficients: Float[Array, "q k"], basis: Float[Array, "k d"]) -> Float[Array, "q d"]:
    """Combinations of vectors: ``coefficients @ basis``.

    Parameters
    ----------
    coefficients : array, shape (q, k)
    basis : array, shape (k, d)

    Returns
    -------
    array, shape (q, d)
    """
    xp = array_namespace(basis)
    out = xp.zeros((coefficients.shape[0], basis.shape[1]), dtype=basis.dtype, device=basis.device)
    add_combination(out, coefficients, basis)
    return out


def add_combination(block: Float[Array, "q d"], coefficients: Float[Array, "q k"], basis: Float[Array, "k d"]) -> None:
    """Add ``coefficients @ basis`` to a block, in place.

    Parameters
    ----------
    block : array, shape (q, d)
    coefficients : array, shape (q, k)
    basis : array, shape (k, d)
    """
    for_each_block(lambda columns: add_block_combination(block, coefficients, basis, columns), block)


def remove(block: Float[Array, "q d"], basis: Float[Array, "k d"]) -> Float[Array, "q k"]:
    """Take the part in an orthonormal basis out of a block, in place; twice, which is enough for full precision.

    Parameters
    ----------
    block : array, shape (q, d)
    basis : array, shape (k, d)

    Returns
    -------
    array, shape (q, k)
        Coefficients of what was taken out.
    """
    first = coefficients_of(block, basis)

    def again(columns: slice) -> Array:
        add_block_combination(block, -first, basis, columns)
        return block_products(block, basis, columns)

    second = summed(again, block)
    add_combination(block, -second, basis)
    return first + second


def split(
    block: Float[Array, "q d"], basis: Float[Array, "k d"]
) -> tuple[Float[Array, "q known"], Float[Array, "r d"]] | None:
    """Coefficients of a block in a basis and in new directions, and these directions; None for an infinite block.

    Block Gram-Schmidt, twice. The directions come from the Gram matrix of the remainder, those of similar size
    together; what they leave is split again, so that nearly dependent and dependent vectors are met alike. How many are
    new is for the host to say: it gets the Gram matrix, once for each size that there is.

    Parameters
    ----------
    block : array, shape (q, d)
    basis : array, shape (k, d)
        Orthonormal.

    Returns
    -------
    coefficients : array, shape (q, k + r)
    directions : array, shape (r, d)
        Orthonormal and orthogonal to the basis, r <= q.
    """
    xp = array_namespace(block)
    remainder = xp.asarray(block, copy=True)
    coefficients = remove(remainder, basis)
    kind = {"dtype": block.dtype, "device": block.device}
    host = to_host({"gram": coefficients_of(remainder, remainder), "known": xp.sum(coefficients**2)})
    total = host["known"] + np.trace(host["gram"])
    if not np.isfinite(total):
        return None
    directions = remainder[:0, :]
    while directions.shape[0] < block.shape[0]:
        squares, axes = np.linalg.eigh(host["gram"])
        if not squares[-1] > NEGLIGIBLE_SHARE**2 * total:
            break
        first = np.count_nonzero(squares <= SIMILAR**2 * squares[-1])  # they ascend
        found = combination(xp.asarray(_whitening(squares[first:], axes[:, first:]), **kind), remainder)
        # The Gram matrix squares the spread of sizes and with it the rounding: once more makes it exact.
        found = combination(_whitening(*xp.linalg.eigh(coefficients_of(found, found))), found)
        directions = xp.concat([directions, found], axis=0)
        if directions.shape[0] == block.shape[0]:
            break
        # The large directions first: what rounding they leave along the basis goes with the basis.
        remove(remainder, directions)
        coefficients += remove(remainder, basis)
        host = to_host({"gram": coefficients_of(remainder, remainder)})
    return xp.concat([coefficients, coefficients_of(block, directions)], axis=1), directions


def _whitening(squares: Array, axes: Array) -> Array:
    """Coefficients of vectors that make them orthonormal, from eigenvalues and vectors of their Gram matrix.

    Where all vectors are given this is the symmetric root of the inverse, which no choice of vectors enters: neither
    their signs nor, where eigenvalues are equal, their directions. Results then do not hang on rounding.
    """
    scaled = (axes / array_namespace(axes).sqrt(squares)).T
    return axes @ scaled if axes.shape[0] == axes.shape[1] else scaled
