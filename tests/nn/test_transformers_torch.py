"""Attention and transformers against PyTorch.

Gradients are compared with the same computation written with torch's functions, and outputs with
torch's own modules, which fixes where the norms and the residual connections are.
"""

import numpy as np
import pytest

from freezeviz import nn
from freezeviz.errors import ShapeError

torch = pytest.importorskip("torch")
from tests.nn._torch import DTYPES, check, close, normal  # noqa: E402

F = torch.nn.functional
HEADS = 2


def tensor(array):
    return None if array is None else torch.from_numpy(np.array(array))


class At(dict):
    """Parameters below a path."""

    def __init__(self, parameters, path):
        super().__init__()
        for name, value in parameters.items():
            if name.startswith(f"{path}."):
                self[name.removeprefix(f"{path}.")] = value


def linear(p, x):
    return F.linear(x, p["weight"], p.get("bias"))


def attend(p, q, k, v, mask=None, heads=HEADS):
    q, k, v = (
        linear(At(p, f"{name}_proj"), x).unflatten(-1, (heads, -1)).transpose(1, 2)
        for name, x in (("query", q), ("key", k), ("value", v))
    )
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return linear(At(p, "out_proj"), y.transpose(1, 2).flatten(2))


def norm(p, x):
    return F.layer_norm(x, x.shape[-1:], p["weight"], p["bias"])


def feed_forward(p, x, activation):
    return linear(At(p, "linear2"), activation(linear(At(p, "linear1"), x)))


def encoder_layer(p, x, mask, first, activation=F.relu):
    if first:
        y = norm(At(p, "ln1"), x)
        x = x + attend(At(p, "attention"), y, y, y, mask)
        return x + feed_forward(p, norm(At(p, "ln2"), x), activation)
    x = norm(At(p, "ln1"), x + attend(At(p, "attention"), x, x, x, mask))
    return norm(At(p, "ln2"), x + feed_forward(p, x, activation))


def decoder_layer(p, x, memory, mask, memory_mask, first):
    own, cross = At(p, "self_attention"), At(p, "cross_attention")
    if first:
        y = norm(At(p, "ln1"), x)
        x = x + attend(own, y, y, y, mask)
        x = x + attend(cross, norm(At(p, "ln2"), x), memory, memory, memory_mask)
        return x + feed_forward(p, norm(At(p, "ln3"), x), F.relu)
    x = norm(At(p, "ln1"), x + attend(own, x, x, x, mask))
    x = norm(At(p, "ln2"), x + attend(cross, x, memory, memory, memory_mask))
    return norm(At(p, "ln3"), x + feed_forward(p, x, F.relu))


def encoder(p, x, mask, first, layers):
    for i in range(layers):
        x = encoder_layer(At(p, f"layers.{i}"), x, mask, first)
    return norm(At(p, "ln"), x)


def decoder(p, x, memory, mask, memory_mask, first, layers):
    for i in range(layers):
        x = decoder_layer(At(p, f"layers.{i}"), x, memory, mask, memory_mask, first)
    return norm(At(p, "ln"), x)


def attention_masks(dtype):
    rng = np.random.default_rng(7)
    some = rng.random((2, 1, 5, 6)) < 0.6
    some[..., 0] = True
    padding = np.ones((2, 1, 1, 6), bool)
    padding[1, ..., 4:] = False
    return {
        "none": None,
        "boolean": some,
        "padding": padding,
        "two-dimensional": some[0, 0],
        "additive": rng.standard_normal((2, 4, 5, 6)).astype(dtype),
        "infinite": np.where(some, 0, -np.inf).astype(dtype),
        "large": np.where(some, 0, np.finfo(dtype).min).astype(dtype),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", attention_masks("float32"))
def test_attention(name, bias, dtype):
    mask = attention_masks(dtype)[name]
    inputs = [normal((2, n, 8), dtype, seed) for seed, n in enumerate((5, 6, 6))]

    def reference(p, q, k, v):
        return attend(p, q, k, v, tensor(mask), heads=4)

    check(nn.MultiHeadAttention(8, 4, bias=bias), reference, inputs, dtype, mask=mask)


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_of_other_sizes(dtype):
    layer = nn.MultiHeadAttention(
        8,
        2,
        query_input_dims=5,
        key_input_dims=3,
        value_input_dims=7,
        value_dims=6,
        value_output_dims=9,
    )
    inputs = [normal((2, n, d), dtype, d) for n, d in ((4, 5), (3, 3), (3, 7))]
    check(layer, attend, inputs, dtype)


@pytest.mark.parametrize("sizes", [(0, 3, 3), (2, 1, 1), (1, 1, 1), (2, 0, 3)])
def test_attention_of_empty_and_single_inputs(sizes):
    batch, length, source = sizes
    inputs = [normal((batch, n, 4), "float64", n) for n in (length, source, source)]
    check(nn.MultiHeadAttention(4, HEADS), attend, inputs, "float64")


@pytest.mark.parametrize("kind", [bool, "float32"])
def test_a_query_that_sees_nothing_gets_zeros_not_nan(kind):
    mask = np.ones((4, 4), bool)
    mask[2] = False
    mask = mask if kind is bool else np.where(mask, 0, -np.inf).astype(kind)
    layer, x = nn.MultiHeadAttention(4, 2), normal((1, 4, 4), "float32")
    out = layer(x, x, x, mask)
    np.testing.assert_array_equal(out[0, 2], 0)
    assert np.isfinite(out).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_causal_mask_hides_later_positions(dtype):
    mask = nn.MultiHeadAttention.create_additive_causal_mask(5, dtype)
    assert mask.dtype == dtype
    layer = nn.MultiHeadAttention(4, 2).set_dtype(dtype)
    x = normal((1, 5, 4), dtype) * 3
    out = layer(x, x, x, mask)
    for t in range(1, 5):
        early = x[:, :t]
        part = layer(early, early, early, mask[:t, :t])
        tolerance = 5e-3 if dtype == "float16" else 1e-6
        np.testing.assert_allclose(out[:, :t], part, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_encoder_layer(masked, first, dtype):
    mask = attention_masks(dtype)["additive"][:, :HEADS, :, :5] if masked else None

    def reference(p, x):
        return encoder_layer(p, x, tensor(mask), first, F.gelu)

    layer = nn.TransformerEncoderLayer(4, HEADS, 6, activation=nn.gelu, norm_first=first)
    check(layer, reference, [normal((2, 5, 4), dtype)], dtype, mask=mask)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [True, False])
def test_encoder(first, dtype):
    def reference(p, x):
        return encoder(p, x, None, first, layers=2)

    layer = nn.TransformerEncoder(2, 4, HEADS, norm_first=first)
    check(layer, reference, [normal((2, 5, 4), dtype)], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [True, False])
def test_decoder_layer(first, dtype):
    mask, memory_mask = np.tril(np.ones((5, 5), bool)), attention_masks(dtype)["padding"]

    def reference(p, x, memory):
        return decoder_layer(p, x, memory, tensor(mask), tensor(memory_mask), first)

    layer = nn.TransformerDecoderLayer(4, HEADS, 6, norm_first=first)
    inputs = [normal((2, 5, 4), dtype), normal((2, 6, 4), dtype, 1)]
    check(layer, reference, inputs, dtype, x_mask=mask, memory_mask=memory_mask)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("batch", [2, 1, 0])
def test_transformer(batch, first, dtype):
    masks = {
        "src_mask": np.triu(np.ones((6, 6), bool)),
        "tgt_mask": np.tril(np.ones((5, 5), bool)),
        "memory_mask": np.ones((5, 6), bool),
    }

    def reference(p, src, tgt):
        source, target, memory = map(tensor, masks.values())
        seen = encoder(At(p, "encoder"), src, source, first, layers=2)
        return decoder(At(p, "decoder"), tgt, seen, target, memory, first, layers=1)

    model = nn.Transformer(4, HEADS, 2, 1, 6, norm_first=first)
    inputs = [normal((batch, 6, 4), dtype), normal((batch, 5, 4), dtype, 1)]
    check(model, reference, inputs, dtype, **masks)


# ---------------------------------------------------------------- torch's own modules

NAMES = {
    "attention": "self_attn",
    "self_attention": "self_attn",
    "cross_attention": "multihead_attn",
    "ln": "norm",
    "ln1": "norm1",
    "ln2": "norm2",
    "ln3": "norm3",
}


@torch.no_grad()
def copy(source, target):
    """Copy the weights of our module into torch's; its attention's biases become zero."""
    if isinstance(source, nn.MultiHeadAttention):
        projections = (source.query_proj, source.key_proj, source.value_proj)
        target.in_proj_weight.copy_(tensor(np.concatenate([p.weight for p in projections])))
        target.in_proj_bias.zero_()
        target.out_proj.bias.zero_()
        target.out_proj.weight.copy_(tensor(source.out_proj.weight))
        return
    if isinstance(source, nn.Linear | nn.LayerNorm):
        target.weight.copy_(tensor(source.weight))
        target.bias.copy_(tensor(source.bias))
        return
    for name, child in source.children().items():
        other = getattr(target, NAMES.get(name, name), None)
        if isinstance(child, list):
            for ours, theirs in zip(child, other, strict=True):
                copy(ours, theirs)
        elif not isinstance(child, nn.Dropout):
            copy(child, other)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("first", [True, False])
def test_same_as_torchs_transformer(first):
    model = nn.Transformer(8, HEADS, 2, 3, 12, norm_first=first)
    reference = torch.nn.Transformer(
        8, HEADS, 2, 3, 12, dropout=0.0, batch_first=True, norm_first=first
    )
    rng = np.random.default_rng(0)
    model.apply(lambda p: p + rng.standard_normal(p.shape).astype(p.dtype) * 0.2)
    copy(model, reference)
    src, tgt = normal((3, 6, 8), "float32"), normal((3, 5, 8), "float32", 1)
    hidden = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    expected = reference(tensor(src), tensor(tgt), tgt_mask=hidden).detach().numpy()
    causal = nn.MultiHeadAttention.create_additive_causal_mask(5)
    close(model(src, tgt, tgt_mask=causal), expected, 1e-5)


def test_transformer_uses_custom_parts():
    class Empty(nn.Module):
        def __len__(self):
            return 0

        def __call__(self, x, *masks):
            return x

    encoder = Empty()
    model = nn.Transformer(4, 2, 1, 1, custom_encoder=encoder)
    assert model.encoder is encoder
    assert isinstance(model.decoder, nn.TransformerDecoder)


# ---------------------------------------------------------------- bad input


def test_heads_must_divide_the_sizes():
    with pytest.raises(ValueError, match="dims=6 is no multiple of num_heads=4"):
        nn.MultiHeadAttention(6, 4)
    with pytest.raises(ValueError, match="value_dims=5 is no multiple of num_heads=2"):
        nn.MultiHeadAttention(4, 2, value_dims=5)


def test_attention_names_the_input_that_does_not_fit():
    model = nn.TransformerEncoder(1, 4, 2)
    with pytest.raises(ShapeError, match=r"queries of shape \(batch, length, dims\), got \(5, 4\)"):
        model(np.ones((5, 4), np.float32))
    layer, x = nn.MultiHeadAttention(4, 2), np.ones((1, 5, 4), np.float32)
    with pytest.raises(ShapeError, match=r"input_dims=4.*\(1, 5, 3\)"):
        layer(x, x[..., :3], x)
