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


GOOD = {"view": "v", "seq": 1}
LOOK = {"format": "png", "plot": "curves", "x": "step", "metrics": ["loss"], "smooth": 0.5}


def test_what_is_done_is_done_to_paths_or_by_a_selector():
    message = parse_message({"type": "do", "action": "lock", "paths": ["", "a.b"]} | GOOD)
    assert (message.action, message.paths, message.selector) == ("lock", ("", "a.b"), None)
    message = parse_message({"type": "do", "action": "freeze", "selector": "**.bias"} | GOOD)
    assert (message.action, message.paths, message.selector) == ("freeze", (), "**.bias")


def test_a_preset_has_a_name_and_may_have_a_place():
    message = parse_message({"type": "do", "action": "preset", "name": "invert"} | GOOD)
    assert (message.action, message.name, message.at) == ("preset", "invert", None)
    up_to = {"type": "do", "action": "preset", "name": "up_to", "at": "layers.1"}
    assert parse_message(up_to | GOOD).at == "layers.1"


def test_a_selection_may_be_empty():
    assert parse_message({"type": "select", "paths": []} | GOOD).paths == ()


def test_questions_have_their_arguments():
    def ask(about, **rest):
        return parse_message({"type": "ask", "about": about} | rest | GOOD)

    preview = ask("preview", selector="type:Linear", action="unfreeze")
    assert (preview.about, preview.selector, preview.action) == (
        "preview",
        "type:Linear",
        "unfreeze",
    )
    assert ask("details", path="a").paths == ("a",)
    assert ask("trends", rows=[3, 0], version=2).rows == (3, 0)
    assert (ask("curves", first=0, last=9).first, ask("curves", first=0, last=9).last) == (0, 9)
    assert ask("code").about == "code"
    assert ask("policy").about == "policy"
    look = {name: value for name, value in LOOK.items() if name != "format"}
    assert ask("export", **LOOK).format == LOOK["format"]
    assert ask("export", **LOOK).look == look | {"log": False, "table": False}
    assert ask("export", **LOOK, log=True).look == look | {"log": True, "table": False}


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
        ({"type": "do"} | GOOD, "unknown action None"),
        ({"type": "do", "action": "__init__", "paths": ["a"]} | GOOD, "unknown action"),
        ({"type": "do", "action": ["lock"], "paths": ["a"]} | GOOD, "unknown action"),
        ({"type": "do", "action": "lock", "paths": []} | GOOD, "'paths' must name something"),
        ({"type": "do", "action": "lock", "selector": "a"} | GOOD, "'paths' must be a list"),
        ({"type": "do", "action": "freeze", "paths": [1]} | GOOD, "'paths' must be a list"),
        ({"type": "do", "action": "freeze", "paths": "a"} | GOOD, "'paths' must be a list"),
        ({"type": "do", "action": "freeze", "selector": 3} | GOOD, "'selector' must be a text"),
        ({"type": "do", "action": "freeze", "selector": "a" * 2001} | GOOD, "'selector' must be"),
        ({"type": "do", "action": "preset"} | GOOD, "'name' must be a text"),
        ({"type": "do", "action": "preset", "name": "up_to", "at": 3} | GOOD, "'at' must be"),
        ({"type": "select"} | GOOD, "'paths' must be a list"),
        ({"type": "fold", "paths": ["a"]} | GOOD, "'open' must be true or false"),
        ({"type": "fold", "open": 1, "paths": ["a"]} | GOOD, "'open' must be true or false"),
        ({"type": "fold", "open": True, "paths": [1]} | GOOD, "'paths' must be a list"),
        ({"type": "columns", "columns": "type"} | GOOD, "'columns' must be a list of names"),
        ({"type": "columns", "columns": [1]} | GOOD, "'columns' must be a list of names"),
        ({"type": "plots"} | LOOK | GOOD | {"x": None}, "'x' must be"),
        ({"type": "plots"} | LOOK | GOOD | {"smooth": float("nan")}, "'smooth' must be"),
        ({"type": "ask"} | GOOD, "unknown question None"),
        ({"type": "ask", "about": "secrets"} | GOOD, "unknown question 'secrets'"),
        ({"type": "ask", "about": {}} | GOOD, "unknown question"),
        ({"type": "ask", "about": "preview", "selector": "a"} | GOOD, "unknown action"),
        ({"type": "ask", "about": "preview", "action": "freeze"} | GOOD, "'selector' must be"),
        ({"type": "ask", "about": "details"} | GOOD, "'path' must be"),
        ({"type": "ask", "about": "trends", "rows": [-1], "version": 1} | GOOD, "'rows' must be"),
        ({"type": "ask", "about": "trends", "rows": [True], "version": 1} | GOOD, "'rows' must"),
        ({"type": "ask", "about": "trends", "rows": [0] * 1001} | GOOD, "'rows' must be"),
        ({"type": "ask", "about": "trends", "rows": [0]} | GOOD, "'version' must be"),
        ({"type": "ask", "about": "curves", "first": 0.5, "last": 9} | GOOD, "'first' must be"),
        ({"type": "ask", "about": "curves", "first": 0, "last": 2**60} | GOOD, "'last' must be"),
        ({"type": "ask", "about": "export"} | LOOK | GOOD | {"format": "exe"}, "'format' must be"),
        ({"type": "ask", "about": "export"} | LOOK | GOOD | {"plot": ""}, "'plot' must be"),
        ({"type": "ask", "about": "export"} | LOOK | GOOD | {"x": 3}, "'x' must be"),
        ({"type": "ask", "about": "export"} | LOOK | GOOD | {"metrics": [1]}, "'metrics' must"),
        ({"type": "ask", "about": "export"} | LOOK | GOOD | {"smooth": -1}, "'smooth' must be"),
    ],
)
def test_what_is_malformed_is_refused_with_a_short_reason(content, problem):
    with pytest.raises(ValueError, match=problem) as info:
        parse_message(content)
    assert len(str(info.value)) < 200
