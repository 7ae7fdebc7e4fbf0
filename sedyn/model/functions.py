r"""Activations, links and losses, each with the derivatives that gradient descent and its theory need.

An *activation* is one function ``jet(x, order)`` that returns ``(f, f', f'')[: order + 1]`` at once, so that a value
shared by the derivatives, such as tanh(x), is computed a single time. A *loss* returns ``(l, l', l'')`` with respect
to the network output. A *link* needs no derivative: the theory uses Stein's identity
(docs/theory.md#signal-response), so ``sign`` or any user's function will do.

A built-in activation or loss is one entry of its registry: its jet, and the names under which kernels have it. A name
that they do not have is refused when the entry is registered, for a built-in when sedyn is imported.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, erf
from sedyn.arrays.shapes import Float
from sedyn.checks import FLAG, checked, elementwise, function_of, identifier, tried
from sedyn.errors import InvalidInput
from sedyn.model.families import Family, read_law
from sedyn.model.registry import Registry

__all__ = [
    "ACTIVATIONS",
    "LINKS",
    "LOSSES",
    "Activation",
    "Link",
    "Loss",
    "Piece",
    "loss_named",
    "register_activation",
    "register_link",
    "register_loss",
]

Jet = Callable[[Array, int], tuple[Array, ...]]


class Activation(NamedTuple):
    """An activation and its first two derivatives.

    Attributes
    ----------
    jet : callable
        ``jet(x, order)`` returns ``(f(x), f'(x), f''(x))[: order + 1]``, each of the shape of x.
    kinked : bool
        True where f' jumps, so that f'' misses a point mass and gradient responses are estimated by Stein's identity.
    compiled : str or None
        Its name in ``kernels/cpu/functions.py``; None if it has no compiled form, and the array form serves.
    cuda : str or None
        The function in ``kernels/cuda/network.cu``, likewise.
    """

    jet: Jet
    kinked: bool = False
    compiled: str | None = None
    cuda: str | None = None


class Link(NamedTuple):
    """A link: the label before noise, as a function of the indices.

    Attributes
    ----------
    f : callable
        Of one index, elementwise; or, if `joint`, of all k indices at once, from (k, samples) to (samples,), or to
        (outputs, samples).
    joint : bool
        Which of the two.
    """

    f: Callable[[Array], Array]
    joint: bool = False


class Piece(NamedTuple):
    """A loss up to some residual f - y, from where the piece before it ends: quadratic in the residual.

    Attributes
    ----------
    end : float
        The residual where the piece ends, infinite for the last.
    constant, linear, quadratic : float
        Coefficients of the powers of the residual.
    """

    end: float
    constant: float
    linear: float
    quadratic: float


@dataclass(frozen=True)
class Loss(Family):
    """A loss l(f, y) of network outputs and labels; other `numbers` make it another member of its family.

    Parameters
    ----------
    function : callable
        ``function(f, y, order, *numbers)`` returns ``(l, dl/df, d2l/df2)[: order + 1]``: of one output and label,
        elementwise, and the losses of several are added up; or, if `joint`, of all C outputs at once, from shapes
        (..., C, N) to (..., N), (..., C, N) and (..., C, C, N).
    joint : bool, optional
        Which of the two.
    binary : bool, optional
        True if the labels must be -1 or 1.
    pieces_of : callable, optional
        ``pieces_of(*numbers)``: of a loss that is quadratic in pieces of the residual, these.
    bends_abruptly : bool, optional
        True if the second derivative jumps, so that there is no third one to average.
    linear_in_labels : bool, optional
        True if labels enter linearly, so that the mean loss over several is the loss of their mean.
    compiled, cuda : str, optional
        As for `Activation`.
    """

    function: Callable[..., tuple[Array, ...]]
    binary: bool = False
    joint: bool = False
    pieces_of: Callable[..., tuple[Piece, ...]] | None = None
    bends_abruptly: bool = False
    linear_in_labels: bool = False
    compiled: str | None = None
    cuda: str | None = None

    def jet(self, f: Float[Array, "..."], y: Float[Array, "..."], order: int) -> tuple[Float[Array, "..."], ...]:
        """Take the loss with its derivatives in the output.

        Parameters
        ----------
        f, y : array, shape (...)
            Outputs and labels.
        order : int
            Of the last derivative, up to 2.

        Returns
        -------
        tuple of array
            ``(l, dl/df, d2l/df2)[: order + 1]``: each of the shape of f, or, if `joint`, as `function` gives them.
        """
        return self.function(f, y, order, *self.numbers)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What the loss is made of where it is quadratic in pieces of the residual; none elsewhere."""
        return self.pieces_of(*self.numbers) if self.pieces_of else ()


# --- activations ---------------------------------------------------------------------------------------------------


def _identity(x: Array, order: int) -> tuple[Array, ...]:
    xp = array_namespace(x)
    return (x, xp.ones_like(x), xp.zeros_like(x))[: order + 1]


def _tanh(x: Array, order: int) -> tuple[Array, ...]:
    f = array_namespace(x).tanh(x)
    if order == 0:
        return (f,)
    df = 1 - f * f
    return (f, df) if order == 1 else (f, df, -2 * f * df)


def _erf(x: Array, order: int) -> tuple[Array, ...]:
    f = erf(x)
    if order == 0:
        return (f,)
    df = (2 / math.sqrt(math.pi)) * array_namespace(x).exp(-x * x)
    return (f, df) if order == 1 else (f, df, -2 * x * df)


def _logistic_function(x: Array) -> Array:
    return 0.5 * (1 + array_namespace(x).tanh(0.5 * x))


def _sigmoid(x: Array, order: int) -> tuple[Array, ...]:
    f = _logistic_function(x)
    if order == 0:
        return (f,)
    df = f * (1 - f)
    return (f, df) if order == 1 else (f, df, df * (1 - 2 * f))


def _softplus(x: Array, order: int) -> tuple[Array, ...]:
    xp = array_namespace(x)
    f = xp.logaddexp(x, xp.zeros_like(x))
    return (f, *_sigmoid(x, order - 1)) if order else (f,)


def _gelu(x: Array, order: int) -> tuple[Array, ...]:
    cdf = 0.5 * (1 + erf(x / math.sqrt(2)))
    if order == 0:
        return (x * cdf,)
    pdf = array_namespace(x).exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return (x * cdf, cdf + x * pdf, pdf * (2 - x * x))[: order + 1]


def _silu(x: Array, order: int) -> tuple[Array, ...]:
    s, *derivatives = _sigmoid(x, order)
    if order == 0:
        return (x * s,)
    ds = derivatives[0]
    return (x * s, s + x * ds) if order == 1 else (x * s, s + x * ds, 2 * ds + x * derivatives[1])


def _relu(x: Array, order: int) -> tuple[Array, ...]:
    xp = array_namespace(x)
    on = xp.astype(x > 0, x.dtype)
    return (x * on, on, xp.zeros_like(x))[: order + 1]


ACTIVATIONS: Registry[Activation] = Registry(
    "activation",
    {
        "identity": Activation(_identity, compiled="identity", cuda="identity"),
        "tanh": Activation(_tanh, compiled="tanh", cuda="tanh_"),
        "erf": Activation(_erf, compiled="erf", cuda="erf_"),
        "sigmoid": Activation(_sigmoid, compiled="sigmoid", cuda="sigmoid"),
        "softplus": Activation(_softplus, compiled="softplus", cuda="softplus"),
        "gelu": Activation(_gelu, compiled="gelu", cuda="gelu"),
        "silu": Activation(_silu, compiled="silu", cuda="silu"),
        "relu": Activation(_relu, kinked=True, compiled="relu", cuda="relu"),
    },
)


@checked(name=identifier, f=elementwise, df=elementwise, d2f=elementwise, kinked=FLAG)
def register_activation(
    name: str,
    f: Callable[[Array], Array],
    df: Callable[[Array], Array],
    d2f: Callable[[Array], Array],
    *,
    kinked: bool = False,
) -> None:
    """Make an activation known under a name, for `Problem` and for configurations.

    Parameters
    ----------
    name : str
        A new name.
    f, df, d2f : callable
        The activation and its first two derivatives, elementwise on arrays of any shape.
    kinked : bool, optional
        True if `df` jumps, as for relu.

    Raises
    ------
    InvalidInput
        If the name is taken or no identifier, or a function fails on a few numbers.

    Notes
    -----
    It has no form in the kernels: the network runs through the array library's operations, and on a GPU the functions
    meet cupy's arrays.
    """

    def jet(x: Array, order: int) -> tuple[Array, ...]:
        return tuple(g(x) for g in (f, df, d2f)[: order + 1])

    ACTIVATIONS.register(name, Activation(jet, kinked))


# --- links ---------------------------------------------------------------------------------------------------------

LINKS: Registry[Link] = Registry(
    "link",
    {
        "identity": Link(lambda z: z),
        "tanh": Link(lambda z: array_namespace(z).tanh(z)),
        "erf": Link(erf),
        "sin": Link(lambda z: array_namespace(z).sin(z)),
        "softplus": Link(lambda z: _softplus(z, 0)[0]),
        "hermite2": Link(lambda z: (z * z - 1) / math.sqrt(2)),
        "hermite3": Link(lambda z: (z * z * z - 3 * z) / math.sqrt(6)),
    },
)


@checked(name=identifier, f=function_of(1), joint=FLAG)
def register_link(name: str, f: Callable[[Array], Array], *, joint: bool = False) -> None:
    """Make a link known under a name, for `Problem` and for configurations.

    Parameters
    ----------
    name : str
        A new name.
    f : callable
        Of one index, elementwise on arrays of any shape; with ``joint=True`` of all k indices at once, from shape
        (k, samples) to shape (samples,), or (outputs, samples) for a network with several outputs.
    joint : bool, optional
        Which of the two.

    Raises
    ------
    InvalidInput
        If the name is taken or no identifier, or the function of one index fails on a few numbers.
    """
    if not joint:
        elementwise("f", f)
    LINKS.register(name, Link(f, joint))


# --- losses --------------------------------------------------------------------------------------------------------


def _squared(f: Array, y: Array, order: int) -> tuple[Array, ...]:
    residual = f - y
    return (0.5 * residual * residual, residual, array_namespace(f).ones_like(f))[: order + 1]


def _logistic(f: Array, y: Array, order: int) -> tuple[Array, ...]:
    xp = array_namespace(f)
    margin = y * f
    value = xp.logaddexp(-margin, xp.zeros_like(f))
    if order == 0:
        return (value,)
    miss = _logistic_function(-margin)
    return (value, -y * miss, miss * (1 - miss))[: order + 1]


def _huber(f: Array, y: Array, order: int, threshold: float) -> tuple[Array, ...]:
    # The second derivative jumps but has no point mass, so gradient responses are means of derivatives.
    xp = array_namespace(f)
    residual = f - y
    clipped = xp.minimum(xp.maximum(residual, -threshold), threshold)
    inside = xp.astype(xp.abs(residual) < threshold, f.dtype)
    return (clipped * (residual - 0.5 * clipped), clipped, inside)[: order + 1]


def _pieces_of_huber(threshold: float) -> tuple[Piece, ...]:
    far = -0.5 * threshold * threshold, threshold
    return (
        Piece(-threshold, far[0], -far[1], 0.0),
        Piece(threshold, 0.0, 0.0, 0.5),
        Piece(math.inf, *far, 0.0),
    )


def _softmax(f: Array, y: Array, order: int) -> tuple[Array, ...]:
    # y has a 1 for the sample's class and 0 for the others.
    xp = array_namespace(f)
    largest = xp.max(f, axis=-2, keepdims=True)
    powers = xp.exp(f - largest)
    total = xp.sum(powers, axis=-2, keepdims=True)
    value = (xp.log(total) + largest)[..., 0, :] - xp.sum(f * y, axis=-2)
    if order == 0:
        return (value,)
    p = powers / total
    if order == 1:
        return value, p - y
    diagonal = xp.eye(f.shape[-2], dtype=f.dtype, device=f.device)[:, :, None]
    return value, p - y, p[..., :, None, :] * (diagonal - p[..., None, :, :])


def _absolute(f: Array, y: Array, order: int, width: float) -> tuple[Array, ...]:
    residual = f - y
    radius = array_namespace(f).hypot(residual, array_namespace(f).full_like(residual, width))
    slope, cosine = residual / radius, width / radius
    return (residual * (residual / (radius + width)), slope, cosine * cosine / radius)[: order + 1]


LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        "squared": Loss(
            _squared, pieces_of=lambda: (Piece(math.inf, 0.0, 0.0, 0.5),), compiled="squared", cuda="squared"
        ),
        "logistic": Loss(_logistic, binary=True, compiled="logistic", cuda="logistic"),
        "huber": Loss(
            _huber,
            pieces_of=_pieces_of_huber,
            bends_abruptly=True,
            compiled="huber",
            cuda="huber",
            parameters=("threshold",),
            valid=lambda threshold: 0 < threshold < math.inf,
            condition="a threshold > 0",
            numbers=(1.0,),
        ),
        "absolute": Loss(
            _absolute,
            compiled="absolute",
            cuda="absolute",
            parameters=("width",),
            valid=lambda width: 0 < width < math.inf,
            condition="a width > 0",
        ),
        "softmax": Loss(_softmax, joint=True, linear_in_labels=True, compiled="softmax", cuda="softmax"),
    },
)


@cache
def loss_named(text: str) -> Loss:
    """Find the loss that a text names, as ``squared`` or ``huber(0.5)`` (docs/theory.md#loss).

    Raises
    ------
    InvalidInput
        If the name is unknown, or its number is missing, unwanted or out of range.
    """
    _, family, numbers = read_law(text, LOSSES)
    return family if numbers == family.numbers else replace(family, numbers=numbers)


@checked(name=identifier, jet=function_of(3), binary=FLAG)
def register_loss(name: str, jet: Callable[[Array, Array, int], tuple[Array, ...]], *, binary: bool = False) -> None:
    """Make a loss known under a name, for `Problem`, estimators and configurations.

    Parameters
    ----------
    name : str
        A new name.
    jet : callable
        ``jet(f, y, order)`` of outputs and labels, arrays of any shape, returns the loss and its first two derivatives
        in f, ``(l, dl/df, d2l/df2)[: order + 1]``, elementwise.
    binary : bool, optional
        True if the labels must be -1 or 1.

    Raises
    ------
    InvalidInput
        If the name is taken or no identifier, or the jet does not give a number for each sample and derivative.

    Notes
    -----
    As for `register_activation`, there is no form of it in the kernels.
    """
    outputs, labels = np.array([[-0.7, 0.2, 1.3]]), np.array([[1.0, -1.0, 1.0]])

    def fits() -> bool:
        return all([part.shape for part in jet(outputs, labels, t)] == [outputs.shape] * (t + 1) for t in range(3))

    if not tried("jet", jet, fits, "it fails on three samples"):
        raise InvalidInput("jet", jet, "must return (l, dl/df, d2l/df2)[: order + 1], each of the shape of the outputs")
    LOSSES.register(name, Loss(jet, binary))
