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

__all__ = [
    "ROWS",
    "TOGETHER",
    "UNITS",
    "VECTOR",
    "add_backward",
    "add_forward",
    "add_lanes",
    "add_multiple",
    "add_product",
    "follow",
    "push_and_bend",
    "rotate",
    "turn",
]

# Bytes of a vector, and rows of a tile: its sums fit in 32 registers, or in 16 where vectors have 32 bytes. What is
# left over of the rows goes in smaller tiles.
_FEATURES = llvmlite.binding.get_host_cpu_features()
VECTOR = 64 if _FEATURES.get("avx512f") else 32 if _FEATURES.get("avx2") else 16
TILES = (3, 2, 1) if VECTOR == 32 else (6, 4, 2, 1)
ROWS, UNITS = TILES[0], 4
# Samples that are carried along together where each has matrices of its own, in whole vectors.
TOGETHER = 32

INDEX, SHORT, BYTES = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
FIRST = INDEX(0)
# Terms may be added in another order, and multiplied and added at once; infinities and NaN keep their meaning.
LOOSE = ("reassoc", "contract", "nsz")
# Added to what is divided by where that may be zero.
TINY = 1e-300
# Memory is asked for to be read, into the second-level cache, as data.
READ, SECOND_LEVEL, DATA = SHORT(0), SHORT(2), SHORT(1)
_written: Any = intrinsic  # as code, and called without the first argument


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

    def multiply(self, x: ir.Value, y: ir.Value) -> ir.Value:
        """``x * y``."""
        return self.builder.fmul(x, y, flags=LOOSE)

    def multiply_add(self, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
        """``total + x * y``."""
        return self.builder.fadd(total, self.multiply(x, y), flags=LOOSE)

    def root(self, x: ir.Value) -> ir.Value:
        """Square root."""
        name = f"llvm.sqrt.v{self.lanes}f{64 if isinstance(self.number, ir.DoubleType) else 32}"
        kind = ir.FunctionType(self.vector, [self.vector])
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [x])

    def add_neighbours(self, one: ir.Value, other: ir.Value, width: int) -> ir.Value:
        """Sums of neighbouring groups of lanes: of the first vector in groups of even number, of the other in odd."""
        halves = []
        for half in (0, width):
            # The groups of either vector, one after another from both.
            numbers = []
            for first in range(0, self.lanes, 2 * width):
                own = list(range(first + half, first + half + width))
                numbers += own + [self.lanes + number for number in own]
            mask = ir.Constant(ir.VectorType(SHORT, self.lanes), numbers)
            halves.append(self.builder.shuffle_vector(one, other, mask))
        return self.builder.fadd(*halves)

    def spread(self, number: ir.Value) -> ir.Value:
        """Vector of one number."""
        undefined, first = ir.Constant(self.vector, ir.Undefined), ir.Constant(SHORT, 0)
        lanes = ir.Constant(ir.VectorType(SHORT, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(self.builder.insert_element(undefined, number, first), undefined, lanes)


@_written
def add_lanes(_: Any, sums: Any, unit: Any, totals: Any) -> Any:
    """Set totals to sums of as many neighbouring partial sums as a vector has lanes, in pairs, and pairs of pairs.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    sums : ndarray, shape (q, r lanes)
    unit : int
        The row that is read.
    totals : ndarray, shape (1, r)
        r a multiple of the lanes.
    """

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
        given, row, found = arguments
        code = _Writer(builder, context.get_data_type(sums.dtype), sums.dtype)
        own, out = _Entries(context, builder, sums, given, row), _Entries(context, builder, totals, found)

        def add(place: ir.Value) -> None:
            first = builder.mul(place, INDEX(code.lanes))
            vectors = [own.load(0, builder.add(first, INDEX(k * code.lanes)), code.lanes) for k in range(code.lanes)]
            width = 1
            while len(vectors) > 1:
                pairs = zip(vectors[::2], vectors[1::2], strict=True)
                vectors = [code.add_neighbours(one, other, width) for one, other in pairs]
                width *= 2
            out.store(vectors[0], 0, place)

        code.each(FIRST, out.columns, code.lanes, add)
        return context.get_dummy_value()

    return types.void(sums, types.intp, totals), generate


@_written
def push_and_bend(_: Any, curvatures: Any, first: Any, couplings: Any, adjoints: Any, sums: Any) -> Any:
    """Set the adjoints of some samples at one iteration, and add them up; see `sedyn.kernels.cpu.response`.

    A push is the sum of couplings times what is known, the adjoints of later iterations, or, at the last one, the unit
    matrix. Of unit a of the iteration and unit b, adjoints are the sums over units k of curvatures times pushes, which
    stay in registers.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    curvatures : ndarray, shape (iterations q q, `TOGETHER`)
        Of the samples; zeros in place of those that there are fewer.
    first : int
        The row of the iteration's first unit in `adjoints` and `sums`.
    couplings : ndarray, shape (q, iterations q)
        Of the iteration.
    adjoints : ndarray, shape (at least q iterations q, `TOGETHER`)
        Those of one unit b after those of another.
    sums : ndarray, shape (iterations q, q lanes)
        To them are added as many partial sums of each as a vector has lanes.
    """

    def generate(context: Any, builder: ir.IRBuilder, _signature: Any, arguments: Any) -> Any:
        curved, row, coupled, found, totals = arguments
        code = _Writer(builder, context.get_data_type(adjoints.dtype), adjoints.dtype)
        entries = partial(_Entries, context, builder)
        coupling, zero = entries(couplings, coupled), code.number(0)
        q, end, known = coupling.rows, coupling.columns, builder.add(row, coupling.rows)
        nothing_known, vectors = builder.icmp_unsigned("==", known, end), 4 if VECTOR == 64 else 2

        def of_unit(b: ir.Value) -> None:
            code.each(FIRST, INDEX(TOGETHER), vectors * code.lanes, partial(of_samples, b))

        def of_samples(b: ir.Value, i: ir.Value) -> None:
            unit = FIRST
            for units in range(UNITS, 0, -1):
                after = builder.sub(q, builder.urem(builder.sub(q, unit), INDEX(units)))
                code.each(unit, after, units, partial(tile, units, b, i))
                unit = after

        def tile(units: int, b: ir.Value, i: ir.Value, k: ir.Value) -> None:
            places = [INDEX(v * code.lanes) for v in range(vectors)]
            inner = [builder.add(k, INDEX(unit)) for unit in range(units)]
            last = [builder.and_(nothing_known, builder.icmp_unsigned("==", each, b)) for each in inner]
            seeds = [code.spread(builder.select(each, code.number(1), zero)) for each in last]
            pushes = [[code.variable(seed) for _ in places] for seed in seeds]
            later = entries(adjoints, found, builder.mul(b, end), i)

            def add(r: ir.Value) -> None:
                there = [later.load(r, place, code.lanes) for place in places]
                for unit, own in zip(inner, pushes, strict=True):
                    factor = code.spread(coupling.load(unit, r, 1))
                    for push, each in zip(own, there, strict=True):
                        code.store(code.multiply_add(each, factor, code.load(push)), push)

            code.each(known, end, 1, add)
            pushed = [[code.load(push) for push in own] for own in pushes]
            # The first tile sets what the others add to.
            begun = builder.icmp_unsigned(">", k, FIRST)

            def bend(a: ir.Value) -> None:
                own = builder.add(row, a)
                of_row = entries(curvatures, curved, builder.add(builder.mul(own, q), k), i)
                target = entries(adjoints, found, builder.add(builder.mul(b, end), own), i)
                total = entries(sums, totals, own, builder.mul(b, INDEX(code.lanes)))
                sum_ = total.load(0, FIRST, code.lanes)
                for v, place in enumerate(places):
                    value = code.spread(zero)
                    for unit in range(units):
                        value = code.multiply_add(of_row.load(unit, place, code.lanes), pushed[unit][v], value)
                    sum_ = builder.fadd(sum_, value, flags=LOOSE)
                    before = builder.select(begun, target.load(0, place, code.lanes), code.spread(zero))
                    target.store(builder.fadd(before, value, flags=LOOSE), 0, place)
                total.store(sum_, 0, FIRST)

            code.each(FIRST, q, 1, bend)

        code.each(FIRST, q, 1, of_unit)
        return context.get_dummy_value()

    return types.void(curvatures, types.intp, couplings, adjoints, sums), generate


def _on_rows(operands: int, write: Callable[..., tuple[ir.Value, ...]]) -> Any:
    """Make a function of compiled code of rows of `TOGETHER` numbers, which are told by their places in a matrix."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        rows, places, number = signature.args[0], arguments[1 : 1 + operands], arguments[1 + operands :]
        code = _Writer(builder, context.get_data_type(rows.dtype), rows.dtype)
        entries, factor = _Entries(context, builder, rows, arguments[0]), [code.spread(each) for each in number]
        for column in range(0, TOGETHER, code.lanes):
            own = [entries.load(place, INDEX(column), code.lanes) for place in places]
            for value, place in zip(write(code, *own, *factor), places, strict=False):
                entries.store(value, place, INDEX(column))
        return context.get_dummy_value()

    return generate


@_written
def turn(_: Any, rows: Any, off: Any, low: Any, high: Any, cosine: Any, sine: Any) -> Any:
    """Find the rotations that make symmetric matrices of two rows diagonal, and make them so (Jacobi's method).

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    rows : ndarray, shape (rows, `TOGETHER`)
    off, low, high : int
        Places of the entries off the diagonal, and of those on it.
    cosine, sine : int
        Places of rows that are set to the rotations.
    """

    def write(code: _Writer, x: ir.Value, a: ir.Value, b: ir.Value, *_: ir.Value) -> tuple[ir.Value, ...]:
        builder, one = code.builder, code.spread(code.number(1))
        gap, twice = builder.fsub(b, a, flags=LOOSE), builder.fadd(x, x, flags=LOOSE)
        long = code.root(code.multiply_add(gap, gap, code.multiply(twice, twice)))
        rising = builder.fcmp_ordered(">=", gap, code.spread(code.number(0)))
        size = builder.fadd(builder.select(rising, gap, builder.fneg(gap)), long, flags=LOOSE)
        turned = builder.fdiv(twice, builder.fadd(size, code.spread(code.number(TINY))))
        tangent = builder.select(rising, turned, builder.fneg(turned))
        moved = code.multiply(tangent, x)
        c = builder.fdiv(one, code.root(code.multiply_add(tangent, tangent, one)))
        sums = builder.fsub(a, moved, flags=LOOSE), builder.fadd(b, moved, flags=LOOSE)
        return code.spread(code.number(0)), *sums, c, code.multiply(tangent, c)

    return types.void(rows, *[types.intp] * 5), _on_rows(5, write)


@_written
def rotate(_: Any, rows: Any, one: Any, other: Any, cosine: Any, sine: Any) -> Any:
    """Rotate two rows by the angles whose cosines and sines are two others.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    rows : ndarray, shape (rows, `TOGETHER`)
    one, other, cosine, sine : int
        Places of rows.
    """

    def write(code: _Writer, x: ir.Value, y: ir.Value, c: ir.Value, s: ir.Value) -> tuple[ir.Value, ir.Value]:
        turned = code.multiply_add(s, code.builder.fneg(y), code.multiply(c, x))
        return turned, code.multiply_add(s, x, code.multiply(c, y))

    return types.void(rows, *[types.intp] * 4), _on_rows(4, write)


@_written
def add_product(_: Any, rows: Any, total: Any, one: Any, other: Any, factor: Any) -> Any:
    """Add the product of two rows, times a number, to a third.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    rows : ndarray, shape (rows, `TOGETHER`)
    total, one, other : int
        Places of rows.
    factor : float
    """

    def write(code: _Writer, sum_: ir.Value, x: ir.Value, y: ir.Value, number: ir.Value) -> tuple[ir.Value]:
        return (code.multiply_add(code.multiply(x, number), y, sum_),)

    return types.void(rows, *[types.intp] * 3, rows.dtype), _on_rows(3, write)


@_written
def add_multiple(_: Any, rows: Any, total: Any, one: Any, factor: Any) -> Any:
    """Add a row times a number to another.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    rows : ndarray, shape (rows, `TOGETHER`)
    total, one : int
        Places of rows.
    factor : float
    """

    def write(code: _Writer, sum_: ir.Value, x: ir.Value, number: ir.Value) -> tuple[ir.Value]:
        return (code.multiply_add(x, number, sum_),)

    return types.void(rows, *[types.intp] * 2, rows.dtype), _on_rows(2, write)


@_written
def follow(
    _: Any,
    drives: Any,
    own: Any,
    behind: Any,
    shares: Any,
    numbers: Any,
    nesterov: Any,
    moved: Any,
    after: Any,
    kept: Any,
) -> Any:
    """Take what samples carry in one mode on by a step, see `sedyn.model.update.Update`, and add their shares of it.

    Parameters
    ----------
    _ : object
        The compiler's own, which callers leave out.
    drives : ndarray, shape (at least q, m)
        Before they are multiplied by the eigenvalues.
    own, behind : ndarray, shape (q, m)
        What is carried, and what momentum is the difference from.
    shares : ndarray, shape (2, m)
        Of each sample minus the rate times the mode's eigenvalue, and the sample's share in the mode.
    numbers : ndarray, shape (q, 2)
        Of each unit what decay leaves in a step, and the momentum.
    nesterov : bool
    moved, after : ndarray, shape (q, m)
        Set to what is carried then, and what momentum is the difference from.
    kept : ndarray, shape (q, m)
        Added to.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Any:
        names = ("drives", "own", "behind", "shares", "numbers", "nesterov", "moved", "after", "kept")
        given = dict(zip(names, zip(signature.args, arguments, strict=True), strict=True))
        _, flag = given.pop("nesterov")
        each = {name: _Entries(context, builder, kind, value) for name, (kind, value) in given.items()}
        code = _Writer(builder, context.get_data_type(own.dtype), own.dtype)

        def of_unit(a: ir.Value) -> None:
            numbers_of_unit = [each["numbers"].load(a, INDEX(k), 1) for k in range(2)]

            def carry(both: list[ir.Value], lanes: int, start: ir.Value, stop: ir.Value) -> None:
                left, momentum = both

                def move(i: ir.Value) -> None:
                    read = ("drives", "own", "behind", "kept")
                    drive, there, before, total = (each[name].load(a, i, lanes) for name in read)
                    rated, share = (each["shares"].load(k, i, lanes) for k in range(2))
                    base = code.multiply_add(rated, drive, code.multiply(left, there))
                    ahead = builder.select(flag, base, there)
                    following = code.multiply_add(momentum, builder.fsub(ahead, before, flags=LOOSE), base)
                    each["moved"].store(following, a, i)
                    each["after"].store(ahead, a, i)
                    each["kept"].store(code.multiply_add(share, following, total), a, i)

                code.each(start, stop, lanes, move)

            rest = code.whole_vectors(each["own"].columns)
            carry([code.spread(number) for number in numbers_of_unit], code.lanes, FIRST, rest)
            carry(numbers_of_unit, 1, rest, each["own"].columns)

        code.each(FIRST, each["own"].rows, 1, of_unit)
        return context.get_dummy_value()

    return types.void(drives, own, behind, shares, numbers, types.boolean, moved, after, kept), generate


def _several(kind: ir.Type, lanes: int) -> ir.Type:
    return kind if lanes == 1 else ir.VectorType(kind, lanes)


# Of a matrix, (r, d), floats or integers; weights, (q, d), and the first of the tile's units; sums, (q, r lanes), to
# which as many partial sums of each product are added; and how many bytes ahead memory is asked for, None where all is
# in cache.
add_forward = _intrinsic(_write_forward, forward=True)
# Of a matrix, (r, d); gradients, (q, r), and the first of the tile's units; sums, (q, d), to which the products are
# added; and how many bytes ahead, likewise.
add_backward = _intrinsic(_write_backward, forward=False)
