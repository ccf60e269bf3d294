"""The innermost part of products: a tile of the result, held in the processor's registers.

Written as instructions for vectors, because a tile pays only if none of it ever leaves the
registers, and loops do not say so. A few functions that move vectors belong to it.
"""

from collections.abc import Callable
from typing import Any

import numba as nb
from llvmlite import ir
from numba.core import cgutils, codegen, config
from numba.extending import intrinsic

_asked = config.CPU_FEATURES  # pyright: ignore[reportAttributeAccessIssue]  set when it is loaded
_features = set((codegen.get_host_cpu_features() if _asked is None else _asked).split(","))
# Numbers in a vector, vectors in a row of a tile, and the most rows of one: as many as there are
# registers for, less those that a row of the right-hand matrix takes.
if "+avx512f" in _features:
    LANES, _VECTORS, ROWS = 16, 2, 14
elif "+avx" in _features:
    LANES, _VECTORS, ROWS = 8, 2, 6
else:
    LANES, _VECTORS, ROWS = 4, 2, 4
COLUMNS = LANES * _VECTORS
# Tiles are of an even number of rows; with fewer than these, sums would wait for each other.
FEWEST = 4

_F32, _I32, _I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_F32, LANES)
_ADDRESS = nb.intp


def _int(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


def _load(builder: Any, address: Any) -> Any:
    value = builder.load(builder.inttoptr(address, _VECTOR.as_pointer()))
    value.align = 4
    return value


def _store(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.inttoptr(address, _VECTOR.as_pointer())).align = 4


def _everywhere(builder: Any, address: Any) -> Any:
    """Return a vector of one number."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    number = builder.load(builder.inttoptr(address, _F32.as_pointer()))
    first = builder.insert_element(undefined, number, ir.Constant(_I32, 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)
    )


def _tile_of(rows: int) -> Callable[..., None]:
    """Return `tile` for a number of rows."""

    @intrinsic
    def tile(typing, a, row, step, k, times, jump, b, line, leap, c, pitch, more):
        signature = nb.void(*[_ADDRESS] * 11, nb.boolean)
        return signature, lambda context, builder, signature, arguments: _generate(
            context, builder, arguments, rows
        )

    return tile  # pyright: ignore[reportReturnType]  what the decorator makes is called in kernels


def _generate(context: Any, builder: Any, arguments: Any, rows: int) -> Any:
    a, row, step, k, times, jump, b, line, leap, c, pitch, adds = arguments
    function = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
    fma = cgutils.get_or_insert_function(builder.module, function, f"llvm.fmuladd.v{LANES}f32")
    row, step, jump, line, leap, pitch = (
        builder.shl(value, _int(2)) for value in (row, step, jump, line, leap, pitch)
    )
    offsets = [builder.mul(_int(r), row) for r in range(rows)]
    places = [
        builder.add(builder.add(c, builder.mul(_int(r), pitch)), _int(4 * LANES * v))
        for r in range(rows)
        for v in range(_VECTORS)
    ]
    entry = builder.block
    outer, inner, last, add, write, done = (
        builder.append_basic_block(name)
        for name in ("outer", "inner", "last", "add", "write", "done")
    )
    builder.branch(outer)

    builder.position_at_end(outer)
    turn, a_outer, b_outer = (builder.phi(_I64) for _ in range(3))
    sums_outer = [builder.phi(_VECTOR) for _ in places]
    builder.branch(inner)

    builder.position_at_end(inner)
    i, at, right = (builder.phi(_I64) for _ in range(3))
    sums = [builder.phi(_VECTOR) for _ in places]
    across = [_load(builder, builder.add(right, _int(4 * LANES * v))) for v in range(_VECTORS)]
    new: list[Any] = []
    for r, offset in enumerate(offsets):
        left = _everywhere(builder, builder.add(at, offset))
        for v in range(_VECTORS):
            new.append(builder.call(fma, [left, across[v], sums[r * _VECTORS + v]]))
    next_i = builder.add(i, _int(1))
    _join(i, (_int(0), outer), (next_i, inner))
    _join(at, (a_outer, outer), (builder.add(at, step), inner))
    _join(right, (b_outer, outer), (builder.add(right, line), inner))
    for before, first, after in zip(sums, sums_outer, new, strict=True):
        _join(before, (first, outer), (after, inner))
    builder.cbranch(builder.icmp_signed("<", next_i, k), inner, last)

    builder.position_at_end(last)
    next_turn = builder.add(turn, _int(1))
    _join(turn, (_int(0), entry), (next_turn, last))
    _join(a_outer, (a, entry), (builder.add(a_outer, jump), last))
    _join(b_outer, (b, entry), (builder.add(b_outer, leap), last))
    for before, after in zip(sums_outer, new, strict=True):
        _join(before, (ir.Constant(_VECTOR, [0.0] * LANES), entry), (after, last))
    ended = builder.append_basic_block("ended")
    builder.cbranch(builder.icmp_signed("<", next_turn, times), outer, ended)

    builder.position_at_end(ended)
    builder.cbranch(adds, add, write)
    builder.position_at_end(add)
    # All read before any is written: rows a multiple of 4 kB apart look alike to the processor.
    totals = [builder.fadd(v, _load(builder, place)) for v, place in zip(new, places, strict=True)]
    for value, place in zip(totals, places, strict=True):
        _store(builder, value, place)
    builder.branch(done)
    builder.position_at_end(write)
    for value, place in zip(new, places, strict=True):
        _store(builder, value, place)
    builder.branch(done)
    builder.position_at_end(done)
    return context.get_dummy_value()


def _join(phi: Any, *incoming: Any) -> None:
    for value, block in incoming:
        phi.add_incoming(value, block)


_4, _6, _8, _10, _12, _14 = (_tile_of(rows) for rows in range(FEWEST, 16, 2))


@nb.njit
def tile(rows, a, row, step, k, times, jump, b, line, leap, c, pitch, more):
    """Compute a tile of a product.

    Parameters
    ----------
    rows : int
        Even, from `FEWEST` to `ROWS`.
    a : int
        Address of the left-hand matrix, which is `times` matrices of `k` columns side by side.
    row, step, jump : int
        Entries there from one row to the next, from one column, and from one of the matrices.
    k, times : int
        At least one.
    b : int
        Address of the right-hand matrix: as many matrices of `k` rows of `COLUMNS`.
    line, leap : int
        Entries there from one row to the next, and from one of the matrices.
    c : int
        Address of the tile.
    pitch : int
        Entries from one row of the tile to the next.
    more : bool
        Whether to add to what is there.
    """
    if rows == 4:
        _4(a, row, step, k, times, jump, b, line, leap, c, pitch, more)
    elif rows == 6:
        _6(a, row, step, k, times, jump, b, line, leap, c, pitch, more)
    elif rows == 8:
        _8(a, row, step, k, times, jump, b, line, leap, c, pitch, more)
    elif rows == 10:
        _10(a, row, step, k, times, jump, b, line, leap, c, pitch, more)
    elif rows == 12:
        _12(a, row, step, k, times, jump, b, line, leap, c, pitch, more)
    else:
        _14(a, row, step, k, times, jump, b, line, leap, c, pitch, more)


@intrinsic
def turn(typing, source, pitch, to, to_pitch):
    """Write the transpose of a square of `LANES` numbers; all are addresses and distances."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, pitch, to, to_pitch = arguments
        pitch, to_pitch = builder.shl(pitch, _int(2)), builder.shl(to_pitch, _int(2))
        rows = [
            _load(builder, builder.add(source, builder.mul(_int(i), pitch))) for i in range(LANES)
        ]
        masks = ir.VectorType(_I32, LANES)
        half = LANES // 2
        low, high = (
            ir.Constant(masks, [n for i in range(start, start + half) for n in (i, LANES + i)])
            for start in (0, half)
        )
        # Each round deals two halves of a pack like cards; after log2 of them it is transposed.
        for _ in range(LANES.bit_length() - 1):
            pairs = [(rows[i], rows[i + half]) for i in range(half)]
            rows = [builder.shuffle_vector(*pair, mask) for pair in pairs for mask in (low, high)]
        for i, value in enumerate(rows):
            _store(builder, value, builder.add(to, builder.mul(_int(i), to_pitch)))
        return context.get_dummy_value()

    return nb.void(*[_ADDRESS] * 4), generate


def _mover(vectors: int) -> Callable[..., None]:
    @intrinsic
    def move(typing, source, pitch, to, to_pitch, rows):
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, pitch, to, to_pitch, rows = arguments
            pitch, to_pitch = builder.shl(pitch, _int(2)), builder.shl(to_pitch, _int(2))
            with cgutils.for_range(builder, rows) as loop:
                first = builder.add(source, builder.mul(loop.index, pitch))
                place = builder.add(to, builder.mul(loop.index, to_pitch))
                offsets = [_int(4 * LANES * v) for v in range(vectors)]
                values = [_load(builder, builder.add(first, offset)) for offset in offsets]
                for value, offset in zip(values, offsets, strict=True):
                    _store(builder, value, builder.add(place, offset))
            return context.get_dummy_value()

        return nb.void(*[_ADDRESS] * 5), generate

    return move  # pyright: ignore[reportReturnType]  as above


# Copy rows of one vector, and of `COLUMNS`; source and target are addresses and distances.
move_vectors = _mover(1)
move_columns = _mover(_VECTORS)


@intrinsic
def expect(typing, address, pitch, rows):
    """Let lines of memory come to the second cache, one for each row, while others are used."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, pitch, rows = arguments
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        options = [ir.Constant(_I32, n) for n in (0, 2, 1)]
        pitch = builder.shl(pitch, _int(2))
        with cgutils.for_range(builder, rows) as loop:
            line = builder.add(address, builder.mul(loop.index, pitch))
            builder.call(function, [builder.inttoptr(line, byte), *options])
        return context.get_dummy_value()

    return nb.void(*[_ADDRESS] * 3), generate
