"""Whole models on a GPU: the numbers of the CPU, files, copies, freezing, the explicit face."""

import copy
import pickle

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import models, nn, optim
from freezeviz.errors import DeviceError
from tests.models import _checkpoints as c
from tests.standin_cupy import host_reads

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
CLASSES = np.array([0, 2, 1, 1, 0, 2])


def make():
    fv.seed(1)
    return nn.Sequential(
        nn.Linear(4, 8), nn.GELU(), nn.BatchNorm(8), nn.Dropout(0.3), nn.LayerNorm(8),
        nn.Linear(8, 3),
    )  # fmt: skip


def loss_of(model, x, classes):
    return nn.losses.cross_entropy(model(x), classes, reduction="mean")


def arrays(model):
    return model.named_parameters() + model.named_buffers()


def contents(model):
    return {path: fv.to_numpy(value).tobytes() for path, value in arrays(model)}


def steps(model, x, classes, count=3, optimizer=None):
    """Train, with clipping and a schedule; return the losses."""
    optimizer = optimizer or optim.Adam(optim.cosine_decay(0.05, 10))
    losses = []
    for number in range(count):
        with fv.random.using(np.random.default_rng(number)):
            loss, gradients = nn.value_and_grad(model, loss_of)(model, x, classes)
        gradients, _ = optim.clip_grad_norm(gradients, 0.5)
        optimizer.update(model, gradients)
        losses.append(loss)
    return losses


# ---------------------------------------------------------------- a model that trains


def test_a_model_made_on_the_gpu_has_the_values_of_one_made_on_the_cpu(cupy):
    host = make()
    fv.use("gpu")
    model = make()
    assert all(isinstance(value, cupy.ndarray) for _, value in arrays(model))
    assert contents(model) == contents(host)


def test_training_moves_it_as_on_the_cpu_and_reads_nothing_back(cupy):
    host, model = make(), make().to("gpu")
    expected = steps(host, X, CLASSES)
    with host_reads() as reads:
        losses = steps(model, cupy.asarray(X), cupy.asarray(CLASSES))
    assert reads == []
    np.testing.assert_allclose([float(loss) for loss in losses], expected, rtol=1e-5)
    for (path, value), (_, wanted) in zip(arrays(model), arrays(host), strict=True):
        assert isinstance(value, cupy.ndarray), path
        np.testing.assert_allclose(fv.to_numpy(value), wanted, rtol=1e-4, atol=1e-6)


def test_frozen_bytes_do_not_move_and_the_rest_does(cupy):
    model = make().to("gpu")
    fv.freeze(model, "layers.0.*")
    fv.freeze(model, "layers.2.**", hold=True)
    kept = fv.receipt(model)
    before = contents(model)
    steps(model, cupy.asarray(X), cupy.asarray(CLASSES))
    assert kept.verify().ok
    after = contents(model)
    moved = {path for path, value in after.items() if value != before[path]}
    assert moved == {f"layers.{i}.{n}" for i in (4, 5) for n in ("weight", "bias")}
    fv.unfreeze(model, "layers.0.*")
    steps(model, cupy.asarray(X), cupy.asarray(CLASSES))
    assert {moved.path for moved in kept.verify().moved} == {"layers.0.weight", "layers.0.bias"}


@pytest.mark.parametrize("how", ["copy.copy", "copy.deepcopy", "pickle"])
def test_a_copy_stays_on_the_gpu_and_is_its_own(how, cupy):
    model = make().to("gpu")
    model.layers[0].freeze()
    ways = {
        "copy.copy": copy.copy,
        "copy.deepcopy": copy.deepcopy,
        "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    }
    twin = ways[how](model)
    assert contents(twin) == contents(model)
    assert all(isinstance(value, cupy.ndarray) for _, value in arrays(twin))
    assert fv.tree_flatten(twin.frozen_parameters()) != []
    if how != "copy.copy":
        before = contents(model)
        steps(twin, cupy.asarray(X), cupy.asarray(CLASSES))
        assert contents(model) == before


def test_an_optimizer_goes_with_the_model_to_the_gpu_and_back(cupy):
    host, model = make(), make()
    ours, theirs = optim.Adam(0.01), optim.Adam(0.01)
    steps(model, X, CLASSES, 2, ours)
    model.to("gpu")
    steps(model, cupy.asarray(X), cupy.asarray(CLASSES), 2, ours)
    assert isinstance(ours.state["layers.0.weight"]["m"], cupy.ndarray)
    model.to("cpu")
    steps(model, X, CLASSES, 2, ours)
    for _ in range(3):
        steps(host, X, CLASSES, 2, theirs)
    for (path, value), (_, wanted) in zip(arrays(model), arrays(host), strict=True):
        assert isinstance(value, np.ndarray), path
        np.testing.assert_allclose(value, wanted, rtol=1e-4, atol=1e-6)


def test_tied_arrays_stay_one_on_the_gpu(cupy):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model.layers[1].weight = model.layers[0].weight
    model.to("gpu")
    assert model.layers[1].weight is model.layers[0].weight
    assert len(model.named_parameters()) == 3
    model.layers[1].freeze()
    assert [path for path, _ in fv.tree_flatten(model.trainable_parameters())] == ["layers.0.bias"]


def test_arrays_of_two_devices_say_how_to_bring_them_together(cupy):
    model = make().to("gpu")
    for call in (
        lambda: nn.value_and_grad(model, loss_of)(model, X, CLASSES),
        lambda: loss_of(model, cupy.asarray(X), CLASSES),
        lambda: nn.Embedding(5, 2).to("gpu")(CLASSES),
        lambda: nn.Embedding(5, 2)(cupy.asarray(CLASSES)),
    ):
        with pytest.raises(DeviceError, match=r"expected arrays of one library, got .*cupy"):
            call()


def test_indices_out_of_range_wrap_around_instead_of_making_the_host_wait(cupy):
    table, wrong = nn.Embedding(3, 2).to("gpu"), cupy.asarray([3, -1])
    with host_reads() as reads:
        rows = table(wrong)
        loss = nn.losses.cross_entropy(cupy.asarray(np.eye(3)), cupy.asarray([3, 4, 5]))
    assert reads == []
    np.testing.assert_array_equal(rows.get(), table.weight.get()[[0, 2]])
    np.testing.assert_allclose(loss.get(), np.log(2 + np.e) - 1)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_weights_go_through_a_file_from_the_gpu_and_to_it(ending, cupy, tmp_path):
    model, file = make().to("gpu"), tmp_path / f"weights.{ending}"
    steps(model, cupy.asarray(X), cupy.asarray(CLASSES))
    model.save_weights(file)
    host = make().load_weights(file)
    there = make().to("gpu").load_weights(file)
    assert contents(host) == contents(there) == contents(model)
    assert all(isinstance(value, np.ndarray) for _, value in arrays(host))
    assert all(isinstance(value, cupy.ndarray) for _, value in arrays(there))
    pairs = [(path, value) for path, value in arrays(model)]
    assert contents(make().load_weights(pairs)) == contents(model)
    assert contents(make().to("gpu").load_weights(arrays(host))) == contents(model)


@pytest.mark.parametrize("kind", c.CONFIGS)
def test_a_checkpoint_gives_on_the_gpu_what_it_gives_on_the_cpu(kind, cupy, tmp_path):
    folder = c.write(tmp_path / kind, c.config(kind))
    given = c.inputs(kind)
    host = models.load(folder).eval()
    expected = c.logits(host, given)
    fv.use("gpu")
    model = models.load(folder).eval()
    there = {name: cupy.asarray(value) for name, value in given.items()}
    with host_reads() as reads:
        out = c.logits(model, there)
        _, gradients = nn.value_and_grad(model, lambda: (c.logits(model, there) ** 2).mean())()
    assert reads == []
    assert isinstance(out, cupy.ndarray)
    np.testing.assert_allclose(fv.to_numpy(out), expected, rtol=1e-4, atol=1e-5)
    _, wanted = nn.value_and_grad(host, lambda: (c.logits(host, given) ** 2).mean())()
    wanted = dict(fv.tree_flatten(wanted))
    for path, gradient in fv.tree_flatten(gradients):
        scale = np.abs(wanted[path]).max() + 1e-3
        assert np.abs(fv.to_numpy(gradient) - wanted[path]).max() <= 1e-4 * scale, path


@pytest.mark.parametrize("kind", ["bert", "gpt2", "vit"])
def test_training_mode_with_dropout_of_attention_runs_on_the_gpu(kind, cupy):
    cls = getattr(models, c.ARCHITECTURES[kind])
    fv.use("gpu")
    model = cls(cls.config_type.from_dict(c.config(kind)))
    there = {name: cupy.asarray(value) for name, value in c.inputs(kind).items()}
    with host_reads() as reads:
        nn.value_and_grad(model, lambda: (c.logits(model, there) ** 2).mean())()
    assert reads == []


# ---------------------------------------------------------------- the explicit face


def lux_model():
    fv.seed(2)
    return lux.Chain(
        lux.Dense(4, 8, activation=np.tanh), lux.BatchNorm(8), lux.Dropout(0.3),
        lux.SkipConnection(lux.Dense(8, 8), np.add), lux.Dense(8, 3),
    )  # fmt: skip


def lux_step(model, x, classes, ps, st):
    def loss(ps):
        y, new = lux.apply(model, x, ps, st)
        return nn.losses.cross_entropy(y, classes, reduction="mean"), new

    (value, new), gradients = lux.value_and_grad(loss)(ps)
    return value, new, gradients


def test_the_explicit_face_computes_on_the_gpu_what_it_computes_on_the_cpu(cupy):
    model = lux_model()
    ps, st = lux.setup(np.random.default_rng(5), model)
    expected = lux_step(model, X, CLASSES, ps, st)
    fv.use("gpu")
    model = lux_model()
    ps, st = lux.setup(np.random.default_rng(5), model)
    assert all(isinstance(leaf, cupy.ndarray) for _, leaf in fv.tree_flatten(ps))
    with host_reads() as reads:
        value, new, gradients = lux_step(model, cupy.asarray(X), cupy.asarray(CLASSES), ps, st)
    assert reads == []
    np.testing.assert_allclose(float(value), expected[0], rtol=1e-5)
    for got, wanted in ((gradients, expected[2]), (new, expected[1])):
        for (path, a), (_, b) in zip(fv.tree_flatten(got), fv.tree_flatten(wanted), strict=True):
            if isinstance(b, np.ndarray):
                assert isinstance(a, cupy.ndarray), path
                np.testing.assert_allclose(fv.to_numpy(a), b, rtol=1e-4, atol=1e-6)


def test_explicit_freezing_and_sharing_work_on_the_gpu(cupy):
    fv.use("gpu")
    x, classes = cupy.asarray(X), cupy.asarray(CLASSES)
    model = lux_model()
    ps, st = lux.setup(np.random.default_rng(5), model)

    def freeze_first(layer, ps, st, path):
        return lux.freeze(layer, ps, st, ["weight"]) if str(path) == "layer_1" else (layer, ps, st)

    frozen, ps, st = lux.layer_map(freeze_first, model, ps, st)
    assert set(ps["layer_1"]) == {"bias"}
    before = fv.to_numpy(st["layer_1"]["frozen_params"]["weight"])
    _, new, gradients = lux_step(frozen, x, classes, ps, st)
    assert set(gradients["layer_1"]) == {"bias"}
    kept = new["layer_1"]["frozen_params"]["weight"]
    assert isinstance(kept, cupy.ndarray)
    np.testing.assert_array_equal(fv.to_numpy(kept), before)
    layer = lux.Dense(4, 8)
    whole = lux.setup(3, layer)
    frozen, ps, st = lux.freeze(layer, *whole, ["weight"])
    _, ps, _ = lux.unfreeze(frozen, ps, st)
    assert {name: value.get().tobytes() for name, value in ps.items()} == {
        name: value.get().tobytes() for name, value in whole[0].items()
    }


# ---------------------------------------------------------------- the rest of the house


def test_explorer_summary_and_adapter_read_from_the_gpu(cupy):
    model, host = make().to("gpu"), make()
    assert str(fv.summary(model)) == str(fv.summary(host))
    read = fv.receipt(model.freeze())
    assert dict(read) == dict(fv.receipt(host.freeze()))
