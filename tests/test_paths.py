import copy
import fnmatch
import pickle
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeviz import KeyPath
from freezeviz.errors import SelectorError
from freezeviz.paths import compile_glob, is_glob, is_inside, join

NAME = st.text("abc01_", min_size=1, max_size=3)
PATH = st.lists(NAME, min_size=1, max_size=4).map(".".join)


# ---------------------------------------------------------------- KeyPath


@given(st.lists(NAME, max_size=5))
def test_a_key_path_is_its_names(names):
    path = KeyPath(*names)
    assert list(path) == names
    assert str(path) == ".".join(names)
    assert KeyPath.parse(str(path)) == path
    assert eval(repr(path)) == path
    assert hash(path) == hash(KeyPath(*names))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_key_path_pickles(protocol):
    path = KeyPath("layer_2", "layer_1")
    again = pickle.loads(pickle.dumps(path, protocol))
    assert again == path
    assert type(again) is KeyPath


def test_a_key_path_is_copied_as_one():
    path = KeyPath("a", "b")
    for again in (copy.copy(path), copy.deepcopy(path), copy.deepcopy([path])[0]):
        assert type(again) is KeyPath
        assert again == path


def test_the_empty_key_path_is_the_model():
    assert KeyPath() == KeyPath.parse("")
    assert str(KeyPath()) == ""
    assert KeyPath().child("a").child("0") == KeyPath("a", "0")


def test_names_become_strings():
    assert KeyPath("layers", 0) == KeyPath("layers", "0")


# ---------------------------------------------------------------- paths


def test_join_leaves_empty_parts_out():
    assert join("", "a", "", "b.c") == "a.b.c"
    assert join("", "") == ""


def test_inside_is_at_or_below():
    assert is_inside("a.b", "a")
    assert is_inside("a", "a")
    assert is_inside("a", "")
    assert not is_inside("ab", "a")
    assert not is_inside("a", "a.b")


# ---------------------------------------------------------------- globs

PATHS = [
    "", "weight", "layers", "layers.0", "layers.0.weight", "layers.10.weight", "layers.0.bias",
    "layers.0.attention.weight", "encoder.layers.0.attention.weight", "encoder_2.weight",
    "encoder", "encoder.ln.weight", "a.[x].b",
]  # fmt: skip


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("layers.*", ["layers.0"]),
        ("layers.*.weight", ["layers.0.weight", "layers.10.weight"]),
        ("layers.?.weight", ["layers.0.weight"]),
        ("layers.??.weight", ["layers.10.weight"]),
        ("*.weight", ["encoder_2.weight"]),
        ("*", ["", "weight", "layers", "encoder"]),
        ("**", PATHS),
        ("encoder.**", ["encoder.layers.0.attention.weight", "encoder.ln.weight"]),
        (
            "**.attention.*",
            ["layers.0.attention.weight", "encoder.layers.0.attention.weight"],
        ),
        (
            "**.weight",
            [p for p in PATHS if p.split(".")[-1] == "weight"],
        ),
        ("encoder.**.weight", ["encoder.layers.0.attention.weight", "encoder.ln.weight"]),
        ("**.0.**", [p for p in PATHS if ".0." in p]),
        ("encoder*.weight", ["encoder_2.weight"]),
        ("layers.[0-9].bias", ["layers.0.bias"]),
        ("layers.[12]*.weight", ["layers.10.weight"]),
        ("layers.[!0]*.weight", ["layers.10.weight"]),
        ("layers.0.[!w]*", ["layers.0.bias", "layers.0.attention.weight"][:1]),
        ("layers.0.[bw]?*t*", ["layers.0.weight"]),
        ("[!w]*", ["layers", "encoder"]),
        ("[^w]*", ["weight"]),
        ("**.[[]x].b", ["a.[x].b"]),
    ],
)
def test_globs(glob, expected):
    assert [path for path in PATHS if compile_glob(glob)(path)] == expected


@given(PATH)
def test_a_path_is_a_glob_that_matches_itself_alone(path):
    assert not is_glob(path)
    matches = compile_glob(path)
    assert matches(path)
    assert not matches(path + "x")
    assert not matches(path + ".x")


@given(PATH, st.text("abc01_*?", min_size=1, max_size=4))
def test_within_a_level_globs_are_the_shells(path, glob):
    if "**" in glob:
        return
    expected = "." not in path and fnmatch.fnmatchcase(path, glob)
    assert compile_glob(glob)(path) == expected


@given(PATH, PATH)
def test_two_stars_span_any_number_of_levels(above, path):
    assert compile_glob("**")(path)
    assert compile_glob(f"{above}.**")(f"{above}.{path}")
    assert compile_glob(f"**.{path}")(f"{above}.{path}")
    assert compile_glob(f"**.{path}")(path)
    assert not compile_glob(f"{above}.**")(above)


@given(st.text("ab.*?[]!-&~|^\\", max_size=8))
def test_a_glob_is_compiled_or_refused(glob):
    try:
        matches = compile_glob(glob)
    except SelectorError:
        return
    assert matches("a.b") in (True, False)


@pytest.mark.parametrize(
    ("glob", "message"),
    [
        ("layers.[0", "'[' without ']'"),
        ("layers.**x", "'**' must be a level of its own"),
        ("a***", "'**' must be a level of its own"),
        ("layers..*", "empty level"),
        (".*", "empty level"),
        ("*.", "empty level"),
        ("[z-a]", "bad character range"),
    ],
)
def test_a_malformed_glob_is_refused(glob, message):
    with pytest.raises(SelectorError, match=re.escape(message)):
        compile_glob(glob)


def test_a_set_matches_what_a_regex_would_take_for_operators():
    for character in "&|~^\\":
        assert compile_glob(f"[a{character}{character}]")(character)
        assert not compile_glob(f"[!a{character}]")(character)
