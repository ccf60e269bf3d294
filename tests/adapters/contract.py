"""What every adapter keeps to: the same scenarios on the same model, whatever it is written in.

A framework's test file has a subclass of `AdapterContract` whose name begins with ``Test``, with
the four methods on top of it. The model is, in words::

    Net     embed = Embedding(7, 4)
            body  = Body      first = Linear(4, 4), norm = BatchNorm(4), drop = Dropout(0.5),
                              twice = Linear(4, 4), again = twice, gain = ones(4)
            head  = Linear(4, 7), its weight being the embedding's

    head(again(twice(drop(norm(first(embed(ids)))))) * gain))
"""

import warnings
from typing import Any

import numpy as np
import pytest

import freezeviz as fv
from freezeviz.adapters import adapt
from freezeviz.errors import SelectorError

BODY = ("body.gain", "body.first.weight", "body.first.bias", "body.norm.weight", "body.norm.bias")
TWICE = ("body.twice.weight", "body.twice.bias")
PATHS = ("embed.weight", *BODY, *TWICE, "head.bias")
LAYERS = ("", "embed", "body", "body.first", "body.norm", "body.drop", "body.twice", "head")
HELD_BODY = {"body", "body.first", "body.norm", "body.drop", "body.twice"}


class AdapterContract:
    """The scenarios; `model` is a fresh one, in train mode, with everything trainable."""

    def build(self) -> Any:
        """Return the model of the module's docstring, always with the same values."""
        raise NotImplementedError

    def train(self, model: Any, steps: int = 3) -> list[float]:
        """Train what is trainable, on random batches, in train mode; returns the losses."""
        raise NotImplementedError

    def set_mode(self, model: Any, training: bool) -> None:
        """Call the framework's train() or eval()."""
        raise NotImplementedError

    def linear(self) -> type:
        """Return the type of linear layers."""
        raise NotImplementedError

    @pytest.fixture
    def model(self) -> Any:
        return self.build()

    @pytest.fixture
    def adapter(self, model: Any) -> Any:
        return adapt(model)

    # ---- the tree --------------------------------------------------------------------------

    def test_layers_parameters_and_aliases(self, adapter):
        layers = {layer.path: layer for layer in adapter.snapshot().walk()}
        assert tuple(layers) == LAYERS
        assert tuple(p.path for p in adapter.snapshot().all_parameters()) == PATHS
        assert layers[""].name == layers[""].kind == "Net"
        assert layers["body.first"].name == "first"
        assert (layers["head"].kind, layers["head"].detail) == ("Linear", "4 → 7")
        assert layers["body.twice"].aliases == ("body.again",)
        tied = {p.path: p.aliases for layer in layers.values() for p in layer.parameters}
        assert tied["embed.weight"] == ("head.weight",)
        assert tied["body.twice.bias"] == ("body.again.bias",)
        assert [p.path for p in layers["body"].parameters] == ["body.gain"]
        assert layers["body.drop"].parameters == ()

    def test_sizes(self, adapter):
        info = {p.path: p for p in adapter.snapshot().all_parameters()}["embed.weight"]
        assert (info.shape, info.dtype, info.size, info.nbytes) == ((7, 4), "float32", 28, 112)

    def test_statistics_are_buffers(self, adapter):
        layers = {layer.path: layer for layer in adapter.snapshot().walk()}
        buffers = {b.path: b for b in layers["body.norm"].buffers}
        assert {"body.norm.running_mean", "body.norm.running_var"} <= set(buffers)
        mean = buffers["body.norm.running_mean"]
        assert (mean.shape, mean.dtype, mean.nbytes) == ((4,), "float32", 16)

    def test_a_snapshot_is_plain_values(self, adapter):
        def check(value: Any) -> None:
            assert isinstance(value, str | int | tuple | type)
            for item in value if isinstance(value, tuple) else ():
                check(item)

        check(adapter.snapshot())
        assert adapter.snapshot() == adapter.snapshot()
        assert hash(adapter.snapshot()) == hash(adapter.snapshot())

    def test_a_snapshot_tells_types(self, adapter):
        layers = {layer.path: layer for layer in adapter.snapshot().walk()}
        assert self.linear() in layers["head"].bases

    # ---- values ----------------------------------------------------------------------------

    def test_read_gives_copies_of_parameters_and_buffers(self, adapter):
        for path in (*PATHS, "head.weight", "body.again.bias", "body.norm.running_var"):
            value = adapter.read(path)
            assert type(value) is np.ndarray
            value += 1
            assert (adapter.read(path) != value).all()
        np.testing.assert_array_equal(adapter.read("embed.weight"), adapter.read("head.weight"))
        np.testing.assert_array_equal(adapter.read("body.gain"), np.ones(4))

    @pytest.mark.parametrize("path", ["", "body", "body.wieght", "body.first.weight.x", "x", "."])
    def test_read_of_nothing(self, adapter, path):
        with pytest.raises(SelectorError, match="no array"):
            adapter.read(path)

    # ---- freezing --------------------------------------------------------------------------

    def test_freezing_and_unfreezing_by_path(self, adapter):
        assert adapter.frozen() == frozenset()
        adapter.set_frozen(iter(["body.gain", "body.gain", "head.bias"]), True)
        assert adapter.frozen() == {"body.gain", "head.bias"}
        adapter.set_frozen(["head.bias", "body.first.bias"], False)
        assert adapter.frozen() == {"body.gain"}
        adapter.set_frozen([], True)
        assert adapter.frozen() == {"body.gain"}
        assert adapter.held() == frozenset()

    def test_a_tied_parameter_goes_by_any_of_its_names(self, adapter):
        adapter.set_frozen(["head.weight", "body.again.bias"], True)
        assert adapter.frozen() == {"embed.weight", "body.twice.bias"}
        adapter.set_frozen(["embed.weight"], False)
        assert adapter.frozen() == {"body.twice.bias"}

    @pytest.mark.parametrize("frozen", [True, False])
    @pytest.mark.parametrize("path", ["hed.bias", "body", "", "body.norm.running_mean"])
    def test_an_unknown_path_changes_nothing(self, adapter, path, frozen):
        with pytest.raises(SelectorError, match=f"no parameter {path!r} in the model"):
            adapter.set_frozen(["body.gain", path], frozen, hold=True)
        assert adapter.frozen() == adapter.held() == frozenset()

    def test_adapters_of_one_model_agree(self, model):
        adapt(model).set_frozen(["head.bias", *TWICE], True, hold=True)
        assert adapt(model).frozen() == {"head.bias", *TWICE}
        assert adapt(model).held() == {"body.twice"}
        assert adapt(adapt(model)).frozen() == {"head.bias", *TWICE}

    # ---- holding ---------------------------------------------------------------------------

    def test_held_are_layers_all_of_whose_parameters_are_named(self, adapter):
        adapter.set_frozen(["body.norm.weight", "body.first.weight"], True, hold=True)
        assert adapter.held() == frozenset()
        adapter.set_frozen(["body.norm.weight", "body.norm.bias"], True, hold=True)
        assert adapter.held() == {"body.norm"}
        adapter.set_frozen([*BODY, *TWICE], True, hold=True)
        assert adapter.held() == HELD_BODY
        adapter.set_frozen(PATHS, True, hold=True)
        assert adapter.held() == set(LAYERS)

    def test_what_has_nothing_frozen_any_more_is_let_go(self, adapter):
        adapter.set_frozen(PATHS, True, hold=True)
        adapter.set_frozen(["body.norm.weight"], False, hold=False)
        assert adapter.held() == set(LAYERS)
        adapter.set_frozen(["body.norm.bias"], False, hold=False)
        assert adapter.held() == set(LAYERS) - {"body.norm"}
        adapter.set_frozen(PATHS, False)
        assert adapter.held() == set(LAYERS) - {"body.norm"}
        adapter.set_frozen(PATHS, False, hold=False)
        assert adapter.held() == frozenset()

    def test_the_mode_is_the_models_own_whatever_is_held(self, model, adapter):
        assert adapter.training()
        adapter.set_frozen(PATHS, True, hold=True)
        assert adapter.training()
        self.set_mode(model, False)
        assert not adapter.training()
        adapter.set_frozen(PATHS, False, hold=False)
        assert not adapter.training()
        self.set_mode(model, True)
        assert adapter.training()

    # ---- training --------------------------------------------------------------------------

    def test_no_byte_of_what_is_frozen_moves(self, model, adapter):
        fv.freeze(model, "body.first", "head.weight")
        kept = fv.receipt(model)
        before = {path: adapter.read(path) for path in PATHS}
        losses = self.train(model, 4)
        assert np.isfinite(losses).all()
        report = kept.verify()
        assert (report.ok, report.checked) == (True, 3)
        for path in PATHS:
            moved = bool((adapter.read(path) != before[path]).any())
            assert moved is (path not in adapter.frozen()), path

    def test_freezing_does_not_change_what_is_computed(self, model):
        losses = self.train(self.build(), 1)
        fv.freeze(model, "body.first", "embed")
        assert self.train(model, 1) == losses

    def test_a_receipt_sees_what_moved(self, model):
        fv.freeze(model, "head.bias", *TWICE)
        kept = fv.receipt(model)
        fv.unfreeze(model, "head.bias")
        self.train(model)
        report = kept.verify()
        assert [(moved.path, moved.trainable) for moved in report.moved] == [("head.bias", True)]

    def test_statistics_of_a_frozen_layer_move_and_of_a_held_one_do_not(self, model, adapter):
        def statistics() -> list[bytes]:
            found = {layer.path: layer for layer in adapter.snapshot().walk()}["body.norm"]
            return [adapter.read(buffer.path).tobytes() for buffer in found.buffers]

        fv.freeze(model, "body.norm")
        before = statistics()
        self.train(model)
        assert all(old != new for old, new in zip(before, statistics(), strict=True))

        fv.freeze(model, "body", hold=True)
        kept, before = fv.receipt(model), statistics()
        self.set_mode(model, False)
        self.set_mode(model, True)
        self.train(model)
        assert kept.verify().ok
        assert kept.verify().checked == 7 + len(before)
        assert statistics() == before

        fv.unfreeze(model, "body.norm")
        self.train(model)
        assert statistics() != before

    def test_dropout_is_off_inside_what_is_held(self, model):
        fv.freeze(model, "")
        assert len(set(self.train(model, 6))) > 1  # the same batch and weights each time
        fv.freeze(model, "", hold=True)
        assert len(set(self.train(model, 6))) == 1
        fv.unfreeze(model, "")
        fv.freeze(model, "")
        assert len(set(self.train(model, 6))) > 1

    # ---- selecting -------------------------------------------------------------------------

    def test_selectors(self, model):
        import re

        assert fv.select(model, "body").paths == (*BODY, *TWICE)
        assert fv.select(model, "body.**").paths == (*BODY, *TWICE)
        assert fv.select(model, "**.bias").paths == tuple(p for p in PATHS if p.endswith("bias"))
        assert fv.select(model, "body.again").paths == TWICE
        assert fv.select(model, "head").paths == ("embed.weight", "head.bias")
        assert fv.select(model, re.compile("norm")).paths == BODY[3:]
        assert fv.select(model, self.linear()).paths == (
            "embed.weight",
            *BODY[1:3],
            *TWICE,
            "head.bias",
        )
        assert fv.select(model, lambda path, value: value.ndim == 2).paths == (
            "embed.weight",
            "body.first.weight",
            "body.twice.weight",
        )
        assert (~fv.select(model, "body")).paths == ("embed.weight", "head.bias")
        with pytest.raises(SelectorError, match=r"nothing matches 'bdy' in Net\. Closest: 'body'"):
            fv.select(model, "bdy")

    # ---- the explorer ----------------------------------------------------------------------

    def test_rows(self, model):
        fv.freeze(model, "body.norm", hold=True)
        rows = {row.path: row for row in fv.explore(model).controller.rows()}
        assert tuple(rows)[:2] == ("", "embed")
        assert (rows[""].state, rows["body.norm"].state, rows["head"].state) == (
            "mixed",
            "frozen",
            "trainable",
        )
        assert rows["body.norm"].held
        assert rows["body.norm"].has_buffers
        assert rows["body.drop"].state == "none"
        assert rows[""].n_parameters == 28 + 4 + 20 + 8 + 20 + 7
        assert rows["embed.weight"].aliases == ("head.weight",)

    def test_controller_toggles_undoes_and_redoes(self, model, adapter):
        controller = fv.explore(model).controller
        states = [adapter.frozen()]
        for act in (
            lambda: controller.toggle("body"),
            lambda: controller.toggle("head.weight"),
            lambda: controller.freeze("**.bias", hold=True),
            lambda: controller.toggle("body"),
            lambda: controller.freeze("body.norm", hold=True),
            lambda: controller.unfreeze(""),
        ):
            act()
            states.append((adapter.frozen(), adapter.held()))
            rows = {row.path for row in controller.rows() if row.state == "frozen"}
            assert rows & set(PATHS) == adapter.frozen()
        assert states[5][1] == {"body.norm"}
        for state in reversed(states[1:-1]):
            controller.undo()
            assert (adapter.frozen(), adapter.held()) == state
        for state in states[2:]:
            controller.redo()
            assert (adapter.frozen(), adapter.held()) == state

    def test_controller_between_steps_of_a_training(self, model, adapter):
        controller = fv.explore(model).controller
        self.train(model)
        controller.toggle("body")
        kept = fv.receipt(model)
        self.train(model)
        assert kept.verify().ok
        controller.undo()
        self.train(model)
        assert {moved.path for moved in kept.verify().moved} == {*BODY, *TWICE}

    def test_what_is_frozen_on_the_model_itself_is_noticed(self, model):
        explorer = fv.explore(model)
        adapt(model).set_frozen(["head.bias"], True)
        explorer.controller.refresh()
        state = {row.path: row.state for row in explorer.controller.rows()}
        assert state["head.bias"] == "frozen"

    def test_summary(self, model):
        fv.freeze(model, "embed")
        text = str(fv.summary(model))
        assert "├ embed" in text
        assert "❄ frozen" in text
        assert text.endswith("87 parameters: 59 trainable, 28 frozen (32.2 %)")

    def test_presets_filters_and_locks(self, model, adapter):
        controller = fv.explore(model).controller
        assert controller.filter(statistics=True) == ["body.norm"]
        controller.apply_preset("biases_only")
        assert adapter.frozen() == {p for p in PATHS if not p.endswith("bias")}
        controller.apply_preset("invert")
        assert adapter.frozen() == {p for p in PATHS if p.endswith("bias")}
        controller.apply_preset("head_only")
        assert "head.bias" not in adapter.frozen()
        controller.undo()
        controller.undo()
        controller.undo()
        assert adapter.frozen() == frozenset()
        controller.lock("body.norm")
        with pytest.warns(fv.FreezevizWarning, match="lock"):
            controller.freeze("body", hold=True)
        assert adapter.frozen() == {*BODY, *TWICE} - {"body.norm.weight", "body.norm.bias"}

    def test_code_and_policy_bring_a_fresh_model_to_the_same_state(self, model, adapter):
        controller = fv.explore(model).controller
        for act in (
            lambda: controller.freeze("**.bias"),
            lambda: controller.unfreeze("body"),
            lambda: controller.freeze("body.again"),
            lambda: controller.freeze(""),
            lambda: controller.unfreeze("head"),
        ):
            act()
            by_code, by_policy = self.build(), self.build()
            exec(controller.code(), {"model": by_code})
            fv.Policy.from_json(controller.policy().to_json()).apply(by_policy)
            assert adapt(by_code).frozen() == adapt(by_policy).frozen() == adapter.frozen()
            assert len(controller.code().splitlines()) < 10

    def test_details(self, model):
        controller = fv.explore(model).controller
        norm = controller.details("body.norm")
        assert norm.kind.startswith("BatchNorm")
        assert norm.doc
        file, _, line = norm.source.rpartition(":")
        assert file.endswith(".py")
        assert int(line) > 0
        (weight, _), mean = norm.parameters, norm.buffers[0]
        assert (weight.shape, weight.dtype, weight.frozen) == ((4,), "float32", False)
        assert (weight.minimum, weight.mean, weight.maximum) == (1, 1, 1)
        assert weight.device == "cpu"
        assert sum(weight.histogram.counts) == 4
        assert mean.frozen is None
        assert controller.details("head").parameters

    # ---- measuring -------------------------------------------------------------------------

    def test_a_probe_tells_of_one_step_and_changes_nothing(self, model, adapter):
        plain = self.build()
        for one in (model, plain):
            fv.freeze(one, "embed", "body.first")
        with warnings.catch_warnings(), adapter.probe() as probe:
            losses = self.train(model, 1)
        assert losses == self.train(plain, 1)
        for path in PATHS:
            assert adapter.read(path).tobytes() == adapt(plain).read(path).tobytes()

        assert probe.order[:6] == (
            "",
            "embed",
            "body",
            "body.first",
            "body.norm",
            "body.drop",
        )
        assert probe.order[6:] == ("body.twice", "body.twice", "head")
        assert probe.needs_gradient == {"body.drop", "body.twice", "head"}
        assert set(probe.seconds) == set(LAYERS)
        assert all(0 <= seconds < 10 for seconds in probe.seconds.values())
        trainable = set(PATHS) - adapter.frozen()
        assert set(probe.gradient_norm) == set(probe.update_norm) == set(probe.weight_norm)
        assert set(probe.weight_norm) == trainable
        assert all(norm > 0 for norm in probe.update_norm.values())
        np.testing.assert_allclose(probe.weight_norm["body.gain"], 2.0)
        assert probe.saved_bytes["body.first"] == 0
        assert probe.saved_bytes["body.norm"] > 0
        assert probe.memory > 0
