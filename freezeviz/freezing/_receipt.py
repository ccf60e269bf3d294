"""Receipts: proof that no byte of what was frozen has moved."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from freezeviz.adapters import ModelAdapter, adapt


@dataclass(frozen=True, slots=True)
class Moved:
    """An array that is not what the receipt says.

    Attributes
    ----------
    path : str
    kind : str
        ``"parameter"`` or ``"buffer"``.
    what : str
        ``"changed"``, ``"gone"`` (there is no array of that path any more), or ``"replaced"``
        (by one of another shape or dtype).
    max_difference : float or None
        The largest absolute difference of an element; None if the receipt kept no values, or
        there is nothing to compare. It may be 0: ``0.0`` became ``-0.0``.
    changed, size : int or None
        How many of how many elements have other bytes.
    first_seen : int or None
        The trainer's step at the first `verify` that found it; None for a bare model.
    trainable : bool
        Whether it is trainable now: then somebody unfroze it, and moving was its right.
    """

    path: str
    kind: str
    what: str
    max_difference: float | None
    changed: int | None
    size: int | None
    first_seen: int | None
    trainable: bool

    def __str__(self) -> str:
        parts = [f"{self.path}: {self.kind} {self.what}"]
        if self.changed is not None:
            parts.append(f"{self.changed:,} of {self.size:,} elements")
        if self.max_difference is not None:
            parts.append(f"by up to {self.max_difference:.3g}")
        if self.first_seen is not None:
            parts.append(f"first seen at step {self.first_seen:,}")
        if self.trainable:
            parts.append("trainable now")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """What `Receipt.verify` found.

    Attributes
    ----------
    checked : int
        Number of arrays.
    moved : tuple of Moved
        Those that are not what they were, in the model's order.
    """

    checked: int
    moved: tuple[Moved, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing has moved."""
        return not self.moved

    def __repr__(self) -> str:
        return "\n".join([self._headline(), *(f"  {moved}" for moved in self.moved)])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(str(moved))}</li>" for moved in self.moved)
        below = f"<ul>{items}</ul>" if items else ""
        sign = "✓" if self.ok else "✗"
        return f"<div>{sign} {escape(self._headline())}{below}</div>"

    def _headline(self) -> str:
        if not self.checked:
            return "Nothing was frozen or held: there is nothing to check."
        arrays = f"{self.checked} array{'' if self.checked == 1 else 's'}"
        if self.ok:
            return f"Verified: {arrays} unchanged, byte for byte."
        return f"Not as on the receipt: {len(self.moved)} of {arrays} moved."


@dataclass(frozen=True, slots=True)
class _Line:
    """One array on a receipt."""

    kind: str
    digest: str
    value: np.ndarray | None


class Receipt(Mapping[str, str]):
    """Fingerprints of what is frozen and held: a mapping from path to SHA-256 of the array.

    Made by `receipt`. A fingerprint covers dtype, shape and every byte of a parameter that is
    frozen, or of a buffer (running statistics, say) of a layer that is held.
    """

    def __init__(self, adapter: ModelAdapter, trainer: Any, keep_values: bool) -> None:
        self._adapter = adapter
        self._trainer = trainer
        self._first_seen: dict[str, int | None] = {}
        self._lines: dict[str, _Line] = {}
        for path, kind in _kept(adapter):
            value = adapter.read(path)
            self._lines[path] = _Line(kind, _digest(value), value if keep_values else None)

    def __getitem__(self, path: str) -> str:
        return self._lines[path].digest

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def verify(self) -> Report:
        """Return a report on which of the arrays are still the same, byte for byte.

        Between two steps of a run this can be called at any time; what moved and moved back in
        between is not seen.

        Returns
        -------
        Report
        """
        step = None if self._trainer is None else int(self._trainer.step)
        frozen = self._adapter.frozen()
        moved: list[Moved] = []
        for path, line in self._lines.items():
            try:
                now = self._adapter.read(path)
            except LookupError:
                now = None
            if now is None or _digest(now) != line.digest:
                first_seen = self._first_seen.setdefault(path, step)
                trainable = now is not None and line.kind == "parameter" and path not in frozen
                moved.append(_moved(path, line, now, first_seen, trainable))
        return Report(len(self._lines), tuple(moved))

    def __repr__(self) -> str:
        kinds = [line.kind for line in self._lines.values()]
        counts = [
            f"{kinds.count(kind)} {kind}{'' if kinds.count(kind) == 1 else 's'}"
            for kind in ("parameter", "buffer")
            if kind in kinds
        ]
        return f"Receipt(of {' and '.join(counts) or 'nothing: nothing is frozen or held'})"


def receipt(model: Any, *, keep_values: bool = True) -> Receipt:
    """Return fingerprints of all that is frozen and held now, to be verified later.

    Parameters
    ----------
    model : model of a supported framework, or Trainer
        With a trainer, the report tells at which step something was first seen to have moved.
    keep_values : bool
        Keep a copy of the arrays, too, so that a report can tell how far they moved.

    Raises
    ------
    TypeError
        If the model is of no supported framework.

    Examples
    --------
    >>> kept = receipt(trainer)
    >>> trainer.fit(epochs=3)
    >>> kept.verify()
    Verified: 2 arrays unchanged, byte for byte.
    """
    # A trainer is known by what it offers: this room lies below the one where trainers live.
    # Models may have parts by such names.
    if hasattr(getattr(model, "adapter", None), "set_frozen") and hasattr(model, "step"):
        return Receipt(model.adapter, model, keep_values)
    return Receipt(adapt(model), None, keep_values)


def _moved(
    path: str, line: _Line, now: np.ndarray | None, first_seen: int | None, trainable: bool
) -> Moved:
    before = line.value
    what, difference, changed, size = "changed", None, None, None
    if now is None:
        what = "gone"
    elif before is not None and (now.shape != before.shape or now.dtype != before.dtype):
        what = "replaced"
    elif before is not None:
        difference, changed, size = _difference(before, now)
    return Moved(path, line.kind, what, difference, changed, size, first_seen, trainable)


def _kept(adapter: ModelAdapter) -> Iterator[tuple[str, str]]:
    """Yield path and kind of every array that must not move, in the model's order."""
    frozen, held = adapter.frozen(), adapter.held()
    for layer in adapter.snapshot().walk():
        for parameter in layer.parameters:
            if parameter.path in frozen:
                yield parameter.path, "parameter"
        if layer.path in held:
            for buffer in layer.buffers:
                yield buffer.path, "buffer"


def _digest(value: np.ndarray) -> str:
    hashed = hashlib.sha256(f"{value.dtype.str}{value.shape}".encode())
    hashed.update(_bytes(value).data)
    return hashed.hexdigest()


def _bytes(value: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8)


def _difference(before: np.ndarray, now: np.ndarray) -> tuple[float | None, int, int]:
    """Return the largest absolute difference, and how many of how many elements differ in bytes."""
    differs = (_bytes(before) != _bytes(now)).reshape(before.size, -1).any(axis=1)
    wide = np.complex128 if before.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):  # infinity minus infinity is a finding, not an accident
        distance = np.abs(
            now.reshape(-1)[differs].astype(wide) - before.reshape(-1)[differs].astype(wide)
        )
    return float(distance.max()), int(differs.sum()), before.size
