"""Memory for large temporary arrays, used again instead of asked for anew.

The system hands out large memory page by page, at the first touch of each: a quarter of the time
of an elementwise kernel. A training step needs the same sizes again and again, so what one step
is done with serves the next.

An array of the pool is a plain array. Its base is a `Lease`, which all views of it keep alive and
which brings the memory back when the last of them is gone: memory in use is never handed out,
whoever holds on to what, whatever raises, in whatever thread.
"""

from math import prod
from typing import Any

import numpy as np

# Below this, NumPy and malloc have their own ways of using memory again, which are quicker.
SMALLEST = 1 << 17
# What may lie idle, in bytes.
IDLE_LIMIT = 1 << 30
# After so many requests, memory goes back to the system that none of them needed.
_SWEEP_EVERY = 2048
# After fewer requests nobody can say what is needed.
_AT_LEAST = 256
_ALIGNMENT = 64

# Size in bytes, the array that holds it, and the address in there where it begins.
_Piece = tuple[int, Any, int]

# A switch for tests: fill what is handed out, so that reading it before writing shows.
poisoned = False


class _Shelf:
    """The idle memory of one size, and the fewest pieces that lay there since the last sweep."""

    __slots__ = ("fewest", "pieces")

    def __init__(self) -> None:
        self.pieces: list[_Piece] = []
        self.fewest = 0


class Pool:
    """Idle memory by size.

    There is no lock, because the garbage collector may bring memory back in the middle of
    anything, in any thread. What has to be atomic is one append or one pop of a list; the count
    for the limit may be off by a race, and is put right by the next sweep.
    """

    def __init__(self, limit: int = IDLE_LIMIT) -> None:
        self._limit = limit
        self._shelves: dict[int, _Shelf] = {}
        self._about = 0  # bytes that lie idle, but for races
        self._requests = 0

    @property
    def idle(self) -> int:
        """Bytes that lie idle."""
        return sum(size * len(shelf.pieces) for size, shelf in list(self._shelves.items()))

    def take(self, size: int) -> _Piece:
        """Return memory of a size."""
        self._requests += 1
        if self._requests >= _SWEEP_EVERY:
            self._sweep()
        shelf = self._shelves.get(size)
        if shelf is not None:
            try:
                piece = shelf.pieces.pop()
            except IndexError:  # none is there, or another thread was quicker
                pass
            else:
                left = len(shelf.pieces)
                if left < shelf.fewest:
                    shelf.fewest = left
                self._about -= size
                return piece
        owner = np.empty(size + _ALIGNMENT, np.uint8)
        return size, owner, owner.ctypes.data + -owner.ctypes.data % _ALIGNMENT

    def give(self, piece: _Piece) -> None:
        """Take memory back, if there is room for it."""
        size = piece[0]
        if self._about + size > self._limit:
            # Perhaps there are sizes that have come out of use.
            if self._requests >= _AT_LEAST:
                self._sweep()
            if self._about + size > self._limit:
                return
        shelf = self._shelves.get(size)
        if shelf is None:
            shelf = self._shelves.setdefault(size, _Shelf())
        self._about += size
        shelf.pieces.append(piece)

    def clear(self) -> None:
        """Give all idle memory back to the system."""
        self._shelves = {}
        self._about = 0

    def _sweep(self) -> None:
        """Give back what no request needed since the last time."""
        self._requests = 0
        for shelf in list(self._shelves.values()):
            del shelf.pieces[: shelf.fewest]
            shelf.fewest = len(shelf.pieces)
        self._about = self.idle


class Lease:
    """What the memory of an array belongs to as long as the array, or a view of it, lives."""

    __slots__ = ("__array_interface__", "__weakref__", "_piece", "_pool")

    def __init__(self, pool: Pool, piece: _Piece, shape: tuple[int, ...], typestr: str) -> None:
        self._pool = pool
        self._piece = piece
        self.__array_interface__ = {
            "version": 3,
            "data": (piece[2], False),
            "shape": shape,
            "typestr": typestr,
        }

    def __del__(self) -> None:
        # Names of this module may be gone when the interpreter ends; an attribute is not.
        self._pool.give(self._piece)


pool = Pool()


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return a new C-contiguous array without values, from the pool if it is large.

    Parameters
    ----------
    shape : tuple of int
    dtype : a plain dtype: floating, integer or boolean

    Notes
    -----
    It can be kept, written into and passed on like any array. Its `base` is not None.
    """
    dtype = np.dtype(dtype)
    size = dtype.itemsize * prod(shape)
    if size < SMALLEST:
        array = np.empty(shape, dtype)
    else:
        size = -(-size // _ALIGNMENT) * _ALIGNMENT
        array = np.asarray(Lease(pool, pool.take(size), shape, dtype.str))
    if poisoned:
        array.fill(np.nan if dtype.kind in "fc" else _largest(dtype))
    return array


def summed(x: Any, y: Any) -> Any:
    """Return ``x + y``, in memory of the pool if both are large arrays of one kind."""
    if (
        type(x) is type(y) is np.ndarray
        and x.nbytes >= SMALLEST
        and x.shape == y.shape
        and x.dtype == y.dtype
        and x.dtype.kind == "f"
        and x.flags.c_contiguous
        and y.flags.c_contiguous
    ):
        return np.add(x, y, out=empty(x.shape, x.dtype))
    return x + y


def empty_like(array: np.ndarray) -> np.ndarray:
    """Return a new C-contiguous array without values, of the shape and dtype of another."""
    return empty(array.shape, array.dtype)


def owner(array: Any) -> Any:
    """Return what an array's memory belongs to: two arrays with one owner may share memory."""
    base = getattr(array, "base", None)
    # Views have the leased array as their base, and that has its lease.
    return array if base is None or type(base) is Lease else base


def _largest(dtype: np.dtype[Any]) -> int:
    return 1 if dtype.kind == "b" else int(np.iinfo(dtype).max)
