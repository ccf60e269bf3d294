"""Values and gradients in single precision against PyTorch's, kinks included."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from freezeviz import autodiff
from freezeviz.autodiff import FUSED, RULES
from tests.autodiff._table import ROWS, Row

torch = pytest.importorskip("torch")
F = torch.nn.functional


def _dims(x: Any, axis: Any) -> Any:
    return tuple(range(x.ndim)) if axis is None else axis


def _sum(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    return torch.sum(x, dim=_dims(x, axis), keepdim=keepdims)


def _reduced(fn: Any) -> Callable[..., Any]:
    return lambda x, axis=None, keepdims=False: fn(x, dim=_dims(x, axis), keepdim=keepdims)


def _getitem(x: Any, index: Any) -> Any:
    return x[index]


def _scatter_add(x: Any, index: Any, like: Any) -> Any:
    out = torch.zeros(like.shape, dtype=x.dtype)
    # All positions, so that any index is a list of positions.
    flat = torch.arange(out.numel()).reshape(like.shape)[index]
    return out.reshape(-1).index_add(0, flat.reshape(-1), x.reshape(-1)).reshape(like.shape)


def _einsum(*operands: Any, subscripts: str, optimize: bool = False) -> Any:
    return torch.einsum(subscripts, *operands)


def _batch_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    channels_first = torch.movedim(x, -1, 1)
    out = F.batch_norm(channels_first, None, None, weight, bias, training=True, eps=eps)
    return torch.movedim(out, 1, -1)


def _layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Any:
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _attention(q: Any, k: Any, v: Any, mask: Any = None, scale: Any = None) -> Any:
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    if mask is not None:
        mask = mask.expand(*mask.shape[:-2], q.shape[-2], k.shape[-2])
        lead = torch.broadcast_shapes(lead, mask.shape[:-2])
    q, k, v = (a.expand(*lead, *a.shape[-2:]) for a in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)


def _projections(x: Any, *arrays: Any) -> Any:
    biases = None if arrays[3] is None else torch.cat(arrays[3:])
    return F.linear(x, torch.cat(arrays[:3]), biases)


def _packed_attention(
    packed: Any, heads: int, dims: int, mask: Any = None, scale: Any = None
) -> Any:
    parts = [packed[..., :dims], packed[..., dims : 2 * dims], packed[..., 2 * dims :]]
    split = [part.unflatten(-1, (heads, part.shape[-1] // heads)) for part in parts]
    out = _attention(*(part.transpose(1, 2) for part in split), mask=mask, scale=scale)
    return out.transpose(1, 2).flatten(2)


def _conv2d(
    x: Any, weight: Any, bias: Any, activation: Any = None, pool: Any = None, **options: Any
) -> Any:
    out = F.conv2d(x.permute(0, 3, 1, 2), weight.permute(0, 3, 1, 2), bias, **options)
    out = F.relu(out) if activation else out
    out = F.max_pool2d(out, pool) if pool else out
    return out.permute(0, 2, 3, 1)


def _max_pool2d(x: Any, **options: Any) -> Any:
    return F.max_pool2d(x.permute(0, 3, 1, 2), **options).permute(0, 2, 3, 1)


def _cross_entropy(logits: Any, targets: Any, reduction: str = "none") -> Any:
    classes = logits.shape[-1]
    loss = F.cross_entropy(
        logits.reshape(-1, classes), targets.long().reshape(-1), reduction=reduction
    )
    return loss.reshape(targets.shape) if reduction == "none" else loss


def _tensor(x: Any) -> Any:
    return torch.as_tensor(x, dtype=torch.float32)


def _both(fn: Any) -> Callable[..., Any]:
    """Of functions that take no Python numbers."""
    return lambda x, y: fn(_tensor(x), _tensor(y))


def _linear(x: Any, weight: Any, bias: Any, activation: str | None = None) -> Any:
    y = F.linear(x, weight, bias)
    return y if activation is None else getattr(F, activation)(y)


COUNTERPARTS: dict[str, Any] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "power": lambda x, y: x**y,
    "maximum": _both(torch.maximum),
    "minimum": _both(torch.minimum),
    "logaddexp": _both(torch.logaddexp),
    **{
        name: getattr(torch, name)
        for name in (
            "negative", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "square",
            "reciprocal", "abs", "sin", "cos", "tan", "tanh", "sinh", "cosh", "asin", "acos",
            "atan", "relu", "sigmoid", "erf", "where", "matmul",
        )
    },
    "root": torch.sqrt,
    "softplus": F.softplus,
    "gelu": F.gelu,
    "astype": lambda x, dtype: x,
    "masked": lambda x, mask: torch.where(mask, x, torch.zeros(())),
    "sum": _sum,
    "max": _reduced(torch.amax),
    "min": _reduced(torch.amin),
    "logsumexp": _reduced(torch.logsumexp),
    "cumsum": lambda x, axis: torch.cumsum(x, dim=axis),
    "softmax": lambda x, axis=-1: torch.softmax(x, dim=axis),
    "reshape": lambda x, shape: torch.reshape(x, shape),
    "broadcast_to": lambda x, shape: torch.broadcast_to(x, shape),
    "transpose": lambda x, axes: torch.permute(x, axes),
    "flip": lambda x, axis=None: torch.flip(x, [axis] if isinstance(axis, int) else _dims(x, axis)),
    "concatenate": lambda *arrays, axis=0: torch.cat(arrays, dim=axis),
    "getitem": _getitem,
    "scatter_add": _scatter_add,
    "einsum": _einsum,
    "linear": _linear,
    "softmax_cross_entropy": _cross_entropy,
    "squared_error": F.mse_loss,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "attention": _attention,
    "projections": _projections,
    "packed_attention": _packed_attention,
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "embedding": lambda weight, indices: weight[indices],
}  # fmt: skip


def _has_counterpart(row: Row) -> bool:
    """Return whether PyTorch has this form of the call."""
    args, options = row.drawn()
    index = options.get("index")
    parts = index if isinstance(index, tuple) else (index,)
    backwards = any(isinstance(i, slice) and (i.step or 1) < 0 for i in parts)
    # An array of bytes is a mask to PyTorch, no axes are all axes, one sample has no statistics
    # and one feature gives noise, and its linear layer takes no bias that is to be broadcast.
    bytes_ = any(
        isinstance(i, np.ndarray) and i.dtype == np.uint8 for i in (*parts, *options.values())
    )
    no_axes = row.rule == "sum" and options.get("axis") == ()
    lone = row.rule in ("batch_norm", "layer_norm") and 1 in args[0].shape
    short_bias = row.rule == "linear" and args[2] is not None and len(args[2]) != args[1].shape[0]
    return not (backwards or bytes_ or no_axes or lone or short_bias)


def _moved(x: Any) -> Any:
    if type(x) is tuple:
        return tuple(map(_moved, x))
    return torch.from_numpy(np.array(x, order="C")) if isinstance(x, np.ndarray) else x


def _assert_close(got: Any, expected: Any) -> None:
    got, expected = np.asarray(got), expected.detach().numpy()
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype == np.float32
    finite = expected[np.isfinite(expected)]
    scale = float(np.max(np.abs(finite), initial=1e-2))
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * scale)


def _compare(
    ours: Callable[..., Any], theirs: Callable[..., Any], args: list[Any], traced: list[int]
) -> None:
    tensors = [_moved(a) for a in args]
    for i in traced:
        tensors[i].requires_grad_(True)
    expected = theirs(*tensors)
    weights = np.random.default_rng(3).uniform(0.5, 1.5, expected.shape).astype(np.float32)
    slopes = torch.autograd.grad(
        (expected * torch.from_numpy(np.asarray(weights))).sum(), [tensors[i] for i in traced]
    )

    def f(values: list[Any]) -> Any:
        filled = list(args)
        for i, value in zip(traced, values, strict=True):
            filled[i] = value
        out = ours(*filled)
        return RULES["sum"](out * weights), out

    (_, out), gradients = autodiff.value_and_grad(f)([args[i] for i in traced])
    _assert_close(out, expected)
    for gradient, slope in zip(gradients, slopes, strict=True):
        _assert_close(gradient, slope)


def test_every_rule_has_a_counterpart() -> None:
    assert set(COUNTERPARTS) == {*RULES, *FUSED}


@pytest.mark.parametrize("row", [r for r in ROWS if _has_counterpart(r)], ids=str)
def test_value_and_gradient_are_pytorchs(row: Row) -> None:
    args, options = row.drawn(np.float32)
    # What would make double of single precision in NumPy, and not in PyTorch.
    if row.rule == "power":
        args = [np.asarray(a, np.float32) if isinstance(a, np.ndarray) else a for a in args]
    if getattr(options.get("mask"), "dtype", None) == np.float64:
        options["mask"] = options["mask"].astype(np.float32)
    if "dtype" in options:
        options["dtype"] = np.float32

    def ours(*values: Any) -> Any:
        out = {**RULES, **FUSED}[row.rule](*values, **options)
        return out[0] if isinstance(out, tuple) else out

    there = {name: _moved(option) for name, option in options.items()}
    _compare(ours, lambda *t: COUNTERPARTS[row.rule](*t, **there), args, row.traced())


_TIES = np.array([[1.0, 3.0, 3.0, -0.0], [2.0, 2.0, 2.0, 2.0], [0.0, -0.0, 0.0, -5.0]], np.float32)
_ZEROS = np.array([-1.0, -0.0, 0.0, 1.0], np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs", "x"),
    [
        (autodiff.relu, torch.relu, _ZEROS),
        (np.abs, torch.abs, _ZEROS),
        (autodiff.gelu, F.gelu, _ZEROS),
        (autodiff.softplus, F.softplus, _ZEROS),
        (lambda x: np.maximum(x, _TIES), lambda x: torch.maximum(x, torch.tensor(_TIES)), _TIES),
        (lambda x: np.minimum(_TIES, x), lambda x: torch.minimum(torch.tensor(_TIES), x), _TIES),
        (lambda x: np.maximum(x, x * 1.0), lambda x: torch.maximum(x, x * 1.0), _TIES),
        (lambda x: np.max(x, axis=1), lambda x: torch.amax(x, dim=1), _TIES),
        (lambda x: np.min(x, axis=0), lambda x: torch.amin(x, dim=0), _TIES),
        (lambda x: np.max(x), torch.amax, _TIES),
        (lambda x: np.clip(x, 0.0, 2.0), lambda x: torch.clamp(x, 0.0, 2.0), _TIES),
        (lambda x: np.clip(x, -1.0, 0.0), lambda x: torch.clamp(x, -1.0, 0.0), _ZEROS),
        (lambda x: np.clip(x, 2.0, -1.0), lambda x: torch.clamp(x, 2.0, -1.0), _ZEROS),
        (lambda x: x**2, lambda x: x**2, _ZEROS),
        (lambda x: x**1, lambda x: x**1, _ZEROS),
        (lambda x: x**0, lambda x: x**0, _ZEROS),
        (lambda x: np.prod(x), torch.prod, _ZEROS),
        (lambda x: np.prod(x, axis=1), lambda x: torch.prod(x, dim=1), _TIES),
        (lambda x: np.linalg.norm(x), torch.linalg.vector_norm, np.zeros(3, np.float32)),
        (
            lambda x: np.linalg.norm(x, axis=1),
            lambda x: torch.linalg.vector_norm(x, dim=1),
            np.array([[0.0, 0.0], [3.0, 4.0]], np.float32),
        ),
        (np.std, lambda x: torch.std(x, correction=0), np.ones(3, np.float32)),
        (
            lambda x: np.where(x > 0, x, 0.1 * x),
            lambda x: F.leaky_relu(x, 0.1),
            _ZEROS,
        ),
    ],
)
def test_kinks_are_pytorchs(ours: Any, theirs: Any, x: np.ndarray) -> None:
    _compare(ours, theirs, [x], [0])


def test_ties_of_a_pool_are_pytorchs() -> None:
    x = np.repeat(np.repeat(_TIES, 2, 0), 2, 1)[None, :, :, None]
    options = {"kernel_size": (2, 2), "stride": (1, 1)}
    _compare(
        lambda x: autodiff.max_pool2d(x, **options),
        lambda x: _max_pool2d(x, **options),
        [x],
        [0],
    )
    padded = {"kernel_size": (3, 3), "stride": (2, 2), "padding": (1, 1)}
    _compare(
        lambda x: autodiff.max_pool2d(-np.abs(x), **padded),
        lambda x: _max_pool2d(-torch.abs(x), **padded),
        [x - 10.0],
        [0],
    )
