from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freezeviz import tree_flatten, tree_map, tree_unflatten
from freezeviz.tree import tree_map_with_path

LEAVES = st.one_of(st.integers(), st.floats(allow_nan=False), st.text(max_size=3), st.none())
NAMES = st.text("abcxyz_", min_size=1, max_size=4)


def trees(lists):
    """Return trees without empty containers; with `lists`, some levels are lists."""

    def deeper(children):
        dicts = st.dictionaries(NAMES, children, min_size=1, max_size=4)
        return dicts | st.lists(children, min_size=1, max_size=4) if lists else dicts

    return st.recursive(LEAVES, deeper, max_leaves=20)


@given(trees(lists=True))
def test_unflatten_is_the_inverse_of_flatten(tree):
    assert tree_unflatten(tree_flatten(tree)) == tree
    assert tree_unflatten(dict(tree_flatten(tree))) == tree


@given(trees(lists=True))
def test_flatten_visits_what_map_visits(tree):
    seen = []
    same = tree_map(lambda leaf: seen.append(leaf) or leaf, tree)
    assert same == tree
    assert seen == [leaf for _, leaf in tree_flatten(tree)]


@given(trees(lists=True))
def test_paths_are_those_of_flatten(tree):
    assert tree_flatten(
        tree_map_with_path(lambda path, leaf: (path, leaf), tree), is_leaf=is_pair
    ) == [(path, (path, leaf)) for path, leaf in tree_flatten(tree)]


def is_pair(x):
    return isinstance(x, tuple)


@given(trees(lists=True), st.integers(), st.integers())
def test_maps_compose(tree, a, b):
    one = tree_map(lambda x: (x, a, b), tree)
    two = tree_map(lambda x: (*x, b), tree_map(lambda x: (x, a), tree), is_leaf=is_pair)
    assert one == two


@given(trees(lists=True))
def test_map_takes_further_trees(tree):
    assert tree_map(lambda *x: x, tree, tree, tree) == tree_map(lambda x: (x, x, x), tree)


@given(trees(lists=True), NAMES)
def test_a_prefix_comes_before_every_path(tree, prefix):
    flat = tree_flatten(tree, prefix)
    assert all(path == prefix or path.startswith(prefix + ".") for path, _ in flat)
    assert tree_unflatten(flat) == (tree_unflatten([(prefix, 0)]) | {prefix: tree})


def test_flatten_stops_where_it_is_told():
    tree = {"a": [1, 2], "b": {"c": (3, 4)}}
    assert tree_flatten(tree, is_leaf=lambda x: isinstance(x, list)) == [
        ("a", [1, 2]),
        ("b.c.0", 3),
        ("b.c.1", 4),
    ]
    assert tree_map(len, tree, is_leaf=lambda x: isinstance(x, list | tuple)) == {
        "a": 2,
        "b": {"c": 2},
    }


def test_empty_containers_have_no_leaves():
    assert tree_flatten({"a": {}, "b": [], "c": ()}) == []
    assert tree_map(str, {"a": {}, "b": [], "c": ()}) == {"a": {}, "b": [], "c": ()}
    assert tree_unflatten([]) == {}


def test_a_single_leaf_is_a_tree():
    assert tree_flatten(3) == [("", 3)]
    assert tree_unflatten([("", 3)]) == 3
    assert tree_map(str, 3) == "3"


def test_gaps_in_a_list_are_filled():
    assert tree_unflatten([("a.2", "x"), ("a.0.w", "y")]) == {"a": [{"w": "y"}, {}, "x"]}


@pytest.mark.parametrize("names", [["01", "1"], ["0", "x"], ["-1", "0"], ["٣"], ["1e2"]])
def test_names_that_only_look_like_indices_stay_names(names):
    flat = [(name, i) for i, name in enumerate(names)]
    assert tree_unflatten(flat) == dict(flat)


def test_empty_leaves_stay_what_they_are():
    assert tree_unflatten([("a", {}), ("b.0", [])]) == {"a": {}, "b": [[]]}


@pytest.mark.parametrize(
    "paths", [["a", "a"], ["a", "a.b"], ["a.b", "a"], ["a.b.c", "a.b"], ["a.0", "a.0.x"]]
)
def test_a_path_that_is_leaf_and_branch_is_refused(paths):
    with pytest.raises(ValueError, match="path 'a"):
        tree_unflatten([(path, {"leaf": i}) for i, path in enumerate(paths)])
    with pytest.raises(ValueError, match="path 'a"):
        tree_unflatten([(path, {}) for path in paths])


class Point(NamedTuple):
    x: object
    y: object


def test_tuples_keep_their_kind():
    tree = {"p": Point(1, (2, 3))}
    assert tree_map(str, tree) == {"p": Point("1", ("2", "3"))}
    assert isinstance(tree_map(str, tree)["p"], Point)
    assert isinstance(tree_map_with_path(lambda path, x: path, tree)["p"], Point)
    assert tree_map_with_path(lambda path, x: path, tree)["p"].y == ("p.1.0", "p.1.1")


def test_arrays_are_leaves():
    tree = {"w": np.arange(3)}
    ((path, leaf),) = tree_flatten(tree)
    assert path == "w"
    assert leaf is tree["w"]
    np.testing.assert_array_equal(tree_map(lambda x: x + 1, tree)["w"], [1, 2, 3])


def test_a_further_tree_with_less_in_it_is_an_error():
    with pytest.raises(KeyError):
        tree_map(lambda x, y: x, {"a": 1}, {})
    with pytest.raises(IndexError):
        tree_map(lambda x, y: x, [1, 2], [1])


def test_ten_thousand_levels_wide_and_two_hundred_deep():
    wide = {str(i) + "x": i for i in range(10_000)}
    assert tree_unflatten(tree_flatten(wide)) == wide
    deep = 1
    for _ in range(200):
        deep = {"a": [deep]}
    assert tree_unflatten(tree_flatten(deep)) == deep


@pytest.mark.parametrize("other", [{"b": 1}, {}, [1], 3])
def test_a_further_tree_without_a_leaf_is_named(other):
    for call in (tree_map, tree_map_with_path):
        with pytest.raises(KeyError, match="the first tree has 'a', tree 2 has not"):
            call(lambda *leaves: leaves, {"a": 1}, other)
