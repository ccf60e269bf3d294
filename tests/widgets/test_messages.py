"""A page can send anything; only what is well-formed gets through."""

import pytest

from freezeviz.widgets._messages import parse_message


def test_a_toggle_names_the_rows_that_were_clicked():
    clicks = [{"id": 7, "path": "layers.0", "t": 1.5}, {"id": 0, "path": "", "t": 1.6}]
    message = parse_message({"type": "toggle", "view": "v", "seq": 3, "clicks": clicks})
    assert (message.type, message.view, message.seq) == ("toggle", "v", 3)
    assert message.clicks == ((7, "layers.0"), (0, ""))


def test_start_has_a_number_of_epochs():
    assert parse_message({"type": "start", "view": "v", "seq": 1, "epochs": 5}).epochs == 5


def test_hello_tells_the_size_of_the_picture():
    message = parse_message({"type": "hello", "view": "v", "seq": 0, "width": 640, "ratio": 1.5})
    assert (message.width, message.ratio) == (640, 1.5)


GOOD = {"view": "v", "seq": 1}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "expected an object, got NoneType"),
        ("toggle", "expected an object, got str"),
        ([], "expected an object"),
        ({}, "unknown type None"),
        ({"type": ["toggle"]} | GOOD, "unknown type"),
        ({"type": "__class__"} | GOOD, "unknown type '__class__'"),
        ({"type": "undo", "seq": 1}, "'view' must be"),
        ({"type": "undo", "view": "", "seq": 1}, "'view' must be"),
        ({"type": "undo", "view": "x" * 65, "seq": 1}, "'view' must be"),
        ({"type": "undo", "view": "v", "seq": -1}, "'seq' must be"),
        ({"type": "undo", "view": "v", "seq": True}, "'seq' must be"),
        ({"type": "undo", "view": "v", "seq": 1.5}, "'seq' must be"),
        ({"type": "toggle"} | GOOD, "'clicks' must be a list"),
        ({"type": "toggle", "clicks": []} | GOOD, "'clicks' must be a list"),
        ({"type": "toggle", "clicks": {}} | GOOD, "'clicks' must be a list"),
        ({"type": "toggle", "clicks": [{}] * 10_001} | GOOD, "'clicks' must be a list"),
        ({"type": "toggle", "clicks": [7]} | GOOD, "a click needs"),
        ({"type": "toggle", "clicks": [{"id": "0", "path": "a"}]} | GOOD, "a click needs"),
        ({"type": "toggle", "clicks": [{"id": 0}]} | GOOD, "a click needs"),
        ({"type": "toggle", "clicks": [{"id": 0, "path": 3}]} | GOOD, "a click needs"),
        ({"type": "start", "epochs": 0} | GOOD, "'epochs' must be"),
        ({"type": "start", "epochs": 1e3} | GOOD, "'epochs' must be"),
        ({"type": "start", "epochs": 10**9} | GOOD, "'epochs' must be"),
        ({"type": "start", "epochs": "many" * 1000} | GOOD, "'epochs' must be"),
        ({"type": "hello", "width": -1, "ratio": 1} | GOOD, "'width' must be"),
        ({"type": "hello", "width": 10**9, "ratio": 1} | GOOD, "'width' must be"),
        ({"type": "size", "width": 1, "ratio": "big"} | GOOD, "'ratio' must be"),
        ({"type": "size", "width": 1, "ratio": float("nan")} | GOOD, "'ratio' must be"),
        ({"type": "size", "width": 1, "ratio": float("inf")} | GOOD, "'ratio' must be"),
    ],
)
def test_what_is_malformed_is_refused_with_a_short_reason(content, problem):
    with pytest.raises(ValueError, match=problem) as info:
        parse_message(content)
    assert len(str(info.value)) < 200
