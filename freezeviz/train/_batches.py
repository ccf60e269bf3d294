"""A data set in batches: which samples a step gets follows from its number alone."""

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from freezeviz.backend import array_namespace, is_array, to_numpy
from freezeviz.errors import DataError
from freezeviz.train._pinned import Pinned, fits

Batch = tuple[Any, Any]


class Batches:
    """Samples, cut into batches; the last one of an epoch may be smaller.

    Parameters
    ----------
    data : pair (x, y)
        Arrays, or what NumPy makes arrays of, of the same length.
    batch_size : int
    name : str
        How messages call the data.
    seed : int or None
        Seed of the order, which is another one in every epoch; None keeps the given order.

    Raises
    ------
    DataError
        If that is not a pair of arrays of the same length, or there are no samples.
    """

    def __init__(self, data: Any, batch_size: int, name: str, seed: int | None = None) -> None:
        if not isinstance(data, tuple | list) or len(data) != 2:
            got = f"{len(data)} things" if isinstance(data, tuple | list) else type(data).__name__
            raise DataError(f"{name} is a pair (x, y) of arrays, got {got}")
        self.x, self.y = (
            _as_array(array, f"{name}'s {n}") for n, array in zip("xy", data, strict=True)
        )
        if len(self.x) != len(self.y):
            raise DataError(
                f"{name} needs as many targets as inputs, got x of shape {self.x.shape} "
                f"and y of shape {self.y.shape}"
            )
        if len(self.x) == 0:
            raise DataError(f"{name} is empty: x has shape {self.x.shape}")
        self.batch_size = batch_size
        self._batches = -(-len(self.x) // batch_size)
        self._seed = seed
        self._epoch: int | None = None  # whose order is in self._order
        self._order: Any = None
        self._numbers: Any = None  # the same, on the host
        self._latest: tuple[Any, Any] = (None, None)
        self._pinned: tuple[Pinned, ...] = ()

    @property
    def samples(self) -> int:
        return len(self.x)

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return self._batches

    def place(self, like: Any) -> None:
        """Bring the data to where an array is: they have to meet in one library.

        Data that would take much of a GPU's memory stay on the host, and their batches go there.
        """
        xp = array_namespace(like)
        whole = fits(self.x, self.y, like)
        self.x, self.y = (_placed(array, xp, whole) for array in (self.x, self.y))
        self._pinned = tuple(array for array in (self.x, self.y) if type(array) is Pinned)
        self._epoch = None

    def ahead(self, step: int) -> None:
        """Begin to bring the batch of a step to the GPU, if it is not there."""
        for array in self._pinned:
            array.ahead(self.which(step))

    def close(self) -> None:
        """Let go what was brought ahead."""
        for array in self._pinned:
            array.close()

    def at(self, step: int) -> Batch:
        """Return the batch of a step, counted from 0 over all epochs."""
        chosen = self.which(step)
        return self.x[chosen], self.y[chosen]

    def which(self, step: int) -> Any:
        """Return the samples of a step's batch: a slice of their numbers, or an array of them."""
        epoch, index = divmod(step, self._batches)
        part = slice(index * self.batch_size, (index + 1) * self.batch_size)
        if self._seed is None:
            return part
        if epoch != self._epoch:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self.x))
            self._numbers = order
            # Rows of the host's are put together there.
            self._order = order if self._pinned else array_namespace(self.x).asarray(order)
            self._epoch = epoch
        which = self._order[part]
        if self._order is not self._numbers:
            self._latest = which, self._numbers[part]
        return which

    def numbers(self, which: Any) -> Any:
        """Return the samples of a step's batch by numbers on the host; None where not known."""
        return self._latest[1] if which is self._latest[0] else None

    def __iter__(self) -> Iterator[Batch]:
        """Yield all batches of one epoch, in the given order."""
        for part in self.in_order():
            yield self.x[part], self.y[part]

    def in_order(self) -> Iterator[slice]:
        """Yield the samples of all batches of one epoch, in the given order."""
        for start in range(0, len(self.x), self.batch_size):
            yield slice(start, start + self.batch_size)


def _as_array(array: Any, name: str) -> Any:
    if not is_array(array):
        try:
            array = np.asarray(array)
        except ValueError as error:
            raise DataError(f"{name} cannot be made an array: {error}") from error
    if array.ndim == 0:
        raise DataError(f"{name} is a single value; its first axis has to count the samples")
    if (
        isinstance(array, np.ndarray)
        and array.dtype.kind not in "biufc"
        and array.dtype.kind != "V"
    ):
        raise DataError(f"{name} holds no numbers: its dtype is {array.dtype}")
    return array


def _placed(array: Any, xp: Any, whole: bool) -> Any:
    if array_namespace(array) is xp:
        return array
    host = array.host if type(array) is Pinned else to_numpy(array)
    return xp.asarray(host) if whole or xp is np else Pinned(host)


def whole_number(value: Any, name: str, least: int) -> int:
    """Return `value` as an int; raise DataError unless it is a whole number and large enough."""
    try:
        number = operator.index(value)
    except TypeError:
        raise DataError(f"{name} is a whole number, got {value!r}") from None
    if isinstance(value, bool) or number < least:
        raise DataError(f"{name} is a whole number of at least {least}, got {value!r}")
    return number
