"""A node in detail: its arrays with their values' range and distribution, and where its code is."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from freezeviz.adapters import BufferInfo, LayerInfo, ModelAdapter, ParameterInfo
from freezeviz.errors import FreezevizError

MOST_ARRAYS = 32
MOST_VALUES = 4_000_000  # in a histogram; of larger arrays every n-th value
BINS = 32


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie between which edges.

    Attributes
    ----------
    counts : tuple of int
    edges : tuple of float
        One more than counts.
    sampled : bool
        Only a part of the values, evenly spread, was counted.
    """

    counts: tuple[int, ...]
    edges: tuple[float, ...]
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class ArrayDetails:
    """A parameter or buffer in detail.

    Attributes
    ----------
    path : str
    shape : tuple of int
    dtype, device : str
    frozen : bool or None
        None of a buffer.
    aliases : tuple of str
    minimum, mean, maximum : float or None
        Of the finite values; of complex ones, of their magnitudes. None without any.
    nonfinite : int
        How many values are NaN or infinite.
    histogram : Histogram or None
    problem : str
        Why there are no values; empty if there are.
    """

    path: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    frozen: bool | None
    aliases: tuple[str, ...] = ()
    minimum: float | None = None
    mean: float | None = None
    maximum: float | None = None
    nonfinite: int = 0
    histogram: Histogram | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Details:
    """A node of the tree in detail.

    Attributes
    ----------
    path, kind : str
    doc : str
        The docstring of its class.
    source : str
        ``"file:line"`` of its class; empty if unknown.
    parameters, buffers : tuple of ArrayDetails
        Its own; of a module without own ones, the first below it.
    left_out : int
        How many more there are below it.
    """

    path: str
    kind: str
    doc: str
    source: str
    parameters: tuple[ArrayDetails, ...]
    buffers: tuple[ArrayDetails, ...]
    left_out: int = 0


def details(
    adapter: ModelAdapter, layer: LayerInfo, parameter: str | None, frozen: frozenset[str]
) -> Details:
    """Return the details of a layer, or of one of its parameters.

    Parameters
    ----------
    adapter : ModelAdapter
    layer : LayerInfo
    parameter : str or None
        First path of the parameter that is meant; None for the layer.
    frozen : frozenset of str
    """
    describe = getattr(adapter, "describe", None)
    doc, source = describe(layer.path) if describe is not None else ("", "")
    infos: list[ParameterInfo | BufferInfo] = [*layer.parameters, *layer.buffers]
    if parameter is not None:
        infos = [info for info in infos if info.path == parameter]
    elif not infos:
        infos = [info for x in layer.walk() for info in (*x.parameters, *x.buffers)]
    shown = [_array(adapter, info, frozen) for info in infos[:MOST_ARRAYS]]
    return Details(
        layer.path if parameter is None else parameter,
        layer.kind if parameter is None else "parameter",
        doc,
        source,
        tuple(array for array in shown if array.frozen is not None),
        tuple(array for array in shown if array.frozen is None),
        len(infos) - len(shown),
    )


def _array(
    adapter: ModelAdapter, info: ParameterInfo | BufferInfo, frozen: frozenset[str]
) -> ArrayDetails:
    is_parameter = isinstance(info, ParameterInfo)
    device = getattr(adapter, "device", None)
    known: dict[str, Any] = {
        "path": info.path,
        "shape": info.shape,
        "dtype": info.dtype,
        "device": "",
        "frozen": info.path in frozen if is_parameter else None,
        "aliases": info.aliases if is_parameter else (),
    }
    try:
        if device is not None:
            known["device"] = device(info.path)
        values = adapter.read(info.path)
    except FreezevizError as error:  # gone since, or without values as yet
        return ArrayDetails(**known, problem=str(error))
    return ArrayDetails(**known, **_numbers(values))


def _numbers(values: np.ndarray) -> dict[str, Any]:
    if values.dtype.kind not in "biufc":
        return {"problem": f"NumPy cannot count with values of dtype {values.dtype}"}
    with np.errstate(all="ignore"):  # what overflows or is no number is counted, not raised
        values = values.reshape(-1)
        if values.dtype.kind == "c":
            values = np.abs(values)
        elif values.dtype.kind == "b" or values.dtype.itemsize < 4:
            values = values.astype(np.float32)
        nonfinite = 0
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            nonfinite = int(values.size - np.count_nonzero(finite))
            values = values[finite] if nonfinite else values
        if not values.size:
            return {"nonfinite": nonfinite}
        low, high = float(values.min()), float(values.max())
        mean = float(values.mean(dtype=np.float64))
        return {
            "minimum": low,
            # A mean of equal values may be rounded past them.
            "mean": min(max(mean, low), high),
            "maximum": high,
            "nonfinite": nonfinite,
            "histogram": _histogram(values, low, high),
        }


def _histogram(values: np.ndarray, low: float, high: float) -> Histogram | None:
    step = -(-values.size // MOST_VALUES)
    values = values[::step]
    if low == high:
        return Histogram((len(values),), (low, high), step > 1)
    edges = np.linspace(low, high, BINS + 1)
    width = high / BINS - low / BINS
    if not (np.isfinite(edges).all() and width > 0):
        return None
    # A tenth of the time of np.histogram: no sorting, no exact edges.
    bins = ((values.astype(np.float64) - low) / width).astype(np.int64)
    counts = np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)
    return Histogram(tuple(counts.tolist()), tuple(edges.tolist()), step > 1)
