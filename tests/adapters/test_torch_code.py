"""A policy as plain PyTorch: short, and right on a fresh model."""

import copy
import io
import pickle
import random
import sys
import types

import pytest
import torch
from torch import nn

import freezeviz as fv
from freezeviz.adapters import adapt
from freezeviz.freezing import Policy, PolicyStep


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)
        self.drop = nn.Dropout(0.1)


class Asks(nn.Module):
    """Code of its own that asks for the mode."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.other = nn.Linear(4, 4)

    def forward(self, x):
        return self.inner(nn.functional.dropout(x, 0.1, self.training))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)
        self.blocks = nn.ModuleList(Block() for _ in range(5))
        self.stem = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 4))
        self.cut = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))[1:]  # names "1" and "2"
        self.by_name = nn.ModuleDict({"a-b": nn.Linear(4, 4), "class": nn.Linear(4, 4)})
        self.scales = nn.ParameterList([torch.ones(4), torch.ones(4)])
        self.asks = Asks()
        self.shared = self.blocks[0].mix
        self.bias = nn.Parameter(torch.zeros(4))
        self.head = nn.Linear(4, 9)
        self.head.weight = self.embed.weight
        self.twin = nn.Linear(4, 4)
        self.twin.weight.data = self.stem[0].weight.data


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.codes = nn.Parameter(torch.zeros(4, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(4))


def code(model, *steps):
    return adapt(model).code(Policy(PolicyStep(*step) for step in steps))


@pytest.mark.parametrize(
    ("steps", "lines"),
    [
        ([("freeze", "")], ["model.requires_grad_(False)"]),
        (
            [("freeze", ""), ("unfreeze", "blocks.3")],
            ["model.requires_grad_(False)", "model.blocks[3].requires_grad_(True)"],
        ),
        ([("freeze", "blocks.[0-2]")], ["model.blocks[:3].requires_grad_(False)"]),
        (
            [("freeze", "blocks.2 | blocks.3 | blocks.4")],
            ["model.blocks[2:].requires_grad_(False)"],
        ),
        ([("freeze", "stem.0.bias")], ["model.stem[0].bias.requires_grad_(False)"]),
        ([("freeze", "head")], ["model.head.requires_grad_(False)"]),
        ([("freeze", "head.weight")], ["model.head.weight.requires_grad_(False)"]),
        ([("freeze", "cut.2")], ['getattr(model.cut, "2").requires_grad_(False)']),
        ([("freeze", '"by_name.a-b"')], ['model.by_name["a-b"].requires_grad_(False)']),
        ([("freeze", "scales.1")], ["model.scales[1].requires_grad_(False)"]),
        (
            [("freeze", "**.bias")],
            [
                "for name, parameter in model.named_parameters():",
                '    if name.endswith("bias"):',
                "        parameter.requires_grad_(False)",
            ],
        ),
        (
            [("freeze", "blocks.**.bias")],
            [
                "for name, parameter in model.named_parameters():",
                '    if name.startswith("blocks.") and name.endswith(".bias"):',
                "        parameter.requires_grad_(False)",
            ],
        ),
        (
            [("freeze", "type:LayerNorm")],
            [
                "from torch import nn",
                "",
                "for module in model.modules():",
                "    if isinstance(module, nn.LayerNorm):",
                "        module.requires_grad_(False)",
            ],
        ),
        (
            [("freeze", "type:Block - **.norm")],
            [f"model.blocks[{i}].mix.requires_grad_(False)" for i in range(5)],
        ),
        (
            [("freeze", r"re:mix\.w|norm\.b")],
            [
                "import re",
                "",
                "for name, parameter in model.named_parameters():",
                r'    if re.search(r"mix\.w|norm\.b", name):',
                "        parameter.requires_grad_(False)",
            ],
        ),
        (
            [("freeze", "**.weight & blocks | asks")],
            [
                "model.asks.requires_grad_(False)",
                "for name, parameter in model.named_parameters():",
                '    if name.endswith(".weight") and name.startswith("blocks."):',
                "        parameter.requires_grad_(False)",
            ],
        ),
        ([], ["# Nothing is frozen: a fresh model is like this."]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_shortest_words(steps, lines):
    assert code(Net(), *steps).splitlines() == lines


HELD = """\
# Held: no dropout, and statistics stand still, though model.train() is called.
class Held:  # a class: a model with a lambda in it cannot be pickled
    def __init__(self, module):
        self.module, self.mode = module, getattr(module.train, "mode", module.training)
        module.train, module.training = self, False

    def __call__(self, mode=True):  # in the place of module.train
        type(self.module).train(self.module, mode)
        self.module.training, self.mode = False, mode
        return self.module


"""


@pytest.mark.parametrize(
    ("what", "lines"),
    [
        ("asks", ["for module in model.asks.modules():", "    Held(module)"]),
        ("head", ["Held(model.embed)", "Held(model.head)"]),  # one weight is all that embed has
        ("stem.1", ["Held(model.stem[1])"]),
        ("stem.[0-1]", ["for module in model.stem[:2]:", "    Held(module)"]),
        (
            "head.bias | stem.[1-3] | blocks.[0-1].norm",
            [
                "for module in (",
                "    model.blocks[0].norm,",
                "    model.blocks[1].norm,",
                "    model.stem[1],",
                "    model.stem[3],",
                "):",
                "    Held(module)",
            ],
        ),
        (
            "asks | blocks.1.norm",
            [
                "Held(model.blocks[1].norm)",
                "for module in model.asks.modules():",
                "    Held(module)",
            ],
        ),
        (
            "asks | blocks.[1-3] | head",
            [
                "for part in (",
                "    model.embed,",
                "    model.blocks[1:4],",
                "    model.asks,",
                "    model.head,",
                "):",
                "    for module in part.modules():",
                "        Held(module)",
            ],
        ),
    ],
)
def test_a_hold_is_an_eval_that_train_does_not_undo(what, lines):
    text = code(Net(), ("freeze", what, True))
    assert HELD + "\n".join(lines) + "\n" == text[text.index(HELD) :]


def test_of_modules_around_what_is_not_held_those_that_ask_for_the_mode_are_held():
    text = code(Net(), ("freeze", "asks", True), ("unfreeze", "asks.other"))
    assert text.endswith("\n\nHeld(model.asks)\nHeld(model.asks.inner)\n")


def test_what_a_held_part_shares_with_another_is_held_by_the_one_rule():
    def build():
        model = nn.Module()
        model.a = nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 2))
        model.b = nn.Sequential(nn.Linear(2, 2), model.a, nn.Linear(2, 2))
        model.a.register_parameter("own", nn.Parameter(torch.ones(1)))
        return model

    for steps in ([("freeze", "b.0 | b.2", True)], [("freeze", "b", True)]):
        wanted, fresh = build(), build()
        policy = Policy(PolicyStep(*step) for step in steps)
        policy.apply(wanted)
        exec(adapt(fresh).code(policy), {"model": fresh})
        for model in (wanted, fresh):
            model.eval()
            model.train()
        assert [m.training for m in fresh.modules()] == [m.training for m in wanted.modules()]


# ---- what is held by exported code --------------------------------------------------------------


def build_with_parts():
    return nn.Sequential(
        nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5)), nn.Linear(2, 2)
    )


@pytest.fixture
def script(monkeypatch):
    """Run code as a module of the user's, in which pickle finds classes."""
    module = types.ModuleType("users_script")
    monkeypatch.setitem(sys.modules, "users_script", module)

    def run(text, model):
        vars(module)["model"] = model
        exec(text, vars(module))
        return model

    return run


def modes(model):
    return [module.training for module in model.modules()]


def test_a_model_held_by_code_is_copied_pickled_and_saved(script):
    text = code(build_with_parts(), ("freeze", "0", True))
    model = script(text, build_with_parts())
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for other in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.load(file, weights_only=False),
    ):
        other.train()
        assert modes(other) == [True, False, False, False, False, True]
        fv.unfreeze(other, "")
        assert all(modes(other))
        assert modes(model) == [True, False, False, False, False, True]


def test_the_explorer_shows_and_lets_go_of_what_code_holds(script):
    text = code(build_with_parts(), ("freeze", "0", True))
    model = script(text, build_with_parts())
    controller = fv.explore(model).controller
    assert adapt(model).held() == {"0", "0.0", "0.1", "0.2"}
    assert [row.path for row in controller.rows() if row.held and row.kind != "parameter"] == [
        "0",
        "0.0",
        "0.1",
        "0.2",
    ]
    assert controller.code() == text
    controller.unfreeze("0")
    assert all(modes(model))
    model.eval()
    assert not any(modes(model))
    assert "train" not in vars(model[0])
    controller.undo()
    assert adapt(model).held() == {"0", "0.0", "0.1", "0.2"}


@pytest.mark.parametrize("mode", [True, False])
def test_what_code_holds_comes_back_in_the_mode_it_would_have_had(script, mode):
    text = code(build_with_parts(), ("freeze", "", True))
    model = script(text, build_with_parts().train(mode))  # from_pretrained gives one in eval mode
    assert not any(modes(model))
    assert adapt(model).training() is mode
    script(text, model)  # a cell that is run again
    fv.unfreeze(model, "1")
    assert modes(model) == [False] * 5 + [mode]
    assert model.train(not mode) is model
    fv.unfreeze(model, "")
    assert modes(model) == [not mode] * 6


def test_code_that_runs_on_what_the_explorer_holds_keeps_the_mode(script):
    model = build_with_parts()
    fv.freeze(model, "0", hold=True)
    script(code(model, ("freeze", "0", True)), model)
    fv.unfreeze(model, "0")
    assert all(modes(model))


def test_a_stand_in_of_somebody_elses_is_no_hold():
    model = build_with_parts()
    model[0].train = types.SimpleNamespace(module=model, mode=True)
    assert adapt(model).held() == frozenset()
    fv.unfreeze(model, "0")
    assert "train" in vars(model[0])


def test_what_a_later_step_sets_anyhow_is_not_written_down():
    text = code(Net(), ("freeze", "asks", True), ("freeze", "blocks"), ("unfreeze", "blocks.0"))
    assert text.splitlines()[:3] == [
        "model.asks.requires_grad_(False)",
        "model.blocks.requires_grad_(False)",
        "model.blocks[0].requires_grad_(True)",
    ]
    text = code(Net(), ("freeze", "asks", True), ("freeze", ""))
    assert text.splitlines()[:2] == ["model.requires_grad_(False)", ""]
    assert "model.asks.modules()" in text


@pytest.mark.parametrize(
    ("what", "test"),
    [
        ("**.norm", '".norm." in name'),
        ("blocks.**.norm", 'name.startswith("blocks.") and ".norm." in name'),
        ("**.head", '"head." in name'),
    ],
)
def test_modules_of_one_name_are_told_without_a_regular_expression(what, test):
    model = nn.Module()
    model.blocks = nn.ModuleList()
    for _ in range(5):
        block = nn.Module()
        block.norm, block.mix, block.head = nn.LayerNorm(2), nn.Linear(2, 2), nn.Linear(2, 2)
        model.blocks.append(block)
    model.head = nn.Linear(2, 2)
    assert code(model, ("freeze", what)).splitlines() == [
        "for name, parameter in model.named_parameters():",
        f"    if {test}:",
        "        parameter.requires_grad_(False)",
    ]


def test_tensors_of_one_memory_are_all_named():
    assert code(Net(), ("freeze", "twin.weight")).splitlines() == [
        "model.twin.weight.requires_grad_(False)",
        "model.stem[0].weight.requires_grad_(False)",
    ]


@pytest.mark.parametrize(
    "what",
    [
        "",
        "q",
        "q | r",
        "**.scale",
        "re:.",
        "q.scale | r.more.weight",
        "type:Quantised",
        "type:Linear",
    ],
)
def test_integers_are_left_alone(what):
    def build():
        model = nn.Module()
        model.q, model.r = Quantised(), Quantised()
        model.r.more = nn.Linear(2, 2)
        return model

    wanted, fresh = build(), build()
    policy = Policy([PolicyStep("freeze", ""), PolicyStep("unfreeze", what)])
    policy.apply(wanted)
    exec(adapt(fresh).code(policy), {"model": fresh})
    assert adapt(fresh).frozen() == adapt(wanted).frozen()
    assert len(adapt(fresh).frozen()) < 4
    assert not fresh.q.codes.requires_grad


def test_what_is_right_by_one_name_and_by_all_are_not_mixed():
    model = nn.Module()
    for name in ("a", "b", "c", "d", "e"):
        setattr(model, name, nn.Linear(2, 2))
    model.e.weight = model.a.weight
    for what in ("re:[de].weight | re:^[bcd].weight", "~**.bias | re:e.w", "re:[ce] - re:e.w"):
        wanted, fresh = copy.deepcopy(model), copy.deepcopy(model)
        policy = Policy([PolicyStep("freeze", what)])
        policy.apply(wanted)
        exec(adapt(fresh).code(policy), {"model": fresh})
        assert adapt(fresh).frozen() == adapt(wanted).frozen()


SELECTORS = [
    "",
    "blocks",
    "blocks.0",
    "blocks.[1-3]",
    "blocks.*.norm",
    "blocks.**.weight",
    "**.bias",
    "**.weight",
    "*.bias",
    "type:Linear",
    "type:*Norm*",
    "type:Block",
    "type:Asks",
    r"re:\.[02]\.",
    "re:head|shared",
    "shared",
    "head",
    "head.weight",
    "asks",
    "asks.inner",
    "stem",
    "stem.1 | stem.3",
    "twin",
    "cut | by_name | scales.0",
    "~blocks",
    "~**.bias",
    "blocks - type:LayerNorm",
    "**.bias & (blocks | head)",
    "re:weight - blocks - head",
    "head | **.norm | re:mix",
    "bias",
]


@pytest.mark.parametrize("seed", range(60))
def test_a_fresh_model_gets_the_same_state(seed):
    rng = random.Random(seed)
    steps = []
    for _ in range(rng.randint(1, 4)):
        action = rng.choice(["freeze", "freeze", "unfreeze"])
        hold = action == "freeze" and rng.random() < 0.4
        steps.append((action, rng.choice(SELECTORS), hold))
    policy = Policy(PolicyStep(*step) for step in steps)
    wanted, fresh = Net(), Net()
    policy.apply(wanted)
    text = adapt(fresh).code(policy)
    exec(text, {"model": fresh})
    assert adapt(fresh).frozen() == adapt(wanted).frozen(), text
    for model in (wanted, fresh):
        model.eval()
        model.train()
    held = adapt(wanted).held()
    for (name, one), (_, other) in zip(wanted.named_modules(), fresh.named_modules(), strict=True):
        # A container's own mode matters to nobody, unless its code asks.
        if not list(one.children()) or isinstance(one, Asks):
            assert one.training == other.training, (name, text, held)
    assert adapt(fresh).held() <= held, text
    fv.unfreeze(fresh, "")
    assert all(modes(fresh)), text


def test_the_explorers_code_brings_a_fresh_model_to_the_same_state():
    for seed in range(10):
        rng = random.Random(seed)
        model = Net()
        controller = fv.explore(model).controller
        for _ in range(5):
            what = rng.choice(SELECTORS)
            rng.choice([controller.freeze, controller.unfreeze])(what)
        text, policy = controller.code(), controller.policy()
        by_code, by_policy = Net(), Net()
        exec(text, {"model": by_code})
        Policy.from_json(policy.to_json()).apply(by_policy)
        assert adapt(by_code).frozen() == adapt(model).frozen(), text
        assert adapt(by_policy).frozen() == adapt(model).frozen()
        assert text.count("\n") < 60
