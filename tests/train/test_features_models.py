"""The feature cache with models that users write, and with random ones."""

import itertools
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import freezeviz as fv
from freezeviz import autodiff, models, nn, optim, random
from freezeviz.train import _features_judge
from tests.train._features import BATCH, assert_same, both, driven, rows, tokens, told, trainer_of


@pytest.fixture(autouse=True)
def always_worth_it(monkeypatch):
    monkeypatch.setattr(_features_judge, "FETCH", -1e9)


class Net(nn.Module):
    """Two layers and a head; what is done between them is given."""

    def __init__(self, between=nn.relu):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self._between = between

    def __call__(self, x):
        x = self._between(self.first(x))
        return self.head(np.tanh(self.second(x)))


class Text(nn.Module):
    """An encoder with places that are added, as users write it."""

    def __init__(self):
        super().__init__()
        self.words, self.ln = nn.Embedding(11, 8), nn.LayerNorm(8)
        self.at = nn.Embedding(5, 8)
        self.places = np.full((5, 8), 0.5, np.float32)
        self.blocks = [nn.TransformerEncoderLayer(8, 2, 16, activation=nn.gelu) for _ in range(2)]
        self.head = nn.Linear(8, 3)

    def __call__(self, tokens):
        x = self.words(tokens) + self.places + self.at(np.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x).mean(1))


def test_a_chain_of_layers_and_functions_is_kept_to_its_end():
    cached, _ = both(Net, ["first", "second"], data=rows())
    assert told(cached).layers == "first, second"
    assert told(cached).nbytes == 50 * 8 * 4
    assert told(cached).hits == 1.0


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_encoder_is_kept_up_to_its_mean(shuffle):
    frozen = ["words", "places", "at", "blocks.*", "ln"]
    cached, _ = both(Text, frozen, data=tokens(), shuffle=shuffle, validation=tokens(20, seed=1))
    assert told(cached).nbytes == 50 * 8 * 4
    assert told(cached).layers == "words … ln (4 modules)"
    assert told(cached).reason is None


def test_half_an_encoder_is_kept_too():
    cached, _ = both(Text, ["words", "places", "at", "blocks.0"], data=tokens())
    assert told(cached).nbytes == 50 * 5 * 8 * 4
    assert told(cached).layers == "words, blocks.0"


def test_an_array_that_trains_ends_what_is_kept():
    cached, _ = both(Text, ["words", "at", "blocks.*", "ln"], data=tokens())
    assert told(cached).layers == "words"


def test_a_part_of_a_layer_may_be_frozen():
    frozen = ["words", "places", "at", "blocks.0.ln1", "blocks.0.attention"]
    cached, _ = both(Text, frozen, data=tokens())
    assert told(cached).layers == "words … blocks.0.dropout1 (4 modules)"


def test_a_nested_sequence_is_kept_as_far_as_it_is_frozen():
    class Nested(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(
                nn.Linear(4, 8),
                nn.Tanh(),
                nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 6)),
            )
            self.head = nn.Linear(6, 3)

        def __call__(self, x):
            return self.head(self.body(x))

    cached, _ = both(Nested, ["body.layers.0", "body.layers.2.layers.0"], data=rows())
    assert "body.layers.2.layers 0–1" in told(cached).layers
    assert told(cached).nbytes == 50 * 8 * 4


@pytest.mark.parametrize("hold", [True, False])
def test_a_body_that_gives_more_than_an_array_is_kept_below_its_head(hold):
    def make():
        sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
        config = models.BertConfig(
            vocab_size=11, num_hidden_layers=1, max_position_embeddings=5, num_labels=3, **sizes
        )
        return models.BertForSequenceClassification(config)

    def hold_all(trainer):
        trainer.freeze("bert.**", hold=hold)

    cached, _ = both(make, None, {0: hold_all}, data=tokens(), validation=tokens(20, seed=1))
    assert told(cached).hits == 1.0
    if hold:
        assert told(cached).nbytes == 50 * 8 * 4
        assert told(cached).reason == "dropout is Dropout in training mode: hold it"
    else:
        reason = "bert.embeddings.dropout is Dropout in training mode: hold it"
        assert told(cached).reason == reason


def test_a_frozen_model_may_give_more_than_an_array():
    class Pair(Net):
        def __call__(self, x):
            return {"logits": super().__call__(x)}

    def loss(outputs, targets):
        return nn.losses.cross_entropy(outputs["logits"], targets, reduction="mean")

    fv.seed(0)
    model = Pair().freeze()
    trainer = fv.Trainer(model, optim.SGD(0.1), loss, data=rows(), batch_size=BATCH)
    with pytest.warns(fv.errors.NothingTrainableWarning):
        driven(trainer)
    losses = trainer.history.steps["loss"]
    outputs = model(rows()[0])["logits"]
    whole = nn.losses.cross_entropy(outputs, rows()[1], reduction="mean")
    sizes = np.array([BATCH, BATCH, BATCH, 2])
    np.testing.assert_allclose((losses[-4:] * sizes).sum() / 50, whole, rtol=1e-5)


def test_layers_are_computed_together_as_without_a_cache():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.rest = nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 3))

        def __call__(self, x):
            return self.rest(nn.relu(self.first(x)))

    nodes = []
    for cache in (True, False):
        trainer = trainer_of(Mixed, "first", cache, data=rows())
        steps = trainer.steps(2)
        next(steps)
        with autodiff.count() as counts:
            next(steps)
        nodes.append(counts.nodes)
        del steps
    assert nodes[0] == nodes[1]


# ---- what users' code does with it ---------------------------------------------------------------


def shifted(x):
    return x[:, ::-1] + np.concatenate([x, x], axis=-1)[..., : x.shape[-1]]


BETWEEN = {
    "shapes": lambda x: x.reshape(x.shape[0], 2, 4).transpose(0, 2, 1).reshape(len(x), -1),
    "indices": shifted,
    "functions": lambda x: np.where(x > 0, x, np.exp(x) - 1) * np.sqrt(np.abs(x) + 1.0),
    "constants": lambda x: x * np.linspace(0, 1, 8, dtype=np.float32) + np.float32(2),
    "primitives": lambda x: nn.softmax(nn.gelu(x)) + fv.stop_gradient(x),
    "statistics of rows": lambda x: (x - x.mean(axis=-1, keepdims=True)) / (x.std(-1)[:, None] + 1),
    "a sum": lambda x: sum([x, 2 * x, x**2]),
    "a split": lambda x: np.concatenate(np.split(x, 2, axis=1)[::-1], axis=1),
    "an einsum": lambda x: np.einsum("bi,ij->bj", x, np.eye(8, dtype=np.float32)),
    "a copy written into": lambda x: np.asarray(x).copy().clip(0, 1),
    "a loop over rows": lambda x: np.stack([row * 2 for row in x]),
    "a decision": lambda x: x if x.sum() > 1e9 else -x,
    "numbers": lambda x: x * float(x.shape[0]) * int(x.ndim) * (x.dtype == np.float32),
    "a tuple of shapes": lambda x: np.zeros(x.shape, x.dtype) + x,
}  # fmt: skip


@pytest.mark.parametrize("between", BETWEEN)
def test_whatever_is_done_between_layers_gives_the_same_run(between):
    both(
        lambda: Net(BETWEEN[between]), ["first", "second"], data=rows(), validation=rows(20, seed=1)
    )


def mixing(x):
    return x - x.mean(axis=0)


def test_what_mixes_samples_is_not_kept_and_what_comes_before_it_is():
    cached, _ = both(lambda: Net(mixing), ["first", "second"], data=rows())
    assert told(cached).layers == "first"
    assert told(cached).hits == 1.0


def written(x):
    x += 1
    return x


def test_a_model_that_writes_in_place_is_left_alone():
    cached, _ = both(lambda: Net(written), ["first", "second"], data=rows())
    assert "in place" in (told(cached).reason or "")


def test_a_model_that_refuses_what_is_no_array_is_left_alone():
    def strict(x):
        if type(x) is not np.ndarray and type(x).__name__ != "Tracer":
            raise TypeError("no array")
        return x

    cached, _ = both(lambda: Net(strict), ["first", "second"], data=rows())
    assert "TypeError" in (told(cached).reason or "")


class Drawing(nn.Module):
    def __call__(self, x):
        return x + random.default_rng().random(x.shape, dtype=np.float32)


class Moving(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", np.zeros(1, np.int64))

    def __call__(self, x):
        self.calls = self.calls + 1
        return x * 2


class Remembering(nn.Module):
    def __init__(self):
        super().__init__()
        self._before = 0.0

    def __call__(self, x):
        self._before = self._before + 1.0
        return x * self._before


class Averaging(nn.Module):
    def __call__(self, x):
        return x - x.mean(0)


@pytest.mark.parametrize("layer", [Drawing, Moving, Remembering, Averaging])
def test_a_layer_of_a_users_that_is_no_function_of_the_sample_is_not_kept(layer):
    def make():
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), layer(), nn.Linear(8, 8), nn.Linear(8, 3))

    cached, _ = both(make, ["layers.0", "layers.3"], data=rows())
    assert told(cached).layers == "layers 0–1"
    assert "layers.2" in (told(cached).reason or "")


def test_what_a_model_keeps_of_a_step_is_an_array():
    class Keeping(Net):
        def __call__(self, x):
            x = self.first(x)
            self._seen = x
            return self.head(np.tanh(self.second(nn.relu(x))))

    cached, plain = both(Keeping, ["first", "second"], data=rows())
    assert type(cached.model._seen) is np.ndarray
    np.testing.assert_allclose(cached.model._seen, plain.model._seen, rtol=1e-5)


def test_looking_into_a_model_leaves_its_attributes_alone():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self._calls = 0

        def __call__(self, x):
            self._calls += 1
            return x * 2

    def make():
        return nn.Sequential(nn.Linear(4, 8), Counting(), nn.Linear(8, 3))

    cached, plain = both(make, "layers.0", data=rows())
    assert cached.model.layers[1]._calls == plain.model.layers[1]._calls == 12
    assert "changes its own attributes" in (told(cached).reason or "")


# ---- random models -------------------------------------------------------------------------------

LAYERS = {
    "linear": lambda: nn.Linear(6, 6),
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "norm": lambda: nn.LayerNorm(6),
    "batch": lambda: nn.BatchNorm(6),
    "dropout": lambda: nn.Dropout(0.3),
    "tanh": lambda: np.tanh,
    "sequence": lambda: nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)),
}


class Chain(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = [layer for layer in layers if isinstance(layer, nn.Module)]
        self._all = tuple(layers)

    def __call__(self, x):
        for layer in self._all:
            x = layer(x) + 0.1 * x
        return x


@settings(max_examples=40, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=6),
    frozen=st.integers(0, 8),
    hold=st.booleans(),
    is_chain=st.booleans(),
    batch=st.sampled_from([3, 4, 5, 8, 20, 23]),
    shuffle=st.booleans(),
    memory=st.sampled_from([True, 64]),
    change=st.none() | st.tuples(st.integers(1, 6), st.integers(0, 8), st.booleans()),
)
def test_random_models_make_the_same_run(
    kinds, frozen, hold, is_chain, batch, shuffle, memory, change
):
    def run(cache):
        fv.seed(1)
        layers = [nn.Linear(4, 6), *(LAYERS[kind]() for kind in kinds), nn.Linear(6, 3)]
        body = layers[1:-1]
        model = (
            nn.Sequential(layers[0], Chain(body), layers[-1])
            if is_chain
            else nn.Sequential(*layers)
        )
        modules = [m for m in layers if isinstance(m, nn.Module)]
        for module in modules[:frozen]:
            module.freeze(hold=hold)
        trainer = fv.Trainer(
            model, optim.SGD(0.05), data=rows(23), batch_size=batch, shuffle=shuffle,
            feature_cache=cache, validation=rows(9, seed=2),
        )  # fmt: skip
        script = {}
        if change is not None:
            step, count, more = change

            def turn(trainer):
                for module in modules[:count]:
                    module.freeze(hold=hold) if more else module.unfreeze()

            script[step] = turn
        return driven(trainer, script, epochs=2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fv.errors.NothingTrainableWarning)
        first, second = run(memory), run(False)
    assert_same(first, second)


def test_batches_of_every_size_find_the_same_rows():
    for batch, shuffle in itertools.product([1, 7, BATCH, 50, 64], [True, False]):
        both(Net, ["first"], data=rows(), batch_size=batch, shuffle=shuffle, epochs=2)
