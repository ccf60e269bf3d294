import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import KeyPath, nn, tree_flatten
from freezeviz.errors import SelectorError


class Bag(nn.Module):
    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            setattr(self, name, value)


def transformer():
    return nn.Transformer(
        dims=4, num_heads=2, num_encoder_layers=2, num_decoder_layers=1, mlp_dims=6
    )


def frozen(model):
    return tuple(path for path, _ in tree_flatten(model.frozen_parameters()))


def paths(model):
    return tuple(path for path, _ in model.named_parameters())


T = transformer()
ALL = paths(T)


def those(test):
    return tuple(path for path in ALL if test(path))


# ---------------------------------------------------------------- each kind of selector


@pytest.mark.parametrize(
    ("what", "test"),
    [
        ("", lambda p: True),
        ("**", lambda p: True),
        ("encoder", lambda p: p.startswith("encoder.")),
        ("encoder.**", lambda p: p.startswith("encoder.")),
        ("encoder.*", lambda p: p.startswith("encoder.")),
        ("encoder.layers", lambda p: p.startswith("encoder.layers.")),
        ("encoder.layers.1", lambda p: p.startswith("encoder.layers.1.")),
        ("encoder.layers.*.linear1.bias", lambda p: bool(re.match(r"enc.*linear1\.bias", p))),
        ("encoder.layers.[1-9]", lambda p: p.startswith("encoder.layers.1.")),
        ("*.layers.[!0]", lambda p: p.startswith("encoder.layers.1.")),
        ("**.ln?", lambda p: ".ln1." in p or ".ln2." in p or ".ln3." in p),
        ("**.*attention", lambda p: "attention." in p),
        ("**.bias", lambda p: p.endswith(".bias")),
        ("decoder.ln.weight", lambda p: p == "decoder.ln.weight"),
        (re.compile(r"attention\.\w+\.weight$"), lambda p: "attention." in p),
        (re.compile(r"^enc.*bias"), lambda p: p.startswith("enc") and p.endswith("bias")),
        (KeyPath("encoder", "ln"), lambda p: p.startswith("encoder.ln.")),
        (KeyPath(), lambda p: True),
        (nn.LayerNorm, lambda p: ".ln" in p),
        (nn.TransformerEncoderLayer, lambda p: p.startswith("encoder.layers.")),
        (nn.MultiHeadAttention, lambda p: "attention." in p),
        (nn.Module, lambda p: True),
        (lambda path, value: value.ndim == 1, lambda p: p.endswith("bias") or ".ln" in p),
        (lambda path, value: "ln1" in path, lambda p: ".ln1." in p),
        (["encoder.ln", "decoder.ln"], lambda p: p.count(".") == 2 and ".ln." in p),
        (("encoder.ln", [nn.LayerNorm]), lambda p: ".ln" in p),
        ({"encoder.ln"}, lambda p: p.startswith("encoder.ln.")),
        (["**.ln1.bias", re.compile("ln2.bias")], lambda p: bool(re.search("ln[12].bias", p))),
    ],
)
def test_what_is_selected(what, test):
    selection = fv.select(T, what)
    assert selection.paths == those(test)
    assert 0 < len(selection) == len(selection.paths)


def test_several_selectors_are_united_in_the_models_order():
    assert fv.select(T, "decoder.ln", "encoder.ln").paths == (
        "encoder.ln.weight",
        "encoder.ln.bias",
        "decoder.ln.weight",
        "decoder.ln.bias",
    )


def test_a_selection_selects_what_it_holds():
    one = fv.select(T, "encoder.ln")
    assert fv.select(T, one) == one
    assert fv.select(T, [one, "decoder.ln"]) == one | fv.select(T, "decoder.ln")


def test_subclasses_are_of_their_bases_type():
    class Wide(nn.Linear):
        pass

    model = nn.Sequential(Wide(2, 2), nn.Linear(2, 1))
    assert fv.select(model, nn.Linear).paths == paths(model)
    assert fv.select(model, Wide).paths == ("layers.0.weight", "layers.0.bias")


def test_list_and_dict_containers_have_paths():
    model = Bag(heads={"a": nn.Linear(1, 1), "b": [nn.Linear(1, 1), np.ones(2)]})
    assert sorted(fv.select(model, "heads")) == sorted(paths(model))
    # A layer's own parameters come before those of the layers below it.
    assert fv.select(model, "heads.b").paths == ("heads.b.1", "heads.b.0.weight", "heads.b.0.bias")
    assert fv.select(model, "heads.?.1").paths == ("heads.b.1",)


def test_a_name_is_not_a_prefix():
    model = Bag(enc=nn.Linear(1, 1), encoder=nn.Linear(1, 1), enc_2=np.ones(1))
    assert fv.select(model, "enc").paths == ("enc.weight", "enc.bias")
    assert fv.select(model, "enc.**").paths == ("enc.weight", "enc.bias")


def test_the_predicate_gets_copies():
    model = nn.Linear(2, 2)

    def spoil(path, value):
        value[...] = 0
        return True

    fv.select(model, spoil)
    assert model.weight.any()


def test_the_predicate_sees_frozen_and_tied_parameters():
    model = Bag(a=nn.Linear(2, 2), b=nn.Linear(2, 2)).freeze()
    model.b.weight = model.a.weight
    seen = []
    fv.select(model, lambda path, value: seen.append((path, value.shape)) or True)
    assert seen == [("a.weight", (2, 2)), ("a.bias", (2,)), ("b.bias", (2,))]


# ---------------------------------------------------------------- shared and tied


@pytest.fixture
def tied():
    model = Bag(embed=nn.Embedding(4, 3), head=nn.Linear(3, 4), body=nn.Linear(3, 3))
    model.head.weight = model.embed.weight
    return model


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("head.weight", ("embed.weight",)),
        ("head", ("embed.weight", "head.bias")),
        ("h*", ("embed.weight", "head.bias")),
        ("**.weight", ("embed.weight", "body.weight")),
        (re.compile("^head"), ("embed.weight", "head.bias")),
        (nn.Linear, ("embed.weight", "head.bias", "body.weight", "body.bias")),
        (nn.Embedding, ("embed.weight",)),
    ],
)
def test_a_tied_parameter_is_picked_by_any_of_its_names(tied, what, expected):
    assert fv.select(tied, what).paths == expected
    fv.freeze(tied, what)
    assert frozen(tied) == expected
    fv.unfreeze(tied, what)
    assert frozen(tied) == ()


@pytest.mark.parametrize("what", ["b", "b.lin", "b.lin.weight", "b.*.weight", re.compile("^b")])
def test_a_shared_layer_is_picked_by_any_of_its_paths(what):
    inner = Bag(lin=nn.Linear(1, 1, bias=False))
    model = Bag(a=inner, b=inner)
    assert fv.select(model, what).paths == ("a.lin.weight",)


# ---------------------------------------------------------------- freezing


def test_freezing_and_unfreezing_return_the_selection():
    model = transformer()
    selection = fv.freeze(model, "encoder.**", "**.bias")
    assert frozen(model) == selection.paths
    assert selection.freeze() is selection
    back = fv.unfreeze(model, "encoder.layers.1")
    assert frozen(model) == (selection - back).paths
    assert selection.unfreeze() is selection
    assert frozen(model) == ()


def test_a_selection_outlives_what_happens_to_the_model():
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    selection = fv.select(model, "layers.1")
    model.layers[1] = nn.Linear(1, 2)
    selection.freeze()
    assert frozen(model) == ("layers.1.weight", "layers.1.bias")
    del model.layers[1]
    with pytest.raises(SelectorError, match=r"no parameter 'layers\.1\.weight'"):
        selection.unfreeze()


def test_an_error_freezes_nothing():
    model = transformer()
    with pytest.raises(SelectorError):
        fv.freeze(model, "encoder", "nope")
    with pytest.raises(SelectorError):
        fv.freeze(model, ["encoder", re.compile("nope")])
    assert frozen(model) == ()


def test_buffers_are_not_selected():
    model = nn.Sequential(nn.BatchNorm(2))
    assert fv.select(model, "**").paths == ("layers.0.weight", "layers.0.bias")
    with pytest.raises(SelectorError, match="running_mean"):
        fv.select(model, "layers.0.running_mean")


# ---------------------------------------------------------------- nothing found


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("encodr", r"nothing matches 'encodr' in Transformer\. Closest: 'encoder'"),
        ("encodr.*", r"nothing matches 'encodr\.\*' in Transformer\. Closest: 'encoder"),
        ("encoder.layers.7", r"Closest: 'encoder\.layers\.[01]'"),
        ("encoder.layers[0]", r"Closest: .*'encoder\.layers\.0'"),
        ("encoder.layers.0.dropout1", "There is a layer, but it has no parameters"),
        ("**.dropout?", "There is a layer, but it has no parameters"),
        ("qqqqqqqqqqqq", "Known: 'decoder', 'decoder.layers'"),
        (KeyPath("encoder", "ln0"), r"Closest: .*'encoder\.ln'"),
        (KeyPath("*"), r"nothing matches '\*'"),
        (re.compile("nope"), "nothing matches the regex 'nope' in Transformer"),
        (nn.BatchNorm, "nothing matches the type BatchNorm in Transformer"),
        (nn.Dropout, "nothing matches the type Dropout.*no parameters"),
        (int, "nothing matches the type int"),
        (lambda path, value: False, "nothing matches the predicate"),
        ([], "no selector is given"),
        (["encoder", []], "no selector is given"),
        ("encoder.[", r"'\[' without '\]'"),
        ("encoder.**x", "must be a level of its own"),
    ],
)
def test_no_match_is_an_error_that_helps(what, message):
    with pytest.raises(SelectorError, match=message):
        fv.select(T, what)
    with pytest.raises(LookupError):
        fv.select(T, what)


def test_no_selector_at_all_is_an_error():
    for call in (fv.select, fv.freeze, fv.unfreeze):
        with pytest.raises(SelectorError, match="'' selects the whole model"):
            call(T)


def test_a_model_without_parameters_has_nothing_to_select():
    with pytest.raises(SelectorError, match="no parameters"):
        fv.select(nn.ReLU(), "")
    with pytest.raises(SelectorError):
        fv.select(nn.ReLU(), "**")


@pytest.mark.parametrize("what", [3, None, 1.5, b"encoder", {"encoder": True}])
def test_what_is_no_selector_is_refused(what):
    with pytest.raises(TypeError, match=f"a selector is .* got {type(what).__name__}"):
        fv.select(T, what)


def test_what_is_no_model_is_refused():
    with pytest.raises(TypeError, match=r"expected a model of freezeviz.*builtins\.dict"):
        fv.select({"w": np.ones(1)}, "w")


# ---------------------------------------------------------------- set algebra

SUBSETS = st.sets(st.sampled_from(ALL), min_size=1)
EVERYTHING = fv.select(T, "")


def selection_of(subset):
    return fv.select(T, sorted(subset))


@settings(deadline=None)
@given(SUBSETS, SUBSETS)
def test_selections_are_sets(a, b):
    x, y = selection_of(a), selection_of(b)
    assert set((x | y).paths) == a | b
    assert set((x & y).paths) == a & b
    assert set((x - y).paths) == a - b
    assert set((~x).paths) == set(ALL) - a
    assert len(x & y) == len(a & b)


@settings(deadline=None, max_examples=30)
@given(SUBSETS, SUBSETS, SUBSETS)
def test_the_laws_of_sets(a, b, c):
    x, y, z = map(selection_of, (a, b, c))
    assert ~(x | y) == ~x & ~y
    assert ~(x & y) == ~x | ~y
    assert x & (y | z) == (x & y) | (x & z)
    assert x - y == x & ~y
    assert ~~x == x
    assert x | ~x == EVERYTHING
    assert len(x & ~x) == 0
    assert hash(x | y) == hash(y | x)


@settings(deadline=None, max_examples=30)
@given(SUBSETS)
def test_order_is_the_models_however_they_were_combined(a):
    x = selection_of(a)
    assert x.paths == those(a.__contains__)
    assert list(x) == list(x.paths)
    assert (~x).paths == those(lambda path: path not in a)


def test_an_empty_selection_freezes_nothing():
    model = transformer()
    nothing = fv.select(model, "encoder") & fv.select(model, "decoder")
    assert len(nothing) == 0
    assert not nothing
    nothing.freeze(hold=True).unfreeze()
    assert frozen(model) == ()
    assert not any(m.held for m in model.modules())


def test_selections_of_two_models_do_not_combine():
    other = fv.select(transformer(), "encoder")
    mine = fv.select(T, "encoder")
    for combine in (lambda: mine | other, lambda: mine & other, lambda: mine - other):
        with pytest.raises(ValueError, match="two different models"):
            combine()
    with pytest.raises(ValueError, match="another model"):
        fv.select(T, other)
    assert mine != other


def test_selections_combine_with_selections_only():
    mine = fv.select(T, "encoder")
    for combine in (lambda: mine | {"encoder"}, lambda: mine & "encoder", lambda: mine - None):
        with pytest.raises(TypeError):
            combine()
    assert mine != mine.paths


def test_a_selection_contains_paths():
    mine = fv.select(T, "encoder.ln")
    assert "encoder.ln.weight" in mine
    assert KeyPath("encoder", "ln", "bias") in mine
    assert "encoder.ln" not in mine


def test_a_selection_prints():
    few, many = fv.select(T, "encoder.ln"), fv.select(T, "encoder")
    assert repr(few) == (
        f"Selection(2 of {len(ALL)} parameters: 'encoder.ln.weight', 'encoder.ln.bias')"
    )
    assert repr(many).endswith(", ...)")


# ---------------------------------------------------------------- size


def test_large_models_are_selected_from_quickly():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(2000)])
    assert len(fv.select(model, "**.weight")) == 2000
    assert len(fv.select(model, lambda path, value: value.ndim == 1)) == 2000
    assert len(fv.select(model, nn.Linear)) == 4000
    assert len(fv.freeze(model, "layers.1???")) == 2000
    with pytest.raises(SelectorError, match=r"Closest: 'layers\.1999'"):
        fv.select(model, "layer.1999")
