"""The one place that chooses between a definition and the kernels that compute the same faster.

An `Operation` is called like its definition. Kernels register with it: which arguments they serve, and what computes
the result for these. A new kernel is one registration; nobody who calls the operation knows of it.
"""

from __future__ import annotations

import functools
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np

from sedyn.arrays import points, revealing, roots
from sedyn.arrays.backend import Array
from sedyn.arrays.shapes import Float
from sedyn.errors import InvalidInput
from sedyn.model import adjoint, evaluation, initialization, label_laws, network, own_modes, row_averages
from sedyn.model.algorithm import Descent, Path
from sedyn.model.functions import Loss
from sedyn.model.label_laws import SomeLabels
from sedyn.model.layers import Stack
from sedyn.model.registry import Registry
from sedyn.model.update import Update

__all__ = [
    "Operation",
    "average_scores",
    "causal_root",
    "definitions_only",
    "descend_each",
    "descend_path",
    "differentiate",
    "error_over_shifts",
    "forward",
    "initial_weights_and_signals",
    "label_law",
    "mean_answer",
    "mean_response",
    "move_modes",
    "quadratures",
    "remove_own_gradients",
    "require_form",
    "revealing_product",
    "row_moments",
    "stored_samples",
    "stretched_points",
]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_definitions_only: ContextVar[bool] = ContextVar("definitions only", default=False)


class Operation(Generic[Arguments, Result]):
    """A function that kernels may compute faster than its definition does.

    Parameters
    ----------
    definition : callable
        Serves any arguments, and says what the result is.

    Examples
    --------
    >>> double = Operation(lambda x: x + x)
    >>> double.register(lambda x: isinstance(x, int), lambda x: x << 1)
    >>> double(3), double(1.5)
    (6, 3.0)
    >>> double.chosen(1.5) is double.definition
    True
    """

    def __init__(self, definition: Callable[Arguments, Result]) -> None:
        functools.update_wrapper(self, definition)
        self.definition = definition
        self._kernels: list[tuple[Callable[Arguments, bool], Callable[Arguments, Result]]] = []

    def register(self, serves: Callable[Arguments, bool], kernel: Callable[Arguments, Result]) -> None:
        """Add a kernel, which is asked before those that are there.

        Parameters
        ----------
        serves : callable
            Whether the kernel serves some arguments; it is asked in every call, so it must be quick.
        kernel : callable
            Gives what the definition gives, to rounding.
        """
        self._kernels.insert(0, (serves, kernel))

    def chosen(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Callable[Arguments, Result]:
        """Choose what computes the result for some arguments: a kernel, or the definition.

        Parameters
        ----------
        *args, **kwargs : object
            What the operation would be called with.

        Returns
        -------
        callable
            To be called with the same arguments.
        """
        if not _definitions_only.get():
            for serves, kernel in self._kernels:
                if serves(*args, **kwargs):
                    return kernel
        return self.definition

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Compute the result by what is chosen for the arguments."""
        return self.chosen(*args, **kwargs)(*args, **kwargs)


@contextmanager
def definitions_only() -> Iterator[None]:
    """Compute by definitions for a while, in this thread and those that it hands work to.

    What has chosen its kernels before keeps them: a design that holds its samples in a compiled form.
    """
    token = _definitions_only.set(True)
    try:
        yield
    finally:
        _definitions_only.reset(token)


def _no_stored_samples(matrix: Array, dtype: np.dtype) -> Any | None:
    """Samples of a matrix, by blocks, in the form that a kernel multiplies; None where there is no such kernel.

    Parameters
    ----------
    matrix : array, shape (n, d)
    dtype : dtype
        Of the products of integers; floats are multiplied in their own type.

    Returns
    -------
    SampleBlocks or None
        See `sedyn.designs.storage`, whose own forms serve where this is None.
    """
    return None


def _no_pass(
    matrices: Array, weights: Array, network: network.Network, scale: float, *, curvature: bool
) -> tuple[Array, network.Derivatives, Array] | None:
    """X w, the derivatives there and X^T g for replicates side by side, in one pass; None where there is no kernel.

    Parameters
    ----------
    matrices : array, shape (R, n, d)
    weights : array, shape (R, q, d)
    network : Network
        With an axis of replicates in front.
    scale : float
        Each X is this times its matrix.
    curvature : bool
        Whether D is wanted.

    Returns
    -------
    tuple or None
        See `sedyn.designs.protocol.Design.descend`, whose two products serve where this is None.
    """
    return None


def _no_path(matrices: Array, scale: float, descent: Descent) -> Path | None:
    """Gradient descent on replicates side by side, all iterations at once; None where there is no kernel.

    Parameters
    ----------
    matrices : array, shape (R, n, d)
    scale : float
        Each design is this times its matrix.
    descent : Descent

    Returns
    -------
    Path or None
        Steps one by one serve where this is None.
    """
    return None


def _no_removal(
    path: Path, nodes: Array, shares: Array, delta: float, updates: Sequence[Update]
) -> Float[Array, "R iterations q n"] | None:
    """Pre-activations at all iterations without what they keep of their own gradients; None where there is no kernel.

    Parameters
    ----------
    path : Path
        With gradients and curvatures.
    nodes, shares : array, shape (B,)
        Of the feature covariance's spectrum.
    delta : float
        Aspect ratio.
    updates : sequence of Update
        One for each step.

    Returns
    -------
    array, shape (R, T + 1, q, n), or None
        `sedyn.estimate.protocol.Estimate`, step by step, serves where this is None.
    """
    return None


def _no_average(
    layers: Stack,
    loss: Loss,
    roots: Array,
    deep: network.DeepWeights,
    normals: Array,
    labels: SomeLabels,
    weights: Array,
) -> Float[Array, "R iterations shifts"] | None:
    """Mean losses at all iterations over points that stand for fresh samples; None where there is no kernel.

    Parameters
    ----------
    layers : Stack
    loss : Loss
    roots : array, shape (R, T + 1, q, k + q)
        Take the points' standard normals to pre-activations.
    deep : tuple of array
        With axes (R, T + 1) in front.
    normals : array, shape (R, k + q, N)
    labels : SomeLabels
        Of the points.
    weights : array, shape (R, shifts, N / shifts)
        Of the points, those of one shift after those of another.

    Returns
    -------
    array, shape (R, T + 1, shifts), or None
        Array operations, iteration by iteration, serve where this is None.
    """
    return None


forward = Operation(network.forward)
differentiate = Operation(network.differentiate)
mean_response = Operation(adjoint.mean_response)
descend_each = Operation(_no_pass)
descend_path = Operation(_no_path)
remove_own_gradients = Operation(_no_removal)
average_scores = Operation(_no_average)
label_law = Operation(label_laws.label_law)
error_over_shifts = Operation(evaluation.error_over_shifts)
stretched_points = Operation(points.stretched_points)
causal_root = Operation(roots.causal_root)
row_moments = Operation(row_averages.row_moments)
initial_weights_and_signals = Operation(initialization.initial_weights_and_signals)
move_modes = Operation(own_modes.move_modes)
mean_answer = Operation(own_modes.mean_answer)
quadratures = Operation(own_modes.quadratures)
revealing_product = Operation(revealing.revealing_product)
stored_samples = Operation(_no_stored_samples)


def require_form(registry: Registry[Any], form: str, source: pathlib.Path, pattern: str) -> None:
    """Refuse registry entries that name a form which a kernel does not have, and built-ins that name none.

    What there is, is read from the kernel's source, which loads no compiler.

    Parameters
    ----------
    registry : Registry
        Of activations or losses.
    form : {'compiled', 'cuda'}
        The field of an entry that names its form.
    source : Path
    pattern : str
        A regular expression that finds the names of the forms in the source.

    Raises
    ------
    InvalidInput
        If a built-in is refused: when this is called. Another entry is refused when it is registered.
    """
    known = re.findall(pattern, source.read_text())

    def check(name: str, entry: Any) -> None:
        named = getattr(entry, form)
        if named not in known and not (named is None and name not in registry.built_in):
            raise InvalidInput(
                registry.kind, name, f"its {form} form {named!r} is not in {source.name}; there: {', '.join(known)}"
            )

    registry.require(check)
