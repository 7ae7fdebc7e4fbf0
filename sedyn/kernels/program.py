"""A network as a short list of operations, which kernels for any device run sample by sample.

The signals that a sample has on its way are numbered: first the pre-activations h, then what each operation gives, in
rows of its own. Nothing is overwritten, so that a residual or skip connection is no more than an operation that reads
rows from further back. On the way back, from the last operation to the first, derivatives add up in the same rows. The
parameters of all layers are packed into one array.

`FORMS` has the kinds of layers that kernels know. A network with another one has no program: its definition, by array
operations, serves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.model.architecture import layers_of
from sedyn.model.functions import ACTIVATIONS, Activation, Loss, loss_named
from sedyn.model.layers import Beside, Bias, Dense, Elementwise, Layer, Parameters, Residual, Stack
from sedyn.model.network import Network
from sedyn.model.problem import Problem

__all__ = [
    "FORMS",
    "MOST_UNITS",
    "Kind",
    "Operation",
    "Program",
    "Writer",
    "form_of",
    "no_form_because",
    "program_of",
    "program_with_form",
]

# Units of a layer beyond which the array library's products, made for square matrices, are faster: on a CPU, see
# benchmarks, `widths`; on a GPU what there is of a sample no longer fits in a thread's registers.
MOST_UNITS = {"cpu": 32, "gpu": 8}


class Kind(IntEnum):
    """Kinds of operations, by the numbers that compiled code knows them by."""

    activate = 0
    bias = 1
    dense = 2
    add = 3


class Operation(NamedTuple):
    """One operation.

    Attributes
    ----------
    kind : Kind
    source, given : int
        The first row that it reads, and how many.
    target, units : int
        The first row that it sets, and how many; of all kinds but ``dense`` as many as it reads.
    place : int
        Of ``activate``, which of the program's activations; of ``bias`` and ``dense``, where its parameters begin; of
        ``add``, the first row of what is added.
    """

    kind: Kind
    source: int
    given: int
    target: int
    units: int
    place: int


class Program(NamedTuple):
    """A network's operations.

    Attributes
    ----------
    operations : tuple of Operation
        In the order in which signals go forward.
    activations : tuple of Activation
        Each once.
    inputs : int
        Units of the first layer, the first rows.
    outputs : range
        Rows of the outputs.
    rows : int
    shapes : tuple of tuple of int
        Of the parameters, in the order in which they are packed, each row by row.
    """

    operations: tuple[Operation, ...]
    activations: tuple[Activation, ...]
    inputs: int
    outputs: range
    rows: int
    shapes: tuple[tuple[int, ...], ...]

    @property
    def parameters(self) -> int:
        """How many numbers all parameters are."""
        return sum(map(math.prod, self.shapes))

    @property
    def most_units(self) -> int:
        """The most units that a layer has."""
        return max([self.inputs, *(each.units for each in self.operations)])

    @property
    def reached(self) -> list[list[bool]]:
        """Whether each row depends on each input, for all that the operations say."""
        found = [[row == unit for unit in range(self.inputs)] for row in range(self.inputs)]
        for each in self.operations:
            for unit in range(each.units):
                if each.kind == Kind.dense:
                    read = found[each.source : each.source + each.given]
                else:
                    read = [found[each.source + unit], *([found[each.place + unit]] if each.kind == Kind.add else [])]
                found.append([any(column) for column in zip(*read, strict=True)])
        return found

    def unpacked(self, array: Float[Array, "*replicates P"]) -> Parameters:
        """Take apart what is packed as the parameters are.

        Parameters
        ----------
        array : array, shape (..., P)

        Returns
        -------
        tuple of array
            Of the parameters' shapes, after the axes in front.
        """
        xp, found, start = array_namespace(array), [], 0
        for shape in self.shapes:
            stop = start + math.prod(shape)
            found.append(xp.reshape(array[..., start:stop], (*array.shape[:-1], *shape)))
            start = stop
        return tuple(found)


class Writer:
    """A program as far as it is written.

    Parameters
    ----------
    inputs : int
        Units of the first layer.
    """

    def __init__(self, inputs: int) -> None:
        self.operations: list[Operation] = []
        self.activations: list[Activation] = []
        self.shapes: list[tuple[int, ...]] = []
        self.rows, self.parameters = inputs, 0

    def add(self, kind: Kind, given: range, units: int, place: int) -> range:
        """Write an operation.

        Parameters
        ----------
        kind : Kind
        given : range
            Rows that it reads.
        units : int
            How many it sets.
        place : int
            See `Operation`.

        Returns
        -------
        range
            Rows that it sets.
        """
        target = range(self.rows, self.rows + units)
        self.operations.append(Operation(kind, given.start, len(given), target.start, units, place))
        self.rows = target.stop
        return target

    def take(self, *shape: int) -> int:
        """Take the next array of parameters, and return where it begins."""
        place, self.parameters = self.parameters, self.parameters + math.prod(shape)
        self.shapes.append(shape)
        return place

    def write(self, layer: Layer, given: range) -> range:
        """Write a layer's operations.

        Parameters
        ----------
        layer : Layer
        given : range
            Rows of the signals that the layer is given.

        Returns
        -------
        range
            Rows of those that it gives.

        Raises
        ------
        NoForm
            If it is of a kind that is not in `FORMS`.
        """
        form = FORMS.get(type(layer))
        if form is None:
            raise NoForm
        return form(self, layer, given)


class NoForm(Exception):
    """A layer is of a kind that has no form."""


def _elementwise(program: Writer, layer: Elementwise, given: range) -> range:
    if layer.activation not in program.activations:
        program.activations.append(layer.activation)
    return program.add(Kind.activate, given, len(given), program.activations.index(layer.activation))


def _bias(program: Writer, layer: Bias, given: range) -> range:
    return program.add(Kind.bias, given, len(given), program.take(len(given)))


def _dense(program: Writer, layer: Dense, given: range) -> range:
    return program.add(Kind.dense, given, layer.fan_out, program.take(len(given), layer.fan_out))


def _stack(program: Writer, layer: Stack, given: range) -> range:
    for each in layer.layers:
        given = program.write(each, given)
    return given


def _residual(program: Writer, layer: Residual, given: range) -> range:
    found = program.write(layer.inner, given)
    return program.add(Kind.add, found, len(found), given.start)


def _beside(program: Writer, layer: Beside, given: range) -> range:
    found = program.write(layer.inner, given[: layer.through])
    return program.add(Kind.add, found, len(found), given[layer.through])


# How each kind of layer that kernels know is written. A class derived from one of them is another kind.
FORMS: dict[type, Callable[[Writer, Any, range], range]] = {
    Elementwise: _elementwise,
    Bias: _bias,
    Dense: _dense,
    Stack: _stack,
    Residual: _residual,
    Beside: _beside,
}


def program_of(layers: Stack, inputs: int) -> Program | None:
    """Write a network's program.

    Parameters
    ----------
    layers : Stack
    inputs : int
        Units of the first layer.

    Returns
    -------
    Program or None
        None if a layer is of a kind that has no form.
    """
    try:
        hash(layers)
    except TypeError:  # a layer of a user's, and no value as those of `FORMS` are
        return None
    return _program(layers, inputs)


@lru_cache(maxsize=256)
def _program(layers: Stack, inputs: int) -> Program | None:
    program = Writer(inputs)
    try:
        outputs = program.write(layers, range(inputs))
    except NoForm:
        return None
    return Program(
        tuple(program.operations), tuple(program.activations), inputs, outputs, program.rows, tuple(program.shapes)
    )


def form_of(network: Network, inputs: int, device: str) -> Program | None:
    """Give the program of a network that kernels serve.

    Parameters
    ----------
    network : Network
    inputs : int
        Units of the first layer.
    device : {'cpu', 'gpu'}

    Returns
    -------
    Program or None
        None if a kind of layer, an activation or the loss has no form, or a layer is wide.
    """
    program = program_with_form(network.layers, inputs, device)
    return None if program is None or _form(network.loss, device) is None else program


def program_with_form(layers: Stack, inputs: int, device: str) -> Program | None:
    """Give the program of layers that kernels serve, whatever the loss.

    Parameters
    ----------
    layers : Stack
    inputs, device
        As for `form_of`.

    Returns
    -------
    Program or None
        None if a kind of layer or an activation has no form, or a layer is wide.
    """
    program = program_of(layers, inputs)
    if program is None or program.most_units > MOST_UNITS[device]:
        return None
    return None if None in [_form(each, device) for each in program.activations] else program


def no_form_because(problem: Problem, device: str) -> str | None:
    """Say why kernels leave a problem's network to array operations.

    Parameters
    ----------
    problem : Problem
    device : {'cpu', 'gpu'}

    Returns
    -------
    str or None
        None where they do not.
    """
    program = program_of(layers_of(problem), problem.units)
    missing = f"has no {'compiled' if device == 'cpu' else 'CUDA'} form"
    if _form(loss_named(problem.loss), device) is None:
        return f"loss {problem.loss!r} {missing}"
    if problem.depth > 1 and _form(ACTIVATIONS[problem.activation], device) is None:
        return f"activation {problem.activation!r} {missing}"
    if program is None or any(_form(each, device) is None for each in program.activations):
        return f"hidden layer {problem.hidden!r} {missing}"
    if program.most_units > MOST_UNITS[device]:
        return f"more than {MOST_UNITS[device]} units in a layer, {program.most_units}"
    return None


def _form(entry: Activation | Loss, device: str) -> str | None:
    return entry.compiled if device == "cpu" else entry.cuda
