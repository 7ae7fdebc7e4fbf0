"""Kinds of layers: what a network above the first layer's pre-activations is made of (docs/theory.md#layers).

A layer takes an array of signals, units first and samples last, to another. It knows where its parameters start, how
signals go forward, together with their derivatives in the pre-activations h, and how the loss's derivatives come back.
That is all that gradient descent, its theory and the estimate ask of a network; a new kind is one class like those
here, see docs/extending.md. Every array may have the same further axes in front, replicates that are run together.

Layers are values, and kernels keep what they have written for one. So those here are dataclasses, which equal none of
another class; named tuples would equal any layer with the same entries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.checks import checked, function_of, identifier, tried
from sedyn.errors import InvalidInput
from sedyn.model.functions import ACTIVATIONS, Activation
from sedyn.model.registry import Registry

__all__ = [
    "HIDDEN",
    "Backward",
    "Beside",
    "Bias",
    "Dense",
    "Elementwise",
    "Forward",
    "HiddenParts",
    "Layer",
    "Parameters",
    "Residual",
    "Stack",
    "has_kinks",
    "register_hidden",
]

Parameters = tuple[Array, ...]


class Forward(NamedTuple):
    """What goes forward through a layer.

    Attributes
    ----------
    signals : array, shape (..., units, N)
    tangents : array, shape (..., units, q, N), or None
        Derivatives of the signals in h; None where only first derivatives of the loss are wanted.
    memo : object
        What the layer keeps for the way back.
    inputs : bool
        Whether each signal is one of h and a constant, so that tangents are ones and zeros, the same for all samples,
        and one for each signal. A layer that makes anything else of its signals does not hand it on.
    """

    signals: Float[Array, "... units N"]
    tangents: Float[Array, "... units q N"] | None
    memo: Any = None
    inputs: bool = False


class Backward(NamedTuple):
    """What comes back from a layer.

    Attributes
    ----------
    pull : array, shape (..., units, N)
        Derivative of each sample's weighted loss in the signals that the layer was given.
    gradient : tuple of array
        Mean over samples of the derivative of the weighted loss in each parameter.
    bend : array, shape (..., q, q, N), or None
        Second derivative of the weighted loss in h that the layer adds by not being linear; None for a linear layer,
        and where there are no tangents.
    """

    pull: Float[Array, "... units N"]
    gradient: Parameters
    bend: Float[Array, "... q q N"] | None = None


class Layer(Protocol):
    """A kind of layer."""

    @property
    def parameters(self) -> int:
        """How many arrays of parameters it has."""
        ...

    def units(self, given: int) -> int:
        """How many units it gives when it is given so many."""
        ...

    def start(self, given: int, rng: np.random.Generator) -> tuple[Float[np.ndarray, "..."], ...]:
        """Draw where its parameters start.

        Parameters
        ----------
        given : int
            Units that it is given.
        rng : numpy.random.Generator
            What one layer draws, the next one goes on from.

        Returns
        -------
        tuple of ndarray
            As many as `parameters` says.
        """
        ...

    def forward(self, parameters: Parameters, given: Forward, order: int) -> Forward:
        """Take signals, and tangents where there are any, through the layer.

        Parameters
        ----------
        parameters : tuple of array
            The layer's own.
        given : Forward
            From the layer before.
        order : {0, 1, 2}
            Derivatives that will be asked for: none, `backward` without tangents, or with them.

        Returns
        -------
        Forward
        """
        ...

    def backward(self, parameters: Parameters, memo: Any, pull: Float[Array, "... units N"]) -> Backward:
        """Bring derivatives of the loss back through the layer.

        Parameters
        ----------
        parameters : tuple of array
            The layer's own.
        memo : object
            What `forward` kept.
        pull : array, shape (..., units, N)
            Derivative of each sample's weighted loss in the signals that the layer gave.

        Returns
        -------
        Backward
        """
        ...


@dataclass(frozen=True)
class Elementwise:
    """An activation, of each unit for itself."""

    activation: Activation

    @property
    def parameters(self) -> int:
        """None."""
        return 0

    def units(self, given: int) -> int:
        """As many as it is given."""
        return given

    def start(self, given: int, rng: np.random.Generator) -> tuple[Float[np.ndarray, "..."], ...]:
        """Nothing starts; see `Layer.start`."""
        return ()

    def forward(self, parameters: Parameters, given: Forward, order: int) -> Forward:
        """Apply the activation; see `Layer.forward`."""
        signals, *derivatives = self.activation.jet(given.signals, order)
        if given.tangents is None:
            return Forward(signals, None, (*derivatives[:1], None, None, False))
        slope, bend = derivatives
        memo = slope, bend, given.tangents, given.inputs
        return Forward(signals, slope[..., :, None, :] * given.tangents, memo)

    def backward(self, parameters: Parameters, memo: Any, pull: Float[Array, "... units N"]) -> Backward:
        """Multiply by the slope; see `Layer.backward`."""
        slope, bend, tangents, inputs = memo
        if tangents is None:
            return Backward(pull * slope, ())
        return Backward(pull * slope, (), (_on_diagonal if inputs else _outer)(tangents, pull * bend))


@dataclass(frozen=True)
class Dense:
    """A matrix of weights, fan_in x fan_out.

    Attributes
    ----------
    fan_out : int
    draw : callable
        ``draw(fan_in, fan_out, rng)`` gives the matrix that training starts from.
    """

    fan_out: int
    draw: Callable[[int, int, np.random.Generator], Float[np.ndarray, "_ _"]]

    @property
    def parameters(self) -> int:
        """One, the matrix."""
        return 1

    def units(self, given: int) -> int:
        """The fan-out, whatever it is given."""
        return self.fan_out

    def start(self, given: int, rng: np.random.Generator) -> tuple[Float[np.ndarray, "..."], ...]:
        """Draw the matrix; see `Layer.start`."""
        return (self.draw(given, self.fan_out, rng),)

    def forward(self, parameters: Parameters, given: Forward, order: int) -> Forward:
        """Multiply by the weights; see `Layer.forward`."""
        xp = array_namespace(given.signals)
        transposed = xp.matrix_transpose(parameters[0])
        tangents = given.tangents
        if tangents is not None:
            *_, q, samples = tangents.shape
            flat = xp.matmul(transposed, xp.reshape(tangents, (*tangents.shape[:-2], q * samples)))
            tangents = xp.reshape(flat, (*flat.shape[:-1], q, samples))
        # Without a way back nothing is kept, so that memory is used again while it is in cache.
        return Forward(xp.matmul(transposed, given.signals), tangents, given.signals if order else None)

    def backward(self, parameters: Parameters, memo: Any, pull: Float[Array, "... units N"]) -> Backward:
        """Multiply by the transposed weights; see `Layer.backward`."""
        xp = array_namespace(pull)
        gradient = xp.matmul(memo, xp.matrix_transpose(pull)) / pull.shape[-1]
        return Backward(xp.matmul(parameters[0], pull), (gradient,))


@dataclass(frozen=True)
class Bias:
    """A number added to each unit.

    Attributes
    ----------
    value : float
        Where every bias starts.
    """

    value: float = 0.0

    @property
    def parameters(self) -> int:
        """One, the vector of biases."""
        return 1

    def units(self, given: int) -> int:
        """As many as it is given."""
        return given

    def start(self, given: int, rng: np.random.Generator) -> tuple[Float[np.ndarray, "..."], ...]:
        """Start every bias at the same value; see `Layer.start`."""
        return (np.full(given, self.value),)

    def forward(self, parameters: Parameters, given: Forward, order: int) -> Forward:
        """Add the biases; see `Layer.forward`."""
        return Forward(given.signals + parameters[0][..., :, None], given.tangents, inputs=given.inputs)

    def backward(self, parameters: Parameters, memo: Any, pull: Float[Array, "... units N"]) -> Backward:
        """Let derivatives pass; see `Layer.backward`."""
        return Backward(pull, (array_namespace(pull).mean(pull, axis=-1),))


@dataclass(frozen=True)
class Stack:
    """Layers one above the other; without any, signals stay as they are."""

    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """How many arrays of parameters its layers have."""
        return sum(layer.parameters for layer in self.layers)

    def units(self, given: int) -> int:
        """Those of the highest layer."""
        for layer in self.layers:
            given = layer.units(given)
        return given

    def start(self, given: int, rng: np.random.Generator) -> tuple[Float[np.ndarray, "..."], ...]:
        """Draw from the lowest layer up; see `Layer.start`."""
        found: tuple[np.ndarray, ...] = ()
        for layer in self.layers:
            found, given = found + layer.start(given, rng), layer.units(given)
        return found

    def forward(self, parameters: Parameters, given: Forward, order: int) -> Forward:
        """Go through the layers from the lowest up; see `Layer.forward`."""
        memos = []
        for layer, own in self._with_parameters(parameters):
            given = layer.forward(own, given, order)
            memos.append(given.memo)
        return given._replace(memo=memos)

    def backward(self, parameters: Parameters, memo: Any, pull: Float[Array, "... units N"]) -> Backward:
        """Go back through the layers from the highest down; see `Layer.backward`."""
        gradient: Parameters = ()
        bend = None
        for (layer, own), kept in zip(reversed(self._with_parameters(parameters)), reversed(memo), strict=True):
            found = layer.backward(own, kept, pull)
            pull, gradient, bend = found.pull, found.gradient + gradient, _sum(bend, found.bend)
        return Backward(pull, gradient, bend)

    def _with_parameters(self, parameters: Parameters) -> list[tuple[Layer, Parameters]]:
        """Each layer with its own parameters."""
        found, start = [], 0
        for layer in self.layers:
            found.append((layer, parameters[start : start + layer.parameters]))
            start += layer.parameters
        return found


@dataclass(frozen=True)
class Residual:
    """A layer whose signals are added to those that it was given."""

    inner: Layer

    @property
    def parameters(self) -> int:
        """Those of the layer within."""
        return self.inner.parameters

    def units(self, given: int) -> int:
        """As many as it is given, and as the layer within gives."""
        return given

    def start(self, given: int, rng: np.random.Generator) -> tuple[Float[np.ndarray, "..."], ...]:
        """Draw those of the layer within; see `Layer.start`."""
        return self.inner.start(given, rng)

    def forward(self, parameters: Parameters, given: Forward, order: int) -> Forward:
        """Add what the layer within makes of the signals; see `Layer.forward`."""
        found = self.inner.forward(parameters, given, order)
        return Forward(given.signals + found.signals, _sum(given.tangents, found.tangents), found.memo)

    def backward(self, parameters: Parameters, memo: Any, pull: Float[Array, "... units N"]) -> Backward:
        """Let derivatives pass beside the layer within; see `Layer.backward`."""
        found = self.inner.backward(parameters, memo, pull)
        return found._replace(pull=pull + found.pull)


@dataclass(frozen=True)
class Beside:
    """A layer for the first units; the others are added to its signals as they are, one to each.

    Attributes
    ----------
    inner : Layer
    through : int
        How many of the units that are given go through the layer within.
    """

    inner: Layer
    through: int

    @property
    def parameters(self) -> int:
        """Those of the layer within."""
        return self.inner.parameters

    def units(self, given: int) -> int:
        """Those of the layer within, as many as go beside it."""
        return self.inner.units(self.through)

    def start(self, given: int, rng: np.random.Generator) -> tuple[Float[np.ndarray, "..."], ...]:
        """Draw those of the layer within; see `Layer.start`."""
        return self.inner.start(self.through, rng)

    def forward(self, parameters: Parameters, given: Forward, order: int) -> Forward:
        """Add the units beside to what the layer within gives; see `Layer.forward`."""
        tangents = given.tangents
        through, beside = (
            given._replace(
                signals=given.signals[..., units, :], tangents=None if tangents is None else tangents[..., units, :, :]
            )
            for units in (slice(None, self.through), slice(self.through, None))
        )
        found = self.inner.forward(parameters, through, order)
        return Forward(found.signals + beside.signals, _sum(found.tangents, beside.tangents), found.memo)

    def backward(self, parameters: Parameters, memo: Any, pull: Float[Array, "... units N"]) -> Backward:
        """Give derivatives to both; see `Layer.backward`."""
        found = self.inner.backward(parameters, memo, pull)
        return found._replace(pull=array_namespace(pull).concat([found.pull, pull], axis=-2))


def _outer(tangents: Float[Array, "... units q N"], weights: Float[Array, "... units N"]) -> Float[Array, "... q q N"]:
    """Sum over units of the outer products of their tangents, times a weight for each unit and sample."""
    xp = array_namespace(weights)
    of_samples = xp.moveaxis(tangents, -1, -3)
    weighted = xp.moveaxis(tangents * weights[..., None, :], -1, -3)
    return xp.moveaxis(xp.matmul(xp.matrix_transpose(of_samples), weighted), -3, -1)


def _on_diagonal(tangents: Float[Array, "... units q N"], weights: Float[Array, "... units N"]) -> Array:
    """Do as `_outer` where each unit is one of the inputs, moved by a constant: matrices are diagonal."""
    xp, q = array_namespace(weights), tangents.shape[-2]
    diagonals = xp.matmul(xp.matrix_transpose(tangents[..., 0]), weights)
    return xp.eye(q, dtype=weights.dtype, device=weights.device)[:, :, None] * diagonals[..., :, None, :]


def _sum(first: Array | None, second: Array | None) -> Array | None:
    """Sum of two arrays of which either may be missing."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


# --- kinds of hidden layers ------------------------------------------------------------------------------------------


class HiddenParts(NamedTuple):
    """What a problem says of each hidden layer above the first.

    Attributes
    ----------
    width : int
        Units that the layer is given, and gives.
    activation : Activation
    biases : tuple of Layer
        A layer of biases, or nothing where the problem wants none.
    draw : callable
        ``draw(fan_in, fan_out, rng)``: where a matrix of weights starts.
    """

    width: int
    activation: Activation
    biases: tuple[Layer, ...]
    draw: Callable[[int, int, np.random.Generator], Float[np.ndarray, "_ _"]]


def _dense(parts: HiddenParts) -> Layer:
    """The activation of a product with a matrix, and of biases where there are any."""
    return Stack((Dense(parts.width, parts.draw), *parts.biases, Elementwise(parts.activation)))


HIDDEN: Registry[Callable[[HiddenParts], Layer]] = Registry("hidden", {"dense": _dense})


def has_kinks(layer: Layer) -> bool:
    """Tell whether the slope of an activation in a layer jumps.

    Parameters
    ----------
    layer : Layer
        One with code of its own says so by an attribute `kinked`.

    Returns
    -------
    bool
    """
    if isinstance(layer, Elementwise):
        return layer.activation.kinked
    within = layer.layers if isinstance(layer, Stack) else [layer.inner] if hasattr(layer, "inner") else []
    return bool(getattr(layer, "kinked", False)) or any(map(has_kinks, within))


def _require_layer(name: str, build: Callable[[HiddenParts], Layer]) -> None:
    """Refuse what does not build a layer from some units to as many, by a try on a few samples."""
    rng, width, samples = np.random.default_rng(0), 3, 4

    def draw(fan_in: int, fan_out: int, rng: np.random.Generator) -> Float[np.ndarray, "_ _"]:
        return rng.standard_normal((fan_in, fan_out))

    def fits() -> bool:
        layer = build(HiddenParts(width, ACTIVATIONS["tanh"], (Bias(),), draw))
        parameters = layer.start(width, rng)
        given = Forward(rng.standard_normal((width, samples)), np.ones((width, 2, samples)))
        found = layer.forward(parameters, given, 2)
        if layer.units(width) != width or found.signals.shape != given.signals.shape:
            return False
        back = layer.backward(parameters, found.memo, np.ones((width, samples)))
        return back.pull.shape == given.signals.shape and layer.parameters == len(parameters) == len(back.gradient)

    if not tried("hidden", name, fits, f"its layer fails on {samples} samples of {width} units, see docs/extending.md"):
        raise InvalidInput("hidden", name, f"its layer must lead from {width} units to as many; see docs/extending.md")


@checked(name=identifier, build=function_of(1))
def register_hidden(name: str, build: Callable[[HiddenParts], Layer]) -> None:
    """Make a kind of hidden layer known under a name, for `Problem` and for configurations.

    Parameters
    ----------
    name : str
        A new name.
    build : callable
        ``build(parts)`` gives a layer from ``parts.width`` units to as many, see `Layer` and `HiddenParts`; a network
        of depth L has L - 2 of them, each with parameters of its own.

    Raises
    ------
    InvalidInput
        If the name is taken or no identifier, or the layer does not lead from some units to as many.

    Notes
    -----
    One that is put together from the layers here has forms in the kernels. With any other the network runs through the
    array library's operations, and attribute ``engine_reason`` of a simulation says so.
    """
    _require_layer(name, build)
    HIDDEN.register(name, build)
