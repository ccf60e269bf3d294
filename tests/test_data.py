"""Data sets."""

import hashlib
import sys

import numpy as np
import pytest

from freezeviz.data import digits
from freezeviz.errors import DataError, MissingExtraError


def test_digits_are_scaled_labelled_and_complete():
    d = digits()
    (x, y), (vx, vy) = d.train, d.validation
    assert x.shape == (1347, 64)
    assert vx.shape == (450, 64)
    assert x.dtype == np.float32
    assert y.dtype == vy.dtype == np.int64
    assert x.min() == 0
    assert x.max() == 1
    assert sorted(set(y)) == sorted(set(vy)) == list(range(10))


def test_no_sample_is_in_both_parts_and_none_is_lost():
    d = digits(seed=1)
    rows = [row.tobytes() for part in (d.train, d.validation) for row in part[0]]
    assert len(rows) == 1797
    assert len(set(rows)) == len({row.tobytes() for row in digits(validation=0).train[0]})


def test_every_class_gives_the_same_share():
    d = digits(validation=0.25)
    for label in range(10):
        kept, held = (np.sum(part[1] == label) for part in (d.train, d.validation))
        assert abs(held / (kept + held) - 0.25) < 0.01


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = digits(seed=4), digits(seed=4), digits(seed=5)
    assert first.train[0].tobytes() == again.train[0].tobytes()
    assert first.validation[1].tobytes() == again.validation[1].tobytes()
    assert first.train[0].tobytes() != other.train[0].tobytes()


def test_the_split_is_the_one_of_earlier_versions():
    d = digits(seed=0)
    digest = hashlib.sha256(d.train[0].tobytes() + d.train[1].tobytes()).hexdigest()
    assert digest[:16] == "e4dffd1e0d53df77"


def test_chosen_classes_are_relabelled_in_the_order_given():
    everything, some = digits(validation=0), digits(classes=[7, 5], validation=0)
    assert some.classes == (7, 5)
    assert set(some.train[1]) == {0, 1}
    sevens = {row.tobytes() for row in everything.train[0][everything.train[1] == 7]}
    assert {row.tobytes() for row in some.train[0][some.train[1] == 0]} == sevens


def test_images_keep_their_shape_when_asked():
    flat, images = digits(), digits(flat=False)
    assert images.train[0].shape == (1347, 8, 8, 1)
    assert images.train[0].tobytes() == flat.train[0].tobytes()


@pytest.mark.parametrize("classes", [[], [10], [-1], [1, 1]])
def test_impossible_classes_are_refused(classes):
    with pytest.raises(DataError, match="digits from 0 to 9"):
        digits(classes=classes)


@pytest.mark.parametrize("share", [1, 1.5, -0.1])
def test_an_impossible_share_is_refused(share):
    with pytest.raises(DataError, match="share"):
        digits(validation=share)


def test_without_scikit_learn_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"freezeviz\[lab\]"):
        digits()


def test_repr_is_short():
    assert repr(digits(classes=range(5), flat=False)) == (
        "Digits(676 to train on, 225 to validate, x (n, 8, 8, 1), classes 0, 1, 2, 3, 4)"
    )
