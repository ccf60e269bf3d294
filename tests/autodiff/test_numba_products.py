"""Products of the compiled kernels: any size, the same bits for any threads, nothing read beyond.

Tiles of the result are computed with vectors from memory blocks, so what matters is what happens
where sizes are no multiples of those.
"""

import importlib.util
import sys
from typing import Any

import numpy as np
import pytest

import freezeviz as fv
from freezeviz.autodiff import FUSED
from tests.autodiff.test_numba import _fresh, _kernels

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed"
)

# Rows, and entries of the input and of the output: around the sizes of tiles and of blocks.
_SIZES = [
    (1, 1, 1),
    (1, 700, 33),
    (3, 5, 2),
    (13, 16, 31),
    (15, 257, 32),
    (29, 513, 47),
    (64, 48, 1),
    (131, 255, 530),
    (2, 1, 1100),
]


@pytest.fixture(autouse=True)
def _compiled() -> Any:
    before = fv.kernels()
    fv.use_kernels("numba")
    yield
    fv.use_kernels(before)


def _with_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from freezeviz.autodiff._numba import _conv, _launch, _linear

    monkeypatch.setattr(_launch, "threads", lambda: threads)
    for module in (_conv, _linear):
        monkeypatch.setattr(module, "most_threads", lambda: threads)


def _linear(size: tuple[int, int, int]) -> list[np.ndarray]:
    m, k, n = size
    rng = np.random.default_rng(m + k + n)
    x, g = (rng.standard_normal((m, w), dtype=np.float32) for w in (k, n))
    weight, bias = rng.standard_normal((n, k), dtype=np.float32), np.zeros(n, np.float32)
    needs, kernels = (True,) * 3, _kernels("linear")
    out, residual = kernels.forward(needs, x, weight, bias)
    found = [out, *kernels.backward(g, needs, residual)]
    wide = [a.astype(np.float64) for a in (x, weight, g)]
    exact = [wide[0] @ wide[1].T, wide[2] @ wide[1], wide[2].T @ wide[0], wide[2].sum(axis=0)]
    for got, want, length in zip(found, exact, (k, n, m, m), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-7 * (1 + length) * 3)
    return found


@pytest.mark.parametrize("size", _SIZES, ids=str)
def test_products_are_right_and_of_the_same_bits_for_any_number_of_threads(
    size: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for threads in (1, 2, 3, 4):
        _with_threads(threads, monkeypatch)
        runs.append([a.tobytes() for a in _linear(size)[:3]])
    assert runs[0] == runs[1] == runs[2] == runs[3]


def test_a_row_of_a_product_does_not_depend_on_the_others(rng: np.random.Generator) -> None:
    x = rng.standard_normal((61, 300), dtype=np.float32)
    weight = rng.standard_normal((75, 300), dtype=np.float32)
    forward = _kernels("linear").forward
    alone = [forward((False,) * 3, x[i : i + 1], weight, None)[0] for i in range(len(x))]
    together, _ = forward((False,) * 3, x, weight, None)
    np.testing.assert_array_equal(np.concatenate(alone), together)


@pytest.mark.parametrize("c", [1, 3, 16, 33])
@pytest.mark.parametrize("wo", [4, 5, 13, 17, 29])
@pytest.mark.parametrize("end", [{}, {"padding": (2, 1)}, {"activation": "relu", "pool": 2}])
def test_convolutions_of_any_width_and_channels_are_as_the_portable_ones(
    c: int, wo: int, end: dict[str, Any], rng: np.random.Generator
) -> None:
    x = rng.standard_normal((3, 7, wo + 2, c), dtype=np.float32)
    weight = rng.standard_normal((35, 3, 3, c), dtype=np.float32)
    args, needs = (x, weight, rng.standard_normal(35, dtype=np.float32)), (True,) * 3
    out, residual = _kernels("conv2d").forward(needs, *args, **end)
    g = rng.standard_normal(out.shape, dtype=np.float32)
    found = [out, *_kernels("conv2d").backward(g, needs, residual)]
    exact, residual = FUSED["conv2d"].forward(needs, *(a.astype(np.float64) for a in args), **end)
    wanted = [exact, *FUSED["conv2d"].backward(g.astype(np.float64), needs, residual)]
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=2e-6 * max(1, np.abs(want).max()))


_GUARDED = """
import ctypes, mmap
import numpy as np
import freezeviz as fv
from freezeviz.autodiff import FUSED
fv.use_kernels("numba")
libc = ctypes.CDLL(None, use_errno=True)
kept = []

def between(array, at_end):
    # A copy that ends, or begins, where a page lies that nobody may read.
    page = mmap.PAGESIZE
    inside = -(-array.nbytes // page) * page
    memory = mmap.mmap(-1, inside + 2 * page)
    kept.append(memory)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for at in (start, start + page + inside):
        assert libc.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(page), 0) == 0
    offset = page + (inside - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, array.dtype, array.size, offset).reshape(array.shape)
    copy[...] = array
    return copy

def both(name, shapes, **options):
    (kernels,) = [k for k in FUSED[name].kernels if k.set == "numba"]
    rng = np.random.default_rng(0)
    needs = (True,) * len(shapes)
    for at_end in (False, True):
        args = [between(rng.standard_normal(s, dtype=np.float32), at_end) for s in shapes]
        out, residual = kernels.forward(needs, *args, **options)
        g = between(np.ones_like(out), at_end)
        kernels.backward(g, needs, residual)

for m, k, n in ((1, 1, 1), (3, 5, 7), (29, 513, 47), (64, 48, 1), (30, 17, 65)):
    for activation in (None, "gelu"):
        both("linear", [(m, k), (n, k), (n,)], activation=activation)
for c in (1, 2, 17, 40):
    for wo in (4, 5, 13):
        for options in ({}, {"padding": (1, 1)}, {"activation": "relu", "pool": 2}):
            for kw in (1, 3):
                both("conv2d", [(2, 6, wo + kw - 1, c), (33, 3, kw, c), (33,)], **options)
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="pages are locked by Linux's call")
def test_nothing_is_read_beyond_the_arrays() -> None:
    done = _fresh(_GUARDED)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
