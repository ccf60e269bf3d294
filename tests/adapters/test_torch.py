"""What is PyTorch's own: its containers, dtypes and devices, and its traps."""

import copy
import io
import operator
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import freezeviz as fv
from freezeviz.adapters import adapt
from freezeviz.errors import FreezevizWarning, ModelError, SelectorError

ROOT = Path(__file__).parents[2]


class Bag(nn.Module):
    def __init__(self, **members):
        super().__init__()
        for name, value in members.items():
            if isinstance(value, torch.Tensor) and not isinstance(value, nn.Parameter):
                self.register_buffer(name, value)
            else:
                setattr(self, name, value)

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


def layers(model):
    return {layer.path: layer for layer in adapt(model).snapshot().walk()}


def paths(model):
    return [p.path for p in adapt(model).snapshot().all_parameters()]


def step(model, optimizer, x=None, loss=None):
    optimizer.zero_grad()
    value = (model(x) ** 2).mean() if loss is None else loss()
    value.backward()
    optimizer.step()


# ---------------------------------------------------------------- the tree


def test_containers_are_rows():
    model = Bag(
        blocks=nn.ModuleList([nn.Linear(2, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 1))]),
        scales=nn.ParameterList([nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))]),
        named=nn.ParameterDict({"a": nn.Parameter(torch.ones(1))}),
        heads=nn.ModuleDict({"x-y": nn.Linear(1, 1, bias=False)}),
        gain=nn.Parameter(torch.ones(4)),
    )
    found = layers(model)
    assert [(path, layer.kind) for path, layer in found.items()] == [
        ("", "Bag"),
        ("blocks", "ModuleList"),
        ("blocks.0", "Linear"),
        ("blocks.1", "Sequential"),
        ("blocks.1.0", "ReLU"),
        ("blocks.1.1", "Linear"),
        ("scales", "ParameterList"),
        ("named", "ParameterDict"),
        ("heads", "ModuleDict"),
        ("heads.x-y", "Linear"),
    ]
    assert [p.path for p in found[""].parameters] == ["gain"]
    assert [p.path for p in found["scales"].parameters] == ["scales.0", "scales.1"]
    assert paths(model) == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize(
    ("layer", "detail"),
    [
        (nn.Linear(64, 128), "64 → 128"),
        (nn.Conv2d(3, 16, 3), "3 → 16, 3×3"),
        (nn.Conv1d(3, 16, 5, groups=1), "3 → 16, 5"),
        (nn.ConvTranspose2d(8, 4, (2, 3)), "8 → 4, 2×3"),
        (nn.LSTM(8, 16), "8 → 16"),
        (nn.BatchNorm2d(16), "16"),
        (nn.LayerNorm((4, 8)), "4×8"),
        (nn.Embedding(100, 8, padding_idx=0), "100, 8, padding_idx=0"),
        (nn.Dropout(0.1), "p=0.1"),
        (nn.ReLU(), ""),
        (nn.MaxPool2d(2), "kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False"),
    ],
)
def test_details_say_the_sizes(layer, detail):
    assert layers(layer)[""].detail == detail


def test_a_users_words_on_a_layer_cannot_break_the_tree():
    class Long(nn.Module):
        def extra_repr(self):
            return "<b>\n" * 100

    class Broken(nn.Module):
        def extra_repr(self):
            raise RuntimeError

    found = layers(nn.Sequential(Long(), Broken()))
    assert len(found["0"].detail) == 80
    assert "\n" not in found["0"].detail
    assert found["1"].detail == ""


def test_buffers_and_integer_parameters_cannot_be_trained():
    model = Bag(
        index=nn.Parameter(torch.tensor([1, 2]), requires_grad=False),
        count=torch.zeros(3),
        weight=nn.Parameter(torch.ones(2)),
    )
    root = layers(model)[""]
    assert [p.path for p in root.parameters] == ["weight"]
    assert [(b.path, b.dtype, b.nbytes) for b in root.buffers] == [
        ("index", "int64", 16),
        ("count", "float32", 12),
    ]
    fv.freeze(model, "")
    fv.unfreeze(model, "")
    assert not model.index.requires_grad
    with pytest.raises(SelectorError, match=r"'index' in the model: it is a buffer \(int64\)"):
        adapt(model).set_frozen(["weight", "index"], False)


def test_a_cycle_is_walked_once():
    model = Bag(child=Bag(weight=nn.Parameter(torch.ones(1))))
    model.child.parent = model
    assert list(layers(model)) == ["", "child"]


def test_a_shared_module_is_one_row_wherever_it_stands():
    shared = nn.Linear(2, 2)
    model = Bag(a=Bag(lin=shared), b=Bag(deep=Bag(lin=shared)))
    found = layers(model)
    assert list(found) == ["", "a", "a.lin", "b", "b.deep"]
    assert found["a.lin"].aliases == ("b.deep.lin",)
    assert fv.select(model, "b").paths == ("a.lin.weight", "a.lin.bias")


def test_two_parameters_of_one_memory_are_one():
    model = Bag(a=nn.Linear(2, 2), b=nn.Linear(2, 2))
    model.b.weight.data = model.a.weight.data
    assert paths(model) == ["a.weight", "a.bias", "b.bias"]
    fv.freeze(model, "b.weight")
    assert not model.a.weight.requires_grad
    model.a.weight.requires_grad_(True)  # one of the two would move them both
    assert adapt(model).frozen() == frozenset()
    fv.freeze(model, "a.weight")
    kept = fv.receipt(model)
    step(model, torch.optim.SGD(model.parameters(), 0.1), torch.ones(3, 2))
    assert kept.verify().ok


def test_parts_of_one_memory_are_several():
    flat = torch.arange(6.0)
    model = Bag(a=nn.Parameter(flat[:2]), b=nn.Parameter(flat[2:]), c=nn.Parameter(flat[:3]))
    assert paths(model) == ["a", "b", "c"]


def test_lazy_parameters_are_refused_until_they_have_a_shape():
    model = nn.Sequential(nn.LazyLinear(3))
    for look in (fv.explore, fv.summary, fv.receipt, lambda m: fv.freeze(m, "")):
        with pytest.raises(ModelError, match=r"'0\.weight' of LazyLinear has no shape yet: call"):
            look(model)
    model(torch.ones(1, 2))
    assert layers(model)["0"].detail == "2 → 3"
    with pytest.raises(ModelError, match=r"'0\.(running_mean|weight)'"):
        fv.explore(nn.Sequential(nn.LazyBatchNorm1d()))


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn])
def test_short_floats_are_read_as_float32(dtype):
    model = Bag(w=nn.Parameter(torch.tensor([1.5, -2.0]).to(dtype)))
    got = adapt(model).read("w")
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, [1.5, -2.0])
    info = layers(model)[""].parameters[0]
    assert (info.dtype, info.nbytes) == (str(dtype)[6:], 2 * dtype.itemsize)


def test_a_receipt_sees_one_bit_of_bfloat16():
    model = Bag(w=nn.Parameter(torch.ones(3, dtype=torch.bfloat16)))
    fv.freeze(model, "")
    kept = fv.receipt(model)
    model.w.data.view(torch.int16)[1] ^= 1
    assert [moved.changed for moved in kept.verify().moved] == [1]


@pytest.mark.parametrize(
    "tensor",
    [torch.ones(2, 3, dtype=torch.float64).T, torch.ones(2, dtype=torch.complex64), torch.ones(())],
)
def test_read_gives_dtype_and_shape(tensor):
    got = adapt(Bag(w=nn.Parameter(tensor))).read("w")
    assert got.shape == tuple(tensor.shape)
    assert str(got.dtype) == str(tensor.dtype)[6:]


def test_sparse_buffers_and_conjugates_are_read():
    model = Bag(eye=torch.eye(2).to_sparse(), c=torch.tensor([1j]).conj())
    np.testing.assert_array_equal(adapt(model).read("eye"), np.eye(2))
    np.testing.assert_array_equal(adapt(model).read("c"), [-1j])


def test_what_has_no_values_says_so():
    model = nn.Linear(2, 2, device="meta")
    assert adapt(model).device("weight") == "meta"
    assert fv.freeze(model, "").paths == ("weight", "bias")
    with pytest.raises(ModelError, match=r"'weight' is on the meta device.*load its weights"):
        adapt(model).read("weight")


def test_device():
    model = nn.BatchNorm1d(2)
    assert adapt(model).device("weight") == adapt(model).device("running_mean") == "cpu"
    with pytest.raises(SelectorError, match="Closest: 'weight'"):
        adapt(model).device("wieght")


# ---------------------------------------------------------------- freezing


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.1, amsgrad=True),
        lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9),
    ],
    ids=["SGD", "AdamW", "Adam", "RMSprop"],
)
@pytest.mark.parametrize("set_to_none", [True, False])
def test_momentum_decay_and_a_left_gradient_do_not_move_what_is_frozen(make, set_to_none):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    optimizer = make(model.parameters())
    x = torch.ones(4, 3)
    for _ in range(3):
        step(model, optimizer, x)
    assert model[0].weight.grad is not None
    fv.freeze(model, "0")
    assert model[0].weight.grad is None
    kept = fv.receipt(model)
    optimizer.step()  # with the gradients that are left
    for _ in range(3):
        optimizer.zero_grad(set_to_none=set_to_none)
        (model(x) ** 2).mean().backward()
        optimizer.step()
    assert kept.verify().ok
    fv.unfreeze(model, "0")
    step(model, optimizer, x)
    assert not kept.verify().ok


def test_without_the_adapter_a_left_gradient_moves_a_frozen_weight():
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    step(model, optimizer, torch.ones(1, 2))
    model.requires_grad_(False)
    kept = fv.receipt(model)
    optimizer.step()
    assert not kept.verify().ok


def test_freezing_between_forward_and_backward_or_before_the_step():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    loss = (model(torch.ones(1, 2)) ** 2).mean()
    fv.freeze(model, "0")
    kept = fv.receipt(model)
    loss.backward()
    fv.freeze(model, "1.bias")
    also = fv.receipt(model)
    optimizer.step()
    assert kept.verify().ok
    assert also.verify().ok


def test_a_clipped_norm_has_no_gradients_of_frozen_parameters_in_it():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    (model(torch.ones(1, 2)) ** 2).mean().backward()
    model[0].weight.grad.fill_(1e3)
    fv.freeze(model, "0")
    assert nn.utils.clip_grad_norm_(model.parameters(), 1.0) < 100


def test_parameters_that_are_no_leaves_are_refused():
    model = nn.Linear(2, 2)
    model._parameters["weight"] = model.weight * 2
    with pytest.raises(ModelError, match=r"'weight' is the result of a computation \(MulBackward0"):
        fv.freeze(model, "")
    assert model.bias.requires_grad


def test_parameters_made_in_inference_mode_are_refused():
    with torch.inference_mode():
        model = nn.Linear(2, 2)
    fv.freeze(model, "")
    with pytest.raises(ModelError, match=r"'weight' was made in torch\.inference_mode\(\)"):
        fv.unfreeze(model, "")


def test_parametrised_weights_are_frozen_by_what_they_are_made_of():
    model = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)), nn.Linear(2, 2))
    fv.freeze(model, "0")
    kept, before = fv.receipt(model), model[0].weight.detach().clone()
    step(model, torch.optim.AdamW(model.parameters(), 0.1), torch.ones(1, 2))
    assert kept.verify().checked == 3
    assert kept.verify().ok
    assert torch.equal(model[0].weight, before)


# ---------------------------------------------------------------- holding


@pytest.fixture
def cnn():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten())


def modes(model):
    return [module.training for module in model.modules()]


def test_a_hold_outlives_train_and_ends_with_the_mode_it_would_have(cnn):
    fv.freeze(cnn, "1", hold=True)
    assert modes(cnn) == [True, True, False, True, True]
    cnn.train()
    cnn[1].train()
    assert modes(cnn) == [True, True, False, True, True]
    cnn.eval()
    cnn[1].train()
    assert cnn[1].training is False
    fv.unfreeze(cnn, "1")
    assert modes(cnn) == [False, False, True, False, False]
    cnn.train()
    assert all(modes(cnn))
    assert "train" not in vars(cnn[1])


def test_a_part_that_is_let_go_below_a_held_one_follows_train():
    model = nn.Sequential(nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)))
    fv.freeze(model, "", hold=True)
    fv.unfreeze(model, "0.1")
    model.train()
    assert adapt(model).held() == {"", "0", "0.0"}
    assert modes(model) == [False, False, False, True]
    model.eval()
    assert not any(modes(model))
    assert not adapt(model).training()


def test_a_held_model_is_copied_pickled_and_saved(cnn):
    plain_keys = list(cnn.state_dict())
    fv.freeze(cnn, "", hold=True)
    assert list(cnn.state_dict()) == plain_keys
    file = io.BytesIO()
    torch.save(cnn, file)
    file.seek(0)
    for other in (
        copy.deepcopy(cnn),
        pickle.loads(pickle.dumps(cnn)),
        torch.load(file, weights_only=False),
    ):
        assert adapt(other).held() == adapt(cnn).held()
        assert adapt(other).frozen() == adapt(cnn).frozen()
        other.train()
        assert not any(modes(other))
        fv.unfreeze(other, "")
        other.train()
        assert all(modes(other))  # and it is the copy's, not the original's
        assert not any(modes(cnn))


def test_a_modules_own_train_is_still_asked():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.asked = nn.Linear(1, 1), []

        def train(self, mode=True):
            self.asked.append(mode)
            return super().train(mode)

    model = nn.Sequential(Careful())
    fv.freeze(model, "", hold=True)
    assert model.train() is model
    model.eval()
    assert model[0].asked == [True, False]


def test_a_train_that_somebody_else_has_put_there_is_kept(cnn):
    asked = []
    cnn[1].train = asked.append
    fv.freeze(cnn, "1", hold=True)
    cnn.train()
    assert asked == [True]
    assert cnn[1].training is False
    fv.unfreeze(cnn, "1")
    assert cnn[1].train.__self__ is asked


def test_spectral_norm_stands_still_when_held():
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)), nn.Linear(3, 1))
    fv.freeze(model, "0", hold=True)
    kept = fv.receipt(model)
    model.train()
    step(model, torch.optim.SGD(model.parameters(), 0.1), torch.ones(1, 3))
    assert kept.verify().ok
    assert any(line == "buffer" for line in (x.kind for x in kept._lines.values()))


# ---------------------------------------------------------------- optimizers


@pytest.fixture
def two():
    model = Bag(body=nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]), head=nn.Linear(2, 2))
    fv.freeze(model, "body")
    return model, torch.optim.SGD(model.head.parameters(), 0.1)


def given_line(warned):
    return str(warned[0].message).split(":\n", 1)[1]


def test_an_optimizer_that_lacks_what_was_unfrozen_is_reported_with_the_line_that_adds_it(two):
    model, optimizer = two
    explorer = fv.explore(model, optimizer=optimizer)
    with pytest.warns(FreezevizWarning, match=r"SGD does not have 2 trainable param") as warned:
        explorer.controller.unfreeze("body.1")
    assert "body.1.weight, body.1.bias" in str(warned[0].message)
    line = given_line(warned)
    assert line == 'optimizer.add_param_group({"params": model.body[1].parameters()})'
    exec(line, {"model": model, "optimizer": optimizer})
    assert adapt(model).left_out(optimizer) == ((), "")

    with pytest.warns(FreezevizWarning) as warned:
        explorer.controller.unfreeze("body.0.bias")
    assert given_line(warned) == 'optimizer.add_param_group({"params": [model.body[0].bias]})'
    explorer.controller.freeze("body")  # nothing is lacking that is frozen
    with pytest.warns(FreezevizWarning) as warned:
        explorer.controller.toggle("body.0")
    line = given_line(warned)
    exec(line, {"model": model, "optimizer": optimizer})
    explorer.controller.toggle("")
    explorer.controller.toggle("")


def test_watching_looks_at_once_and_tells_each_thing_once(two):
    model, optimizer = two
    fv.unfreeze(model, "body.0")
    explorer = fv.explore(model)
    with pytest.warns(FreezevizWarning, match="body.0.weight, body.0.bias"):
        explorer.watch(optimizer)
    explorer.controller.freeze("head")
    with pytest.warns(FreezevizWarning, match="4 trainable parameters"):
        explorer.controller.unfreeze("body.1")
    explorer.watch(torch.optim.SGD(model.parameters(), 0.1))
    explorer.controller.toggle("")


def test_watching_goes_on_where_warnings_are_errors(caplog):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    explorer = fv.explore(model)
    explorer.controller.freeze(["0", "1"])
    explorer.watch(torch.optim.SGD(model[2].parameters(), 0.1))
    for row in ("0", "1"):
        caplog.clear()
        explorer.controller.unfreeze(row)  # warnings are errors in these tests
        (record,) = caplog.records
        assert f"{row}.weight" in record.getMessage()


def test_many_places_are_added_by_what_requires_a_gradient():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(6)))
    optimizer = torch.optim.Adam(model[0].parameters())
    fv.freeze(model, "**.bias")
    with pytest.warns(FreezevizWarning) as warned:
        explorer = fv.explore(model, optimizer)
    line = given_line(warned)
    assert "\n" not in line  # a page shows a note in one line
    assert eval(line, {"model": model, "optimizer": optimizer}) is None  # one expression
    assert adapt(model).left_out(optimizer) == ((), "")
    added = [model[i].weight for i in range(1, 6)]  # in the order of the model, and no bias
    assert all(map(operator.is_, optimizer.param_groups[1]["params"], added))
    assert len(optimizer.param_groups[1]["params"]) == len(added)
    del explorer


def test_shared_and_tied_parameters_are_added_once():
    shared = nn.Linear(2, 2)
    model = Bag(a=Bag(lin=shared), b=Bag(lin=shared, own=nn.Linear(2, 2)), head=nn.Linear(2, 2))
    model.head.weight = model.b.own.weight
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], 0.1)
    missing, line = adapt(model).left_out(optimizer)
    assert len(missing) == 5
    exec(line, {"model": model, "optimizer": optimizer})
    fv.freeze(model, "head.bias")
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], 0.1)
    exec(adapt(model).left_out(optimizer)[1], {"model": model, "optimizer": optimizer})
    assert len(optimizer.param_groups[1]["params"]) == 4
    assert adapt(model).left_out(optimizer) == ((), "")


@pytest.mark.parametrize("thing", [3, nn.Linear(1, 1), fv.optim.SGD(0.1), [torch.ones(1)]])
def test_what_is_no_optimizer_is_refused(two, thing):
    with pytest.raises(TypeError, match="expected an optimizer of PyTorch"):
        fv.explore(two[0]).watch(thing)


def test_an_optimizer_of_freezeviz_lacks_nothing():
    explorer = fv.explore(fv.nn.Linear(1, 1), optimizer=fv.optim.SGD(0.1))
    explorer.controller.toggle("")
    explorer.controller.toggle("")


# ---------------------------------------------------------------- compiled and scripted models


def test_a_compiled_model_is_its_original_and_notices_a_freeze():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    compiled = torch.compile(model, backend="aot_eager")
    assert adapt(compiled).model is model
    assert paths(compiled)[0] == "0.weight"
    optimizer = torch.optim.AdamW(compiled.parameters(), 0.1)
    x = torch.randn(8, 3)
    step(compiled, optimizer, x)
    controller = fv.explore(compiled).controller
    for what in ("0", "1", "2.bias"):
        controller.freeze(what, hold=True)
        kept = fv.receipt(compiled)
        for _ in range(2):
            step(compiled, optimizer, x)
            compiled.train()
        assert kept.verify().ok
    controller.unfreeze("")
    before = {p: adapt(model).read(p) for p in (*paths(model), "1.running_mean")}
    step(compiled, optimizer, x)
    assert all((adapt(model).read(p) != before[p]).any() for p in before)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_a_scripted_model_is_frozen_and_held():
    model = torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Linear(2, 1)))
    assert layers(model)["1"].kind == "BatchNorm1d"
    fv.freeze(model, "1", hold=True)
    kept = fv.receipt(model)
    model.train()
    step(model, torch.optim.AdamW(model.parameters()), torch.randn(4, 2))
    assert kept.verify().ok
    assert kept.verify().checked == 5
    fv.unfreeze(model, "1")
    step(model, torch.optim.AdamW(model.parameters()), torch.randn(4, 2))
    assert not kept.verify().ok


# ---------------------------------------------------------------- registry


def test_a_users_adapter_for_torch_models_wins():
    class Own:
        framework = "own"

        def __init__(self, model):
            self.model = model

    take_back = fv.adapters.register("own", lambda model: isinstance(model, nn.ReLU), Own)
    try:
        assert adapt(nn.ReLU()).framework == "own"
        assert adapt(nn.Linear(1, 1)).framework == "torch"
    finally:
        take_back()
    assert adapt(nn.ReLU()).framework == "torch"


def test_torch_is_only_looked_for_where_it_was_imported():
    code = (
        "import sys, types, freezeviz as fv\n"
        "from freezeviz import nn\n"
        "fv.freeze(nn.Linear(1, 1), 'weight')\n"
        "try: fv.adapters.adapt(3)\n"
        "except TypeError: pass\n"
        "assert 'torch' not in sys.modules and 'freezeviz.adapters._torch' not in sys.modules\n"
        "sys.modules['torch'] = types.ModuleType('torch')  # half imported, say\n"
        "try: fv.adapters.adapt(3)\n"
        "except TypeError: print('fine')"
    )
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout == "fine\n", done.stderr


# ---------------------------------------------------------------- measuring


def test_a_probe_leaves_nothing_behind_whatever_the_step_raised():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True), nn.Linear(2, 2))
    x = torch.ones(1, 2)
    with adapt(model).probe():
        (model(x) ** 2).mean().backward()
    with pytest.raises(RuntimeError, match="shapes"), adapt(model).probe():
        model(torch.ones(1, 3))
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    for parameter in model.parameters():
        assert not parameter._post_accumulate_grad_hooks
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(packed.append, lambda x: x):
        model(x)
    assert packed  # ours are not in force any more


def test_a_caught_error_within_a_step_does_not_confuse_the_clock():
    class Tries(nn.Module):
        def __init__(self):
            super().__init__()
            self.bad, self.good = nn.Linear(3, 3), nn.Linear(2, 2)

        def forward(self, x):
            try:
                return self.bad(x)
            except RuntimeError:
                return self.good(x)

    model = nn.Sequential(Tries(), nn.Linear(2, 2))
    with adapt(model).probe() as probe:
        (model(torch.ones(1, 2)) ** 2).mean().backward()
    assert probe.order == ("", "0", "0.bad", "0.good", "1")
    assert set(probe.needs_gradient) == {"1"}


def test_gradients_are_known_though_the_loop_drops_them():
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    with adapt(model).probe() as probe:
        model(torch.tensor([[3.0, 4.0]])).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert probe.gradient_norm == {"weight": 5.0}
    assert probe.update_norm == {"weight": 2.5}


def test_a_norm_of_infinity_and_of_half_precision():
    model = Bag(
        a=nn.Parameter(torch.full((4,), 3e4, dtype=torch.float16)),
        b=nn.Parameter(torch.tensor([float("nan")])),
    )
    with adapt(model).probe() as probe:
        pass
    assert probe.weight_norm == {"a": pytest.approx(6e4, rel=1e-2), "b": float("inf")}
    assert probe.order == ()


def test_saved_bytes_are_those_of_what_backward_needs():
    model = nn.Sequential(nn.Linear(8, 16, bias=False), nn.ReLU(), nn.Linear(16, 4, bias=False))
    x = torch.ones(32, 8)
    with adapt(model).probe() as probe:
        model(x).sum().backward()
    kib = {"": 0, "0": 32 * 8 * 4, "1": 32 * 16 * 4, "2": 0}  # the second input is ReLU's output
    assert probe.saved_bytes == kib
    fv.freeze(model, "0")
    with adapt(model).probe() as probe:
        model(x).sum().backward()
    assert probe.saved_bytes == {"": 0, "0": 0, "1": 0, "2": 32 * 16 * 4}
    assert probe.needs_gradient == frozenset()


def test_time_of_backward_is_the_modules_whose_operation_it_was():
    class Slow(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, gradient):
            import time

            time.sleep(0.05)
            return gradient

    class Wait(nn.Module):
        def forward(self, x):
            return Slow.apply(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin, self.wait, self.out = nn.Linear(2, 2), Wait(), nn.Linear(2, 2)

        def forward(self, x):
            return self.out(Slow.apply(self.wait(self.lin(x) * 2)) * 2)

    model = Net()
    with adapt(model).probe() as probe:
        model(torch.ones(1, 2)).sum().backward()
    assert probe.seconds["wait"] > 0.04
    assert probe.seconds[""] > 0.04
    assert probe.seconds["lin"] < 0.04
    assert probe.seconds["out"] < 0.04


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_parts_are_measured_and_unchanged(reentrant):
    from torch.utils.checkpoint import checkpoint

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.block = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Tanh())

        def forward(self, x):
            return checkpoint(self.block, self.first(x), use_reentrant=reentrant)

    def gradients(probed):
        torch.manual_seed(0)
        model = Net()
        if probed:
            with adapt(model).probe() as probe:
                model(torch.ones(3, 4)).sum().backward()
            assert probe.saved_bytes["block.0"] <= 3 * 4 * 4
        else:
            model(torch.ones(3, 4)).sum().backward()
        return [p.grad for p in model.parameters()]

    assert all(map(torch.equal, gradients(True), gradients(False)))


def test_a_checkpoint_around_a_whole_model_and_offloading_keep_what_they_keep():
    from torch.utils.checkpoint import checkpoint

    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    with adapt(model).probe() as probe:
        checkpoint(model, torch.ones(3, 4), use_reentrant=False).sum().backward()
    assert probe.gradient_norm["0.weight"] > 0
    assert sum(probe.saved_bytes.values()) == 0
    with adapt(model).probe() as probe, torch.autograd.graph.save_on_cpu():
        model(torch.ones(3, 4)).sum().backward()
    assert probe.gradient_norm["0.weight"] > 0


def test_function_transforms_around_a_model_work_in_a_probe():
    model = nn.Linear(2, 1)
    state = {name: p.detach() for name, p in model.named_parameters()}
    x = torch.ones(3, 2)

    def loss(state):
        return (torch.func.functional_call(model, state, (x,)) ** 2).mean()

    plain = torch.func.grad(loss)(state)
    with adapt(model).probe():
        measured = torch.func.grad(loss)(state)
    assert torch.equal(plain["weight"], measured["weight"])


def test_another_threads_calls_are_not_measured():
    import threading

    model = nn.Linear(2, 2)
    with adapt(model).probe() as probe:
        thread = threading.Thread(target=lambda: model(torch.ones(1, 2)).sum().backward())
        thread.start()
        thread.join()
    assert probe.order == ()
    assert probe.saved_bytes == {}


def test_a_compiled_model_is_probed_without_being_compiled_for_the_probe():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.ones(2, 3)
    compiled(x).sum().backward()
    for _ in range(2):
        with adapt(compiled).probe() as probe:
            compiled(x).sum().backward()
        assert set(probe.gradient_norm) == set(paths(model))


# ---------------------------------------------------------------- noticing that a model is another


def _other_module(model):
    model.a = nn.Linear(3, 2)


def _other_parameter(model):
    model.a.bias = nn.Parameter(torch.ones(2))


def _no_bias(model):
    model.a.bias = None


def _half(model):
    model.to(torch.bfloat16)


def _tied(model):
    model.b.weight.data = model.a.weight.data


def _other_words(model):
    model.drop.p = 0.9


def _renamed(model):
    model._modules["c"] = model._modules.pop("b")


def _more_buffers(model):
    model.a.register_buffer("count", torch.zeros(2))


def _longer_buffer(model):
    model.norm.running_mean = torch.zeros(5)


@pytest.mark.parametrize(
    "change",
    [
        _other_module,
        _other_parameter,
        _no_bias,
        _half,
        _tied,
        _other_words,
        _renamed,
        _more_buffers,
        _longer_buffer,
    ],
)
@pytest.mark.parametrize("looked", [True, False])
def test_a_changed_model_is_seen_at_once(change, looked):
    model = Bag(a=nn.Linear(2, 2), b=nn.Linear(2, 2), drop=nn.Dropout(0.1), norm=nn.BatchNorm1d(2))
    adapter = adapt(model)
    adapter.snapshot() if looked else adapter.frozen()
    change(model)
    assert adapter.snapshot() == adapt(model).snapshot()
    every = [p.path for p in adapter.snapshot().all_parameters()]
    adapter.set_frozen(every, True, hold=True)
    assert adapter.frozen() == set(every)
    assert not any(p.requires_grad for p in model.parameters())


def test_the_same_model_has_the_same_snapshot():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    adapter = adapt(model)
    snapshot = adapter.snapshot()
    step(model, torch.optim.AdamW(model.parameters()), torch.randn(4, 2))
    fv.freeze(model, "0", hold=True)
    model.eval()
    model[1].running_mean = torch.ones(2)
    assert adapter.snapshot() is snapshot


def test_ten_thousand_modules(capsys):
    import time

    model = nn.Sequential(
        *(nn.Sequential(nn.Linear(1, 1), nn.LayerNorm(1), nn.ReLU()) for _ in range(2500))
    )
    adapter = adapt(model)
    taken = {}
    root = adapter.snapshot()
    every = [p.path for p in root.all_parameters()]
    for name, act in {
        "snapshot": adapter.snapshot,
        "frozen": adapter.frozen,
        "held": adapter.held,
        "freeze one, held": lambda: adapter.set_frozen(every[:2], True, True),
        "freeze all, held": lambda: adapter.set_frozen(every, True, True),
    }.items():
        start = time.perf_counter()
        act()
        taken[name] = time.perf_counter() - start
    assert len(adapter.frozen()) == 10_000
    assert len(adapter.held()) == 10_001
    with capsys.disabled():
        print("\n10,000 modules:", {name: f"{t * 1e3:.0f} ms" for name, t in taken.items()})


def test_a_model_that_is_deeper_than_the_stack():
    model = nn.Linear(1, 1)
    for _ in range(3000):
        outer = nn.Module()
        outer.inner = model
        model = outer
    adapter = adapt(model)
    (weight, bias) = (p.path for p in adapter.snapshot().all_parameters())
    assert weight.count(".") == 3000
    adapter.set_frozen([weight], True)
    assert adapter.frozen() == {weight}
    assert adapter.read(bias).shape == (1,)


def test_those_who_watch_hear_of_what_is_lacking_after_the_change(two):
    model, optimizer = two
    explorer = fv.explore(model, optimizer)
    heard = []
    explorer.controller.subscribe(heard.append)
    with pytest.warns(FreezevizWarning):
        explorer.controller.unfreeze("body.1")
    assert [change.kind for change in heard] == ["state", "note"]
    assert heard[1].paths == ("body.1.weight", "body.1.bias")
    assert "optimizer.add_param_group" in heard[1].label


def test_a_model_with_parts_named_like_a_trainers_gets_its_receipt():
    model = Bag(adapter=nn.Linear(2, 2), step=nn.Parameter(torch.ones(1)))
    fv.freeze(model, "adapter")
    assert len(fv.receipt(model)) == 2
