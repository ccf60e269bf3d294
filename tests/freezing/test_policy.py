"""Policies: plain data that freezes any model with such names, or says why it cannot."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import nn
from freezeviz.adapters import adapt
from freezeviz.errors import PolicyError, SelectorError
from freezeviz.freezing import Policy, PolicyStep


def net():
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm(2), nn.Dropout(0.5), nn.Linear(2, 2))


def text(steps, version=1, **more):
    return json.dumps({"format": "freezeviz-policy", "version": version, "steps": steps} | more)


STEP = {"action": "freeze", "select": ""}


def test_steps_are_carried_out_one_after_another():
    model = net()
    Policy(
        [
            PolicyStep("freeze", "type:BatchNorm", hold=True),
            PolicyStep("freeze", ""),
            PolicyStep("unfreeze", "layers.3 | layers.0.bias"),
        ]
    ).apply(model)
    assert adapt(model).frozen() == {"layers.0.weight", "layers.1.weight", "layers.1.bias"}
    assert adapt(model).held() == {"layers.1"}


def test_nothing_is_changed_if_a_step_matches_nothing():
    model = net()
    policy = Policy([PolicyStep("freeze", ""), PolicyStep("unfreeze", "haed")])
    with pytest.raises(SelectorError, match=r"steps\[1\] of the policy: nothing matches 'haed'"):
        policy.apply(model)
    assert adapt(model).frozen() == frozenset()


def test_a_model_of_no_known_framework_is_an_error():
    with pytest.raises(TypeError, match="expected a model"):
        Policy().apply(object())


def test_a_file_brings_the_policy_back(tmp_path):
    policy = Policy([PolicyStep("freeze", 'a."ü | *"', True), PolicyStep("unfreeze", "re:x")])
    policy.save(tmp_path / "policy.json")
    assert fv.Policy.load(tmp_path / "policy.json") == policy
    assert hash(fv.Policy.load(str(tmp_path / "policy.json"))) == hash(policy)
    data = json.loads((tmp_path / "policy.json").read_text(encoding="utf-8"))
    assert data == {
        "format": "freezeviz-policy",
        "version": 1,
        "steps": [
            {"action": "freeze", "select": 'a."ü | *"', "hold": True},
            {"action": "unfreeze", "select": "re:x"},
        ],
    }


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=8), st.booleans()), max_size=4))
def test_any_policy_survives_its_json(parts):
    steps = []
    for freeze, name, hold in parts:
        select = json.dumps(name)
        steps.append(PolicyStep("freeze" if freeze else "unfreeze", select, freeze and hold))
    policy = Policy(steps)
    assert Policy.from_json(policy.to_json()) == policy


def test_the_terms_of_a_step_are_those_that_it_unites():
    assert PolicyStep("freeze", "a | (b | c) - d | '|'").terms == ("a", "(b | c) - d", "'|'")


def test_it_prints_as_what_it_does():
    policy = Policy([PolicyStep("freeze", "", True), PolicyStep("unfreeze", "head")])
    assert repr(policy) == "Policy(\n  freeze everything, held\n  unfreeze head)"
    assert repr(Policy()) == "Policy(nothing is frozen)"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "a policy is a text of JSON"),
        ("{", "a policy is a text of JSON"),
        ("[" * 100_000, "a policy is a text of JSON"),
        ('{"version": ' + "9" * 5_000 + "}", "a policy is a text of JSON"),
        ("[]", "the policy: expected an object, got list"),
        ("{}", "the policy: there is no 'format'"),
        (text([], format="onnx"), "format: expected 'freezeviz-policy', got str 'onnx'"),
        (text([], version=2), "version: this freezeviz knows 1, got 2: a newer one"),
        (text([], version="1"), "version: expected 1, got str '1'"),
        (text([], version=True), "version: expected 1, got bool True"),
        (text({}), "steps: expected a list, got dict"),
        (text([], note="x"), "the policy: unknown key 'note'; known are 'format', 'steps'"),
        (text(["freeze"]), r"steps\[0\]: expected an object, got str"),
        (text([STEP, {"select": ""}]), r"steps\[1\]: there is no 'action'"),
        (text([STEP | {"action": "hold"}]), r"steps\[0\]\.action: expected 'freeze' or 'unfreeze'"),
        (text([STEP | {"action": []}]), r"steps\[0\]\.action: expected"),
        (text([STEP | {"select": ["a"]}]), r"steps\[0\]\.select: expected a text, got list"),
        (text([STEP | {"select": "a |"}]), r"steps\[0\]\.select: selector 'a \|': .*character 4"),
        (text([STEP | {"hold": "yes"}]), r"steps\[0\]\.hold: expected true or false, got str"),
        (text([{"action": "unfreeze", "select": "", "hold": True}]), r"only a freeze can hold"),
        (text([STEP | {"held": True}]), r"steps\[0\]: unknown key 'held'"),
        ('{"format": 1, "format": 1}', "the key 'format' stands twice"),
    ],
)
def test_a_bad_policy_is_an_error_that_names_the_place(bad, message):
    with pytest.raises(PolicyError, match=message):
        Policy.from_json(bad)


def test_a_bad_file_is_named(tmp_path):
    file = tmp_path / "policy.json"
    file.write_bytes(b"\xff\xfe{")
    with pytest.raises(PolicyError, match=r"policy\.json: expected a text in UTF-8"):
        Policy.load(file)
    file.write_text(text([], version=3), encoding="utf-8")
    with pytest.raises(PolicyError, match=r"policy\.json: version: this freezeviz knows 1"):
        Policy.load(file)
    with pytest.raises(FileNotFoundError):
        Policy.load(tmp_path / "none.json")


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path):
    (tmp_path / "policy.json").write_text(text([STEP]), encoding="utf-8-sig")
    assert Policy.load(tmp_path / "policy.json") == Policy([PolicyStep("freeze", "")])


def test_a_step_of_another_kind_is_refused():
    with pytest.raises(PolicyError, match=r"steps\[0\]: expected a PolicyStep, got dict"):
        Policy([STEP])  # pyright: ignore[reportArgumentType]
