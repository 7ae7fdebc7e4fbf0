"""Derivatives of many outputs at once in all that a computation started from, by one pass backwards.

What is computed are matrices: rows are few, columns few or as many as samples or features. A `Tape` keeps every result
with the way back through it. Averages over samples or features are the only place where the weights of these enter, so
derivatives in the weights are found on the way (docs/theory.md#influence).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sedyn.arrays.shapes import Float

__all__ = ["Adjoints", "Node", "Tape"]


class Node:
    """A result on a tape, or a constant; sums, differences and multiples of nodes are nodes.

    Parameters
    ----------
    value : ndarray, shape (a, b)
    tape : Tape or None
        None for a constant.
    """

    __array_ufunc__ = None  # an array times a node is a node

    def __init__(self, value: Float[np.ndarray, "a b"], tape: Tape | None = None) -> None:
        self.value, self.tape = value, tape

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.value.shape

    @property
    def dtype(self) -> np.dtype:
        """Kind of the value's entries."""
        return self.value.dtype

    def __add__(self, other: Node) -> Node:
        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            adjoints.add(self, adjoint)
            adjoints.add(other, adjoint)

        return _found(self.value + other.value, pull, self, other)

    def __sub__(self, other: Node) -> Node:
        return self + (-1.0) * other

    def __mul__(self, factor: float | Float[np.ndarray, "..."]) -> Node:
        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            adjoints.add(self, adjoint * factor)

        return _found(self.value * factor, pull, self)

    __rmul__ = __mul__

    def __getitem__(self, key: Any) -> Node:
        place = (slice(None), *(key if isinstance(key, tuple) else (key,)))

        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            whole = np.zeros((adjoint.shape[0], *self.shape))
            whole[place] = adjoint
            adjoints.add(self, whole)

        return _found(self.value[key], pull, self)

    @property
    def T(self) -> Node:
        """Transpose."""

        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            adjoints.add(self, np.swapaxes(adjoint, 1, 2))

        return _found(self.value.T, pull, self)

    def __matmul__(self, other: Node) -> Node:
        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            if self.tape is not None:
                adjoints.add(self, adjoint @ other.value.T)
            if other.tape is not None:
                adjoints.add(other, self.value.T @ adjoint)

        return _found(self.value @ other.value, pull, self, other)


class Adjoints:
    """Derivatives of B outputs, as far as a pass backwards has come.

    Parameters
    ----------
    outputs : int
        B.
    weights : dict of str to ndarray
        Of samples and features; gives the sizes of the two sides.
    """

    def __init__(self, outputs: int, weights: dict[str, Float[np.ndarray, " _"]]) -> None:
        self._of_nodes: dict[int, np.ndarray] = {}
        self._own: set[int] = set()
        self.of_weights = {side: np.zeros((outputs, own.size)) for side, own in weights.items()}

    def add(self, node: Node, adjoint: Float[np.ndarray, "B a b"]) -> None:
        """Add to the derivatives in a node; of a constant nobody asks.

        Parameters
        ----------
        node : Node
        adjoint : ndarray, shape (B, a, b)
        """
        if node.tape is None:
            return
        key = id(node)
        if key not in self._of_nodes:
            self._of_nodes[key] = adjoint
        elif key in self._own:
            self._of_nodes[key] += adjoint
        else:  # the first may be another node's too
            self._of_nodes[key] = self._of_nodes[key] + adjoint
            self._own.add(key)

    def pop(self, node: Node) -> Float[np.ndarray, "B a b"] | None:
        """Take what was added for a node; None for nothing."""
        self._own.discard(id(node))
        return self._of_nodes.pop(id(node), None)


class _Entry(NamedTuple):
    """A result and the way back through it."""

    node: Node
    pull: Callable[[Adjoints, np.ndarray], None]


def _found(value: np.ndarray, pull: Callable[[Adjoints, np.ndarray], None], *of: Node) -> Node:
    """Keep what was made of some nodes; what was made of constants is one."""
    tape = next((node.tape for node in of if node.tape is not None), None)
    return Node(value) if tape is None else tape.node(value, pull)


class Tape:
    """Results in the order in which they were found.

    Parameters
    ----------
    weights : dict of str to ndarray
        Of the samples and of the features, shapes (N,) and (M,), each with sum 1.
    """

    def __init__(self, weights: dict[str, Float[np.ndarray, " _"]]) -> None:
        self.weights = weights
        self._entries: list[_Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def node(self, value: Float[np.ndarray, "a b"], pull: Callable[[Adjoints, np.ndarray], None]) -> Node:
        """Keep a result.

        Parameters
        ----------
        value : ndarray, shape (a, b)
        pull : callable
            ``pull(adjoints, adjoint)``, the latter of the shape of the value, adds to the derivatives in what the
            result was made of, given those in it.

        Returns
        -------
        Node
        """
        made = Node(value, self)
        self._entries.append(_Entry(made, pull))
        return made

    def gram(self, left: Node, right: Node, side: str, only: Float[np.ndarray, " _"] | None = None) -> Node:
        """Weighted scalar products of rows: averages over samples or features.

        Parameters
        ----------
        left, right : Node, shapes (a, N) and (b, N)
        side : {'samples', 'features'}
        only : ndarray, shape (N,), optional
            Factors of the weights.

        Returns
        -------
        Node, shape (a, b)
        """
        factor = 1.0 if only is None else only
        weights = self.weights[side] * factor

        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            onto = adjoint @ right.value
            adjoints.of_weights[side] += np.einsum("ban,an->bn", onto, left.value) * factor
            if left.tape is not None:
                onto *= weights
                adjoints.add(left, onto)
            if right.tape is not None:
                adjoints.add(right, (np.swapaxes(adjoint, 1, 2) @ left.value) * weights)

        return self.node((left.value * weights) @ right.value.T, pull)

    def stack(self, blocks: Sequence[Node]) -> Node:
        """Put rows below rows.

        Parameters
        ----------
        blocks : sequence of Node, shapes (a_i, b)

        Returns
        -------
        Node, shape (sum of a_i, b)
        """
        ends = np.cumsum([0, *(block.shape[0] for block in blocks)])

        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            for block, start, stop in zip(blocks, ends, ends[1:], strict=False):
                adjoints.add(block, adjoint[:, start:stop])

        return self.node(np.concatenate([block.value for block in blocks]), pull)

    def whitening(self, gram: Node) -> Node:
        """Inverse of the Cholesky factor: L^-1 with L L^T = gram.

        Parameters
        ----------
        gram : Node, shape (a, a)
            Positive definite.

        Returns
        -------
        Node, shape (a, a)
        """
        inverse = np.linalg.inv(np.linalg.cholesky(gram.value))

        def pull(adjoints: Adjoints, adjoint: np.ndarray) -> None:
            # d(L^-1) = -L^-1 dL L^-1 and dL = L lower(L^-1 dG L^-T), with the diagonal halved.
            product = -adjoint @ inverse.T
            lower = np.tril(product)
            lower -= 0.5 * np.einsum("bii,ij->bij", product, np.eye(len(inverse)))
            pulled = inverse.T @ lower @ inverse
            adjoints.add(gram, 0.5 * (pulled + np.swapaxes(pulled, 1, 2)))

        return self.node(inverse, pull)

    def pull_back(self, outputs: Sequence[Node]) -> dict[str, Float[np.ndarray, "B _"]]:
        """Derivatives of every entry of some results in the weights of samples and features.

        Parameters
        ----------
        outputs : sequence of Node
            B entries in all, in the order of the nodes and of their entries.

        Returns
        -------
        dict of str to ndarray
            For each side, shape (B, N) or (B, M).
        """
        sizes = [output.value.size for output in outputs]
        adjoints = Adjoints(sum(sizes), self.weights)
        for output, size, end in zip(outputs, sizes, np.cumsum(sizes), strict=True):
            seed = np.zeros((sum(sizes), *output.shape))
            seed.reshape(sum(sizes), size)[end - size : end] = np.eye(size)
            adjoints.add(output, seed)
        for entry in reversed(self._entries):
            adjoint = adjoints.pop(entry.node)
            if adjoint is not None:
                entry.pull(adjoints, adjoint)
        return adjoints.of_weights
