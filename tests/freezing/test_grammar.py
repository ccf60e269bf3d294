"""Selectors as text: what they mean, and where it is told if they mean nothing."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn
from freezeviz.errors import SelectorError
from freezeviz.freezing._grammar import (
    Both,
    Either,
    Glob,
    Others,
    Path,
    Regex,
    Type,
    Without,
    parse,
    quoted,
    union_parts,
)
from freezeviz.paths import compile_glob


class Named(nn.Module):
    """Parts under the names that are asked for."""

    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


def net():
    block = {"query-proj": nn.Linear(2, 2), "a b": nn.Linear(2, 2), "w[0]": nn.Linear(2, 2)}
    return Named(
        embed=nn.Embedding(3, 2),
        layers=[nn.Linear(2, 2), nn.LayerNorm(2), nn.Linear(2, 2)],
        block=block,
        head=nn.Linear(2, 2),
    )


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", Path("")),
        ("  ", Path("")),
        ('""', Path("")),
        ("encoder.layers.0", Path("encoder.layers.0")),
        ("  layer-1 ", Path("layer-1")),
        ("**.bias", Glob("**.bias")),
        ("layers.[0-5]", Glob("layers.[0-5]")),
        ("[!a|b]*", Glob("[!a|b]*")),
        ('"a*b"', Path("a*b")),
        ("'it \"is\"'", Path('it "is"')),
        ('"say \\"x\\" \\u00fc"', Path('say "x" ü')),
        ('blocks."a*b [0]".**', Glob("blocks.a[*]b [[]0].**")),
        ("type:Linear", Type("Linear", False)),
        ("type:*Norm", Type("*Norm", True)),
        ('type:"Odd[int]"', Type("Odd[int]", False)),
        ("re:a|b", Regex(re.compile("a|b"))),
        ("re:(q|k) x", Regex(re.compile("(q|k) x"))),
        ("re:[ |] ", Regex(re.compile("[ |]"))),
        ("re:[]) | (]x", Regex(re.compile("[]) | (]x"))),
        ("re:[^] | ]", Regex(re.compile("[^] | ]"))),
        ('re:"a | b"', Regex(re.compile("a | b"))),
        ("a|b", Either((Path("a"), Path("b")))),
        ("a & b & c", Both((Path("a"), Path("b"), Path("c")))),
        ("a - b - c", Without((Path("a"), Path("b"), Path("c")))),
        ("~a", Others(Path("a"))),
        ("~~a", Others(Others(Path("a")))),
        (
            "a | b & c - ~d",
            Either((Path("a"), Both((Path("b"), Without((Path("c"), Others(Path("d")))))))),
        ),
        ("(a | b) & c", Both((Either((Path("a"), Path("b"))), Path("c")))),
        ("(re:(x) | y) - z", Without((Either((Regex(re.compile("(x)")), Path("y"))), Path("z")))),
        ("re:x\\) | y", Either((Regex(re.compile("x\\)")), Path("y")))),
    ],
)
def test_texts_and_what_they_mean(text, meaning):
    assert parse(text) == meaning


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a |", r"expected a path, .* at character 4, got the end"),
        ("| a", r"expected a path, .* at character 1, got '\| a'"),
        ("a b", r"expected an operator \(\| & -\) or the end at character 3, got 'b'"),
        ("a - ", r"at character 5, got the end"),
        ("(a | b", r"expected '\)' for the '\(' at character 1 at character 7"),
        ("a)", r"expected an operator .* at character 2"),
        ("~", r"at character 2, got the end"),
        ('"a', r"a quote that is no string of JSON \(.*\) at character 1"),
        ("a | 'b", r"a quote without its end at character 5"),
        ("re:", r"expected a regular expression after 're:' at character 4"),
        ("x | re:(a", r"a malformed regular expression \(.*\) at character 8"),
        ("type:", r"at character 6, got the end"),
        ("a..*", "has an empty level"),
        ("***", "must be a level of its own"),
        ("[a*", r"'\[' without '\]'"),
        ("(" * 51 + "a", "at most 50 levels"),
        ("~" * 100_000 + "a", "at most 50 levels"),
    ],
)
def test_a_malformed_text_is_an_error_that_names_the_place(text, message):
    with pytest.raises(SelectorError, match=message):
        parse(text)


@given(st.text(alphabet="ab.*?[]()|&-~\"' :re\\type", max_size=30))
def test_any_text_is_a_selector_or_an_error_of_ours(text):
    try:
        parse(text)
        union_parts(text)
    except SelectorError:
        pass


@given(st.text(max_size=12))
def test_a_quoted_path_means_that_path(path):
    assert parse(quoted(path)) == Path(path)


@given(
    st.lists(
        st.sampled_from(["a", "(b | c) - d", 're:"x | y"', "re:(p|q)", "'|'", "~e"]), min_size=1
    )
)
def test_the_parts_of_a_union_are_those_it_was_made_of(parts):
    assert union_parts(" | ".join(parts)) == tuple(parts)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("type:Embedding", ["embed.weight"]),
        ("type:LayerNorm | head.bias", ["layers.1.weight", "layers.1.bias", "head.bias"]),
        ("type:*Norm & **.bias", ["layers.1.bias"]),
        ("layers - type:Linear", ["layers.1.weight", "layers.1.bias"]),
        ("~(block | layers | embed)", ["head.weight", "head.bias"]),
        ("re:^head.*bias$", ["head.bias"]),
        ("block.query-proj.bias", ["block.query-proj.bias"]),
        ('block."a b"', ["block.a b.weight", "block.a b.bias"]),
        ('block."a b".*.nothing | head', None),
        ('block."w[0]".b*', ["block.w[0].bias"]),
    ],
)
def test_select_understands_texts(text, paths):
    if paths is None:
        with pytest.raises(SelectorError, match="nothing matches"):
            fv.select(net(), text)
    else:
        assert list(fv.select(net(), text).paths) == paths


def test_a_type_is_found_by_the_name_of_a_class_that_it_derives_from():
    class Special(nn.Linear):
        pass

    model = Named(a=Special(2, 2), b=nn.Linear(2, 2))
    assert fv.select(model, "type:Linear").paths == fv.select(model, nn.Linear).paths
    assert fv.select(model, "type:Special").paths == ("a.weight", "a.bias")
    with pytest.raises(SelectorError, match=r"'type:Linaer'.*'Linear'"):
        fv.select(model, "type:Linaer")


def test_a_path_is_a_path_whatever_an_operator_in_it_would_mean():
    model = Named(block={"a | b": nn.Linear(2, 2), "it's": nn.Linear(2, 2), "~": nn.Linear(2, 2)})
    for name in ("a | b", "it's", "~"):
        assert len(fv.select(model, f"block.{name}")) == 2


def test_a_text_of_which_nothing_is_left_is_an_error():
    with pytest.raises(SelectorError, match="Its parts match, but nothing is left"):
        fv.select(net(), "head & embed")


def test_texts_do_what_the_operators_of_selections_do():
    model = net()
    a, b, c = (fv.select(model, what) for what in ("layers", "**.bias", "type:Linear"))
    assert fv.select(model, "layers | **.bias") == a | b
    assert fv.select(model, "layers & **.bias - type:LayerNorm") == a & (
        b - fv.select(model, nn.LayerNorm)
    )
    assert fv.select(model, "~type:Linear - layers") == ~c - a


_NAMES = st.sampled_from(["a", "b", "ab", "", "0", "a.b", "x[0]", "*", "bias"])


@given(
    st.lists(st.lists(_NAMES, min_size=1, max_size=4), min_size=1, max_size=8),
    st.lists(
        st.sampled_from(["a", "b", "*", "**", "?", "[ab]", "[!a]*", "0"]), min_size=1, max_size=4
    ),
)
def test_a_glob_over_the_tree_finds_what_it_matches_path_by_path(paths, levels):
    from freezeviz.adapters import LayerInfo, ParameterInfo
    from freezeviz.adapters._index import ParameterIndex

    names = dict.fromkeys(".".join(["m", *path]) for path in paths)
    parameters = tuple(ParameterInfo(name, (1,), "float32", 1, 4) for name in names)
    index = ParameterIndex(LayerInfo("", "Model", "Model", "", parameters, (), ()))
    pattern = ".".join(levels)
    matches = compile_glob(pattern)
    slow = {path for path in index.nodes if matches(path)} - {""}
    fast = {path for path, node in index.nodes.items() if node in set(index.matching(pattern))}
    assert fast - {""} == slow
