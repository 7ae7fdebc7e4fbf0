"""Products of a few rows with a few units, written as the vector instructions that the processor runs.

A tile is some rows by `UNITS` units; its sums, or its factors, stay in registers while the columns go by, a vector in
each turn.
Compilers make such loops of plain ones, but of none that also asks, turn by turn, for memory that is read later. The
processor by itself asks only a little ahead, and memory rests while it works on rows that are in cache.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import llvmlite.binding
import llvmlite.ir as ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

__all__ = ["ROWS", "UNITS", "VECTOR", "add_backward", "add_forward", "bend"]

# Bytes of a vector, and rows of a tile: its sums fit in 32 registers, or in 16 where vectors have 32 bytes. What is
# left over of the rows goes in smaller tiles.
_FEATURES = llvmlite.binding.get_host_cpu_features()
VECTOR = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
TILES = (3, 2, 1) if VECTOR == 32 else (6, 4, 2, 1)
ROWS, UNITS = TILES[0], 4

INDEX, SHORT, BYTES = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
FIRST = INDEX(0)
# Terms may be added in another order, and multiplied and added at once; infinities and NaN keep their meaning.
LOOSE = ("reassoc", "contract", "nsz")
# Memory is asked for to be read, into the second-level cache, as data.
READ, SECOND_LEVEL, DATA = SHORT(0), SHORT(2), SHORT(1)


def _write_forward(
    code: _Writer, rows: int, matrix: _Entries, weights: _Entries, sums: _Entries, ahead: ir.Value | None
) -> None:
    """Write a tile forward; in each turn it asks for what lies ahead of the first half of the rows."""

    def carry(lanes: int, start: ir.Value, stop: ir.Value) -> None:
        totals = [[code.variable(sums.load(unit, place(row), lanes)) for unit in range(UNITS)] for row in range(rows)]

        def add(column: ir.Value) -> None:
            factors = [weights.load(unit, column, lanes) for unit in range(UNITS)]
            for row in range(rows):
                if ahead is not None and lanes > 1 and row < (rows + 1) // 2:
                    matrix.ask_for(row, column, ahead)
                entries = code.as_number(matrix.load(row, column, lanes))
                for factor, total in zip(factors, totals[row], strict=True):
                    code.store(code.multiply_add(entries, factor, code.load(total)), total)

        code.each(start, stop, lanes, add)
        for row in range(rows):
            for unit in range(UNITS):
                sums.store(code.load(totals[row][unit]), unit, place(row))

    def place(row: int) -> ir.Value:
        return INDEX(row * code.lanes)

    rest = code.whole_vectors(weights.columns)
    carry(code.lanes, FIRST, rest)
    carry(1, rest, weights.columns)


def _write_backward(
    code: _Writer, rows: int, matrix: _Entries, gradients: _Entries, out: _Entries, ahead: ir.Value | None
) -> None:
    """Write a tile backward; in each turn it asks for what lies ahead of the second half of the rows."""
    numbers = [[gradients.load(unit, INDEX(row), 1) for row in range(rows)] for unit in range(UNITS)]
    vectors = [[code.spread(number) for number in of_unit] for of_unit in numbers]

    def carry(factors: list[list[ir.Value]], lanes: int, start: ir.Value, stop: ir.Value) -> None:
        def add(column: ir.Value) -> None:
            entries = []
            for row in range(rows):
                if ahead is not None and lanes > 1 and row >= (rows + 1) // 2:
                    matrix.ask_for(row, column, ahead)
                entries.append(code.as_number(matrix.load(row, column, lanes)))
            # All sums are read before one is set: lest the processor takes one that it sets for the next that it reads.
            totals = [out.load(unit, column, lanes) for unit in range(UNITS)]
            for unit in range(UNITS):
                for entry, factor in zip(entries, factors[unit], strict=True):
                    totals[unit] = code.multiply_add(entry, factor, totals[unit])
            for unit in range(UNITS):
                out.store(totals[unit], unit, column)

        code.each(start, stop, lanes, add)

    rest = code.whole_vectors(out.columns)
    carry(vectors, code.lanes, FIRST, rest)
    carry(numbers, 1, rest, out.columns)


def _intrinsic(write: Callable[..., None], *, forward: bool) -> Any:
    """Make a function of compiled code, over rows in the largest tiles that fit, from what writes a tile."""

    @intrinsic
    def tiled(_: Any, matrix: Any, factors: Any, unit: Any, sums: Any, ahead: Any) -> Any:
        def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
            matrix_value, factors_value, first_unit, sums_value, distance = arguments
            code = _Writer(builder, context.get_data_type(factors.dtype), matrix.dtype)
            entries = partial(_Entries, context, builder)
            count = entries(matrix, matrix_value).rows

            def tile(rows: int, i: ir.Value) -> None:
                of_factors, of_sums = (FIRST, builder.mul(i, INDEX(code.lanes))) if forward else (i, FIRST)
                write(
                    code,
                    rows,
                    entries(matrix, matrix_value, i),
                    entries(factors, factors_value, first_unit, of_factors),
                    entries(sums, sums_value, first_unit, of_sums),
                    None if isinstance(ahead, types.NoneType) else distance,
                )

            first = FIRST
            for rows in TILES:
                after = builder.sub(count, builder.urem(builder.sub(count, first), INDEX(rows)))
                code.each(first, after, rows, partial(tile, rows))
                first = after
            return context.get_dummy_value()

        if factors.dtype != sums.dtype:
            raise TypeError(f"factors of type {factors.dtype} for sums of type {sums.dtype}")
        asked = ahead if isinstance(ahead, types.NoneType) else types.intp
        return types.void(matrix, factors, types.intp, sums, asked), generate

    return tiled


class _Entries:
    """A matrix in the code being written, from one of its entries on: where others are, to read and to set."""

    def __init__(
        self,
        context: Any,
        builder: ir.IRBuilder,
        kind: Any,
        value: ir.Value,
        row: ir.Value = FIRST,
        column: ir.Value = FIRST,
    ) -> None:
        array = make_array(kind)(context, builder, value)
        self.builder, self.type = builder, context.get_data_type(kind.dtype)
        self.size = context.get_abi_sizeof(self.type)
        self.rows, self.columns = cgutils.unpack_tuple(builder, array.shape, 2)
        self.stride = cgutils.unpack_tuple(builder, array.strides, 2)[0]
        first = builder.add(builder.mul(row, self.stride), builder.mul(column, INDEX(self.size)))
        self.first = builder.add(builder.ptrtoint(array.data, INDEX), first)

    def _address(self, row: int | ir.Value, column: ir.Value, kind: ir.Type) -> ir.Value:
        place = row if isinstance(row, ir.Value) else INDEX(row)
        offset = self.builder.add(self.builder.mul(place, self.stride), self.builder.mul(column, INDEX(self.size)))
        return self.builder.inttoptr(self.builder.add(self.first, offset), kind.as_pointer())

    def load(self, row: int | ir.Value, column: ir.Value, lanes: int) -> ir.Value:
        """Entries of some columns from one on."""
        return self.builder.load(self._address(row, column, _several(self.type, lanes)), align=self.size)

    def store(self, entries: ir.Value, row: int | ir.Value, column: ir.Value) -> None:
        """Set as many entries as are given."""
        self.builder.store(entries, self._address(row, column, entries.type), align=self.size)

    def ask_for(self, row: int, column: ir.Value, ahead: ir.Value) -> None:
        """Ask for memory some bytes ahead of an entry."""
        kind = ir.FunctionType(ir.VoidType(), [BYTES, SHORT, SHORT, SHORT])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        address = self.builder.gep(self._address(row, column, ir.IntType(8)), [ahead])
        self.builder.call(function, [address, READ, SECOND_LEVEL, DATA])


class _Writer:
    """Arithmetic on numbers of one type, one at a time or as many as a vector has."""

    def __init__(self, builder: ir.IRBuilder, number: ir.Type, entry: Any) -> None:
        self.builder, self.number, self.entry = builder, number, entry
        self.load, self.store = builder.load, builder.store
        self.lanes = VECTOR // (8 if isinstance(number, ir.DoubleType) else 4)
        self.vector = _several(number, self.lanes)

    def variable(self, value: ir.Value) -> ir.Value:
        """Make a variable, which the compiler keeps in a register, and set it."""
        place = cgutils.alloca_once(self.builder, value.type)
        self.store(value, place)
        return place

    def each(self, start: ir.Value, stop: ir.Value, step: int, write: Callable[[ir.Value], None]) -> None:
        """Loop over columns."""
        with cgutils.for_range_slice(self.builder, start, stop, INDEX(step), INDEX) as (column, _):
            write(column)

    def whole_vectors(self, columns: ir.Value) -> ir.Value:
        """Columns in as many whole vectors as there are."""
        return self.builder.sub(columns, self.builder.urem(columns, INDEX(self.lanes)))

    def as_number(self, entries: ir.Value) -> ir.Value:
        """Entries of a matrix in the type of the sums."""
        if isinstance(self.entry, types.Float):
            return entries
        convert = self.builder.sitofp if self.entry.signed else self.builder.uitofp
        return convert(entries, self.vector if isinstance(entries.type, ir.VectorType) else self.number)

    def multiply_add(self, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
        """``total + x * y``."""
        return self.builder.fadd(total, self.builder.fmul(x, y, flags=LOOSE), flags=LOOSE)

    def spread(self, number: ir.Value) -> ir.Value:
        """Vector of one number."""
        undefined, first = ir.Constant(self.vector, ir.Undefined), ir.Constant(SHORT, 0)
        lanes = ir.Constant(ir.VectorType(SHORT, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(self.builder.insert_element(undefined, number, first), undefined, lanes)


@intrinsic
def bend(
    _: Any, curvatures: Any, first: Any, start: Any, pushes: Any, together: Any, count: Any, adjoints: Any, sums: Any
) -> Any:
    """Set the adjoints of some samples at one iteration, and add them up; see `sedyn.kernels.cpu.response`.

    Of unit a of the iteration and unit b, they are the sums over units k of curvatures times pushes.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    curvatures : ndarray, shape (iterations q q, N)
    first : int
        The row of the iteration's first unit in `adjoints` and `sums`.
    start : int
        The sample that comes first.
    pushes : ndarray, shape (at least q, q together)
    together, count : int
        How many samples there is room for, and how many there are.
    adjoints : ndarray, shape (iterations q, q together)
    sums : ndarray, shape (iterations q, q)
    """

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
        curved, row, sample, pushed, room, samples, found, totals = arguments
        code = _Writer(builder, context.get_data_type(adjoints.dtype), adjoints.dtype)
        entries = partial(_Entries, context, builder)
        q, zero = entries(sums, totals).columns, code.number(0)

        def row_of(a: ir.Value) -> None:
            own = builder.add(row, a)
            code.each(FIRST, q, 1, partial(of_units, own))

        def of_units(own: ir.Value, b: ir.Value) -> None:
            column = builder.mul(b, room)
            of_row = entries(curvatures, curved, builder.mul(own, q), sample)
            of_push, place = entries(pushes, pushed, FIRST, column), entries(adjoints, found, own, column)
            total, rest = code.variable(code.spread(zero)), code.variable(zero)
            several = builder.mul(INDEX(code.lanes), INDEX(4))
            fours = builder.sub(samples, builder.urem(samples, several))
            whole = code.whole_vectors(samples)

            def carry(vectors: int, lanes: int, sum_: ir.Value, i: ir.Value) -> None:
                places = [builder.add(i, INDEX(v * lanes)) for v in range(vectors)]
                values = [code.variable(zero if lanes == 1 else code.spread(zero)) for _ in places]

                def add(k: ir.Value) -> None:
                    for value, at in zip(values, places, strict=True):
                        product = of_row.load(k, at, lanes), of_push.load(k, at, lanes)
                        code.store(code.multiply_add(*product, code.load(value)), value)

                code.each(FIRST, q, 1, add)
                for value, at in zip(values, places, strict=True):
                    place.store(code.load(value), 0, at)
                    code.store(builder.fadd(code.load(sum_), code.load(value), flags=LOOSE), sum_)

            code.each(FIRST, fours, 4 * code.lanes, partial(carry, 4, code.lanes, total))
            code.each(fours, whole, code.lanes, partial(carry, 1, code.lanes, total))
            code.each(whole, samples, 1, partial(carry, 1, 1, rest))
            found_total, vector = code.load(rest), code.load(total)
            for lane in range(code.lanes):
                found_total = builder.fadd(found_total, builder.extract_element(vector, SHORT(lane)), flags=LOOSE)
            of_sums = entries(sums, totals, own, b)
            of_sums.store(builder.fadd(of_sums.load(0, FIRST, 1), found_total, flags=LOOSE), 0, FIRST)

        code.each(FIRST, q, 1, row_of)
        return context.get_dummy_value()

    whole_number = types.intp
    given = curvatures, whole_number, whole_number, pushes, whole_number, whole_number, adjoints, sums
    return types.void(*given), generate


def _several(kind: ir.Type, lanes: int) -> ir.Type:
    return kind if lanes == 1 else ir.VectorType(kind, lanes)


# Of a matrix, (r, d), floats or integers; weights, (q, d), and the first of the tile's units; sums, (q, r lanes), to
# which as many partial sums of each product are added; and how many bytes ahead memory is asked for, None where all is
# in cache.
add_forward = _intrinsic(_write_forward, forward=True)
# Of a matrix, (r, d); gradients, (q, r), and the first of the tile's units; sums, (q, d), to which the products are
# added; and how many bytes ahead, likewise.
add_backward = _intrinsic(_write_backward, forward=False)
