"""What MLX does, recorded from the real library, and what this project decided to do instead.

``tests/conformance/mlx_golden.json`` holds scenarios that were executed on MLX 0.32.4. Each has a
verdict: `match` (the same here), `ours` (a trap that is not copied; `OURS` below says what holds
instead) or `free` (not checked beyond running through).
"""

import copy
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn, optim
from freezeviz.errors import UnmatchedKeyWarning

GOLDEN = json.loads((Path(__file__).parents[1] / "conformance" / "mlx_golden.json").read_text())
SCENARIOS = {s["id"]: s for s in GOLDEN["scenarios"]}


class Custom(nn.Module):
    def __init__(self, attrs, forward):
        super().__init__()
        for name, value in attrs:
            setattr(self, name, value)
        self._forward = forward

    def __call__(self, x):
        for name in self._forward:
            x = getattr(self, name)(x)
        return x


class Builder:
    """Builds the models and values of the recorded notation."""

    def __init__(self):
        self.defined = {}
        self.root = None

    def build(self, node):
        if "def" in node:
            self.defined[node["def"]] = self.build(node["node"])
            return self.defined[node["def"]]
        if "ref" in node:
            return self.defined[node["ref"]]
        if "existing" in node:
            return at(self.root, node["existing"])
        if "array" in node:
            return np.ones(node["array"], node.get("dtype", "float32"))
        if "list" in node:
            return [self.build(n) for n in node["list"]]
        if "tuple" in node:
            return tuple(self.build(n) for n in node["tuple"])
        if "dict" in node:
            return {k: self.build(n) for k, n in node["dict"].items()}
        if "value" in node:
            return node["value"]
        if "callable" in node:
            return getattr(nn, node["callable"])
        if "module" in node:
            return self.build_module(node)
        return {k: self.build(n) for k, n in node.items()}

    def build_module(self, node):
        kind = node["module"]
        if kind == "Sequential":
            return nn.Sequential(*[self.build(n) for n in node["layers"]])
        if kind == "Custom":
            attrs = [(k, self.build(n)) for k, n in node["attrs"].items()]
            cls = type(node.get("name", "Custom"), (Custom,), {})
            return cls(attrs, node.get("forward", []))
        return getattr(nn, kind)(**node.get("args", {}))


def at(module, path):
    for part in path.split(".") if path else []:
        if isinstance(module, list):
            module = module[int(part)]
        else:
            module = module[part] if isinstance(module, dict) else getattr(module, part)
    return module


def arguments(kwargs):
    def plain(value):
        if isinstance(value, dict) and "$tuple" in value:
            return tuple(value["$tuple"])
        if isinstance(value, dict) and "$set" in value:
            return set(value["$set"])
        return value

    return {k: plain(v) for k, v in kwargs.items()}


class Run:
    """Executes a scenario and keeps what can be observed."""

    def __init__(self, scenario):
        self.builder = Builder()
        self.model = self.builder.root = self.builder.build(scenario["model"])
        self.original = self.model
        self.optimizer = self.snapshot = self.gradients = self.loss = None
        self.matched = []
        self.results = []
        self.warnings = []
        for step in scenario["steps"]:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    target = at(self.model, step.get("on", ""))
                    returned = getattr(self, step["op"])(target, step)
                    kind = "self" if returned is target and returned is not None else "None"
                    self.results.append({"returns": kind})
                except Exception as error:
                    self.results.append({"error": error})
            self.warnings.append(caught)

    def freeze(self, target, step):
        return target.freeze(**arguments(step["kwargs"]))

    def unfreeze(self, target, step):
        return target.unfreeze(**arguments(step["kwargs"]))

    def freeze_positional(self, target, step):
        return target.freeze(True)

    def train(self, target, step):
        return target.train()

    def eval(self, target, step):
        return target.eval()

    def setattr(self, target, step):
        setattr(target, step["name"], self.builder.build(step["value"]))

    def setitem(self, target, step):
        getattr(target, step["name"])[step["index"]] = self.builder.build(step["value"])

    def append(self, target, step):
        getattr(target, step["name"]).append(self.builder.build(step["value"]))

    def insert(self, target, step):
        getattr(target, step["name"]).insert(step["index"], self.builder.build(step["value"]))

    def copy(self, target, step):
        self.model = self.builder.root = copy.copy(self.model)

    def set_dtype(self, target, step):
        target.set_dtype(step["dtype"])

    def update(self, target, step):
        return target.update(self.builder.build(step["tree"]), strict=step.get("strict", True))

    def update_modules(self, target, step):
        return target.update_modules(self.builder.build(step["tree"]))

    def load_weights(self, target, step):
        pairs = [(name, np.ones(shape, np.float32)) for name, shape in step["weights"]]
        return target.load_weights(pairs)

    def apply_to_modules(self, target, step):
        when = step["when"]

        def apply(path, module):
            if "path_endswith" in when:
                hit = path.endswith(when["path_endswith"])
            else:
                hit = type(module).__name__ == when["class"]
            if hit:
                self.matched.append(path)
                getattr(module, step["do"])()

        return target.apply_to_modules(apply)

    def new_optimizer(self, target, step):
        self.optimizer = getattr(optim, step["name"])(**step["kwargs"])

    def optimizer_init(self, target, step):
        self.optimizer.init(self.model.trainable_parameters())

    def value_and_grad(self, target, step):
        x = np.linspace(-1, 1, int(np.prod(step["input"])), dtype=np.float32)
        x = x.reshape(step["input"])
        both = nn.value_and_grad(self.model, lambda x: (self.model(x) ** 2).mean())
        self.loss, self.gradients = both(x)

    def optimizer_step(self, target, step):
        for _ in range(step.get("n", 1)):
            self.value_and_grad(target, step)
            self.optimizer.update(self.model, self.gradients)

    def take_snapshot(self, target, step):
        self.snapshot = self.arrays()

    def arrays(self):
        named = self.model.named_parameters() + self.model.named_buffers()
        return {path: np.array(value) for path, value in named}

    def changed(self):
        now = self.arrays()
        return {p for p in now if not np.array_equal(now[p], self.snapshot[p])}

    def trainable(self):
        return {path for path, _ in fv.tree_flatten(self.model.trainable_parameters())}

    def frozen(self):
        return {path for path, _ in fv.tree_flatten(self.model.frozen_parameters())}

    def parameters(self):
        return {path for path, _ in fv.tree_flatten(self.model.parameters())}


_OPS = {"snapshot": "take_snapshot"}


def run(scenario):
    steps = [{**s, "op": _OPS.get(s["op"], s["op"])} for s in scenario["steps"]]
    return Run({**scenario, "steps": steps})


def check_steps(result, expected):
    assert len(result.results) == len(expected)
    for got, want in zip(result.results, expected, strict=True):
        if "error" in want:
            assert "error" in got, f"expected {want['error']}"
            names = [cls.__name__ for cls in type(got["error"]).__mro__]
            assert want["error"] in names
            assert str(got["error"])
        else:
            assert "error" not in got, repr(got.get("error"))
            assert got["returns"] == want["returns"]


def check_match(result, expect):
    check_steps(result, expect["steps"])
    buffers = {path for path, _ in result.model.named_buffers()}
    for name in ("trainable", "parameters", "frozen"):
        # Recorded: running statistics are parameters (see H01); here they are buffers.
        assert getattr(result, name)() == set(expect[name]) - buffers, name
    if "changed" in expect:
        assert result.changed() == set(expect["changed"])
    if "grads" in expect:
        assert {p for p, _ in fv.tree_flatten(result.gradients)} == set(expect["grads"])
    if "matched" in expect:
        assert set(result.matched) == set(expect["matched"])
    if "named_modules" in expect:
        named = {(path, type(module).__name__) for path, module in result.model.named_modules()}
        assert named == {tuple(pair) for pair in expect["named_modules"]}
    if "leaf_modules" in expect:
        leaves = fv.tree_flatten(result.model.leaf_modules(), is_leaf=nn.Module.is_module)
        assert {p for p, m in leaves if nn.Module.is_module(m)} == set(expect["leaf_modules"])
    for path, training in expect.get("training", {}).items():
        assert at(result.model, path).training is training
    named = dict(result.model.named_parameters())
    for path, dtype in expect.get("dtypes", {}).items():
        assert str(named[path].dtype) == dtype
    if "trainable_at:layers.0" in expect:
        below = fv.tree_flatten(at(result.model, "layers.0").trainable_parameters())
        assert {p for p, _ in below} == set(expect["trainable_at:layers.0"])
    if "optimizer_state" in expect:
        kept = {".".join(p.split(".")[:-1]) for p in expect["optimizer_state"] if "." in p}
        assert set(result.optimizer.state) == kept


def by_verdict(verdict):
    return sorted(i for i, s in SCENARIOS.items() if s["verdict"] == verdict)


def test_every_scenario_is_covered():
    assert len(SCENARIOS) == 74
    assert set(OURS) == set(by_verdict("ours"))
    assert {s["verdict"] for s in SCENARIOS.values()} == {"match", "ours", "free"}


@pytest.mark.parametrize("name", by_verdict("match"))
def test_same_as_mlx(name):
    scenario = copy.deepcopy(SCENARIOS[name])
    if name == "H10":
        # MLX's BatchNorm.unfreeze returns None, which H02 decides against: it returns self.
        assert scenario["expect"]["steps"] == [{"returns": "None"}]
        scenario["expect"]["steps"] = [{"returns": "self"}]
    check_match(run(scenario), scenario["expect"])


@pytest.mark.parametrize("name", by_verdict("free"))
def test_free_scenarios_run_through(name):
    result = run(SCENARIOS[name])
    assert not [r["error"] for r in result.results if "error" in r]


def ok(result):
    errors = [r["error"] for r in result.results if "error" in r]
    assert not errors, errors


def warned(result, step, *texts):
    messages = [str(w.message) for w in result.warnings[step] if w.category is UnmatchedKeyWarning]
    assert len(messages) == 1
    for text in texts:
        assert text in messages[0]


def unknown_key_warns(result):
    ok(result)
    assert result.frozen() == set()
    warned(result, 0, "'nope'", "'weight'", "'bias'")


def any_iterable_is_keys(expected):
    def check(result):
        ok(result)
        tails = {path.rpartition(".")[2] for path in result.frozen()}
        assert tails == expected
        assert result.frozen() == {p for p in result.parameters() if p.endswith(tuple(expected))}

    return check


def dotted_key_warns(result):
    ok(result)
    assert result.frozen() == set()
    warned(result, 0, "layers.0.weight", "freezeviz.freeze(model, 'layers.0.weight')")


def everything_is_frozen(result):
    ok(result)
    assert result.frozen() == result.parameters()


def submodule_key_raises(result):
    error = result.results[0]["error"]
    assert isinstance(error, KeyError)
    assert "'layers'" in str(error)
    assert "submodule" in str(error)
    assert result.frozen() == set()


def element_is_frozen(result):
    ok(result)
    assert result.frozen() == {"w.0"}


def own_dict_is_frozen(result):
    ok(result)
    assert result.frozen() == {"d.a", "d._b"}
    assert {"d.m.weight", "d.m.bias"} <= result.trainable()


def submodule_key_warns(result):
    ok(result)
    assert result.frozen() == set()
    warned(result, 0, "submodule")


def copy_has_its_own_state(result):
    ok(result)
    assert result.trainable() == {"weight", "bias"}
    original = fv.tree_flatten(result.original.trainable_parameters())
    assert [path for path, _ in original] == ["weight"]


def statistics_are_buffers(result):
    ok(result)
    assert result.parameters() == {"weight", "bias"}
    assert [p for p, _ in result.model.named_buffers()] == ["running_mean", "running_var"]


def unfreeze_returns_self(result):
    ok(result)
    assert result.results[-1]["returns"] == "self"
    assert not {p for p in result.trainable() | result.frozen() if "running" in p}


def buffer_key_warns(result):
    ok(result)
    warned(result, 0, "'running_mean'", "buffer")
    with pytest.raises(KeyError, match="buffer"):
        result.model.unfreeze(keys=["running_mean"], strict=True)


def buffers_never_train(result):
    ok(result)
    assert not {p for p in result.trainable() if "running" in p}


def optimizer_moves_no_buffer(result):
    ok(result)
    assert not {p for p in result.changed() if "running" in p}
    assert result.changed() == result.parameters()


def fully_frozen_is_legal(result):
    ok(result)
    assert np.isfinite(result.loss)
    assert result.gradients == {}


def unfreezing_works(result):
    ok(result)
    assert set(result.optimizer.state) == result.parameters()
    steps = {path: entry["step"] for path, entry in result.optimizer.state.items()}
    assert steps["layers.0.weight"] == 1
    assert steps["layers.2.weight"] == 2


def shared_module_is_listed_once(result):
    ok(result)
    assert result.parameters() == {"a.weight"}
    assert [p for p, _ in result.model.named_modules()] == ["", "a"]
    assert result.model.aliases() == {"a": ("b",), "a.weight": ("b.weight",)}


def shared_gradient_is_the_sum(result):
    ok(result)
    ((path, gradient),) = fv.tree_flatten(result.gradients)
    assert path == "a.weight"
    weight = np.array(result.model.a.weight, dtype=np.float64)
    x = np.linspace(-1, 1, 8).reshape(4, 2)
    direction = np.array([[0.3, -0.2], [0.5, 0.7]])

    def loss(w):
        return ((x @ w.T @ w.T) ** 2).mean()

    step = 1e-6
    slope = (loss(weight + step * direction) - loss(weight - step * direction)) / (2 * step)
    assert np.sum(gradient * direction) == pytest.approx(slope, rel=1e-4)


OURS = {
    "B07": unknown_key_warns,
    "B09": any_iterable_is_keys({"weight", "bias"}),
    "B10": any_iterable_is_keys({"weight"}),
    "B11": dotted_key_warns,
    "C09": everything_is_frozen,
    "C10": submodule_key_raises,
    "E04": element_is_frozen,
    "E06": own_dict_is_frozen,
    "E07": submodule_key_warns,
    "E08": submodule_key_warns,
    "G11": copy_has_its_own_state,
    "H01": statistics_are_buffers,
    "H02": unfreeze_returns_self,
    "H03": buffer_key_warns,
    "H04": buffers_never_train,
    "H06": unfreeze_returns_self,
    "H09": optimizer_moves_no_buffer,
    "I02": fully_frozen_is_legal,
    "I06": unfreezing_works,
    "I07": unfreezing_works,
    "J01": shared_module_is_listed_once,
    "J03": shared_gradient_is_the_sum,
}


@pytest.mark.parametrize("name", by_verdict("ours"))
def test_ours_instead_of_mlx(name):
    OURS[name](run(SCENARIOS[name]))


def test_a_misspelt_key_names_the_closest():
    with pytest.warns(UnmatchedKeyWarning, match=r"'wieght'.*Closest: 'weight'"):
        nn.Linear(2, 2).freeze(keys="wieght")
