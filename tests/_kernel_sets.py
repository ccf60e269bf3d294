"""Putting a set of kernels in force for a test, for calls of every size."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import freezeviz as fv
from freezeviz.autodiff import _choice, _sets

SETS = ["numpy", "numba"]
# Below these sizes compiled kernels leave a call to NumPy's, which are quicker there.
_LIMITS = ("SMALL", "ELEMENTS")


@contextmanager
def kernels_of(name: str) -> Iterator[None]:
    """Have one of `SETS` compute within the block, the compiled ones whatever the size."""
    if name == "numba":
        pytest.importorskip("numba")
    before = _sets.in_force()
    with pytest.MonkeyPatch.context() as patch:
        for state in ("_asked", "_settled"):
            patch.setattr(_choice, state, getattr(_choice, state))
        fv.use_kernels(name)
        for module in [m for n, m in sys.modules.items() if n.startswith(f"{_NUMBA}.")]:
            for limit in _LIMITS:
                if hasattr(module, limit):
                    patch.setattr(module, limit, 0)
        try:
            yield
        finally:
            _sets.put_in_force(before)


_NUMBA = "freezeviz.autodiff._numba"
