"""What the models do, on their own."""

import copy
import pickle

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import autodiff, models, nn, random
from freezeviz.errors import DataError, ShapeError, WeightsError
from freezeviz.models._attention import attend, self_attend
from tests.models import _checkpoints as c

kinds = pytest.mark.parametrize("kind", c.CONFIGS)
architectures = pytest.mark.parametrize(
    "architecture",
    [name for name in models.__all__ if hasattr(getattr(models, name), "expected")],
)


def make(architecture: str, **changes):
    cls = getattr(models, architecture)
    kind = cls.config_type.model_type
    return cls(cls.config_type.from_dict(c.config(kind, **changes)))


@architectures
@pytest.mark.parametrize("changes", [{}, {"tie_word_embeddings": False}, {"qkv_bias": False}])
def test_expected_is_what_the_model_has(architecture: str, changes: dict) -> None:
    model = make(architecture, **changes)
    has = {}
    for path, value in model.named_parameters() + model.named_buffers():
        has |= dict.fromkeys([path, *model.aliases().get(path, ())], value.shape)
    wanted = {}
    for entry in type(model).expected(model.config):
        axes = entry.axes or range(len(entry.shape))
        wanted[entry.path] = tuple(entry.shape[i] for i in axes)
    assert has == wanted


@architectures
def test_copies_and_pickles_compute_the_same(architecture: str) -> None:
    model = make(architecture).eval()
    given = c.inputs(type(model).config_type.model_type)
    out = c.logits(model, given)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert c.logits(twin, given).tobytes() == out.tobytes()
        assert twin.config == model.config


def test_globs_read_as_users_of_hugging_face_expect() -> None:
    model = make("BertForSequenceClassification")
    assert fv.select(model, "bert.encoder.layer.*.attention.**").paths == tuple(
        f"bert.encoder.layer.{i}.attention.{part}.{name}"
        for i in range(2)
        for part in ("self.query", "self.key", "self.value", "output.dense", "output.LayerNorm")
        for name in ("weight", "bias")
    )
    assert len(fv.select(make("ViTForImageClassification"), "vit.encoder.layer.1.**")) == 16
    assert len(fv.select(make("GPT2LMHeadModel"), "transformer.h.0.mlp.**")) == 4
    resnet = fv.select(make("ResNetForImageClassification"), "resnet.encoder.stages.1.**")
    assert "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight" in resnet.paths


def test_output_layer_of_gpt2_is_its_table_of_words() -> None:
    model = make("GPT2LMHeadModel")
    assert model.aliases() == {"transformer.wte.weight": ("lm_head.weight",)}
    assert "lm_head.weight" not in dict(model.named_parameters())
    model.lm_head.freeze()
    assert "transformer.wte.weight" in dict(fv.tree_flatten(model.frozen_parameters()))


def test_output_layer_of_bert_is_its_table_of_words() -> None:
    table = "bert.embeddings.word_embeddings.weight"
    aliases = make("BertForMaskedLM").aliases()
    assert aliases[table] == ("cls.predictions.decoder.weight",)
    assert aliases["cls.predictions.bias"] == ("cls.predictions.decoder.bias",)


def test_later_tokens_do_not_reach_earlier_ones_in_gpt2(rng: np.random.Generator) -> None:
    model = make("GPT2LMHeadModel").eval()
    ids = rng.integers(0, 20, (2, 10))
    changed = ids.copy()
    changed[:, 6:] = rng.integers(0, 20, (2, 4))
    a, b = model(ids), model(changed)
    np.testing.assert_allclose(a[:, :6], b[:, :6], rtol=0, atol=1e-6)
    assert np.abs(a[:, 6:] - b[:, 6:]).max() > 1e-3


def test_padding_gets_no_gradient_in_bert() -> None:
    model = make("BertModel")
    ids = np.array([[5, 0, 0, 7]])
    _, gradients = nn.value_and_grad(model, lambda: (model(ids).last_hidden_state ** 2)[0, 1, 0])()
    rows = gradients["embeddings"]["word_embeddings"]["weight"]
    assert not rows[0].any()
    assert rows[5].any()


@pytest.mark.parametrize("mask", [None, "padding", "causal"])
def test_attention_with_dropout_of_nothing_is_the_fused_one(rng, mask: str | None) -> None:
    parts = rng.standard_normal((3, 2, 5, 8), dtype=np.float32)
    if mask == "padding":
        mask = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]], bool)[:, None, None]
    elif mask == "causal":
        mask = np.tril(np.ones((5, 5), bool))
    dropout = nn.Dropout(1e-9)
    assert dropout.training
    wanted = autodiff.attention(
        *(x.reshape(2, 5, 2, 4).transpose(0, 2, 1, 3) for x in parts), mask=mask, scale=0.3
    )
    out = attend(*parts, 2, mask, dropout, 0.3)
    np.testing.assert_allclose(
        out, wanted.transpose(0, 2, 1, 3).reshape(2, 5, 8), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "GPT2LMHeadModel"])
def test_dropout_draws_in_train_mode_only_and_from_the_generator_in_use(architecture) -> None:
    model, given = make(architecture), c.inputs("gpt2")

    def run(seed: int) -> bytes:
        with random.using(np.random.default_rng(seed)):
            return model(**given).tobytes()

    assert run(0) == run(0) != run(1)
    model.freeze(hold=True)
    assert run(0) == run(1)
    model.unfreeze().eval()
    assert run(0) == run(1)


@kinds
def test_frozen_blocks_in_front_leave_no_nodes(kind: str) -> None:
    def nodes(blocks: int) -> int:
        deep = {"bert": "num_hidden_layers", "gpt2": "n_layer", "vit": "num_hidden_layers"}
        changes = {deep[kind]: blocks} if kind in deep else {"depths": [blocks - 1, 1]}
        model = make(c.ARCHITECTURES[kind], **changes).eval()
        model.freeze()
        last = {"bert": "bert.encoder.layer", "gpt2": "transformer.h", "vit": "vit.encoder.layer"}
        path = f"{last[kind]}.{blocks - 1}" if kind in deep else "resnet.encoder.stages.1"
        fv.unfreeze(model, path)
        given = c.inputs(kind)
        with autodiff.count() as counts:
            nn.value_and_grad(model, lambda: (model(**given) ** 2).sum())()
        return counts.nodes.total()

    assert nodes(2) == nodes(4) > 0


@pytest.mark.parametrize("architecture", ["ViTForImageClassification", "ResNetModel"])
def test_channels_first_gets_a_hint(architecture: str) -> None:
    model = make(architecture)
    with pytest.raises(ShapeError, match=r"channels=3.*got \(1, 3, 8, 12\).*transpose\(0, 2, 3, 1"):
        model(np.zeros((1, 3, 8, 12), np.float32))


@pytest.mark.parametrize(
    ("architecture", "given", "message"),
    [
        ("BertModel", {"input_ids": np.ones((1, 11), int)}, r"a length of at most 10.*\(1, 11\)"),
        ("GPT2Model", {"input_ids": np.ones(4, int)}, r"\(batch, length\).*got \(4,\)"),
        (
            "BertModel",
            {"input_ids": np.ones((2, 4), int), "attention_mask": np.ones((2, 3), int)},
            r"attention_mask of shape \(batch, length\)=\(2, 4\), got \(2, 3\)",
        ),
        ("ViTModel", {"pixel_values": np.ones((1, 8, 8, 3))}, r"\(8, 12\), got \(8, 8\)"),
        ("ResNetModel", {"pixel_values": [1.0]}, "got list"),
    ],
)
def test_inputs_of_other_shapes_are_refused(architecture: str, given: dict, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        make(architecture)(**given)


def test_ids_out_of_range_are_refused() -> None:
    with pytest.raises(DataError, match="20 vectors, got the index 20"):
        make("GPT2Model")(np.array([[20]]))


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("bert", {"hidden_size": 9}, "hidden_size=9 is no multiple of num_attention_heads=2"),
        ("bert", {"hidden_size": "8"}, "hidden_size is a whole number from 1 .*got '8'"),
        ("bert", {"hidden_size": 0}, "hidden_size is a whole number"),
        ("bert", {"hidden_size": True}, "hidden_size is a whole number"),
        ("bert", {"hidden_size": 2**31}, "hidden_size is a whole number"),
        ("bert", {"hidden_size": 8.0}, "hidden_size is a whole number"),
        ("bert", {"hidden_act": "gelo"}, "hidden_act is one of 'gelu'"),
        ("bert", {"hidden_act": ["gelu"]}, "hidden_act is one of"),
        ("bert", {"hidden_dropout_prob": 1}, "hidden_dropout_prob is a number from 0"),
        ("bert", {"layer_norm_eps": 0}, "layer_norm_eps is a positive number"),
        ("bert", {"layer_norm_eps": float("nan")}, "layer_norm_eps is a positive number"),
        ("bert", {"is_decoder": True}, "is_decoder=True is not supported"),
        ("bert", {"position_embedding_type": "relative_key"}, "is not supported, only 'absolute'"),
        ("bert", {"tie_word_embeddings": 1}, "tie_word_embeddings is true or false"),
        ("bert", {"id2label": ["a"]}, "id2label is a name for each label"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention=True is not supported"),
        ("gpt2", {"n_head": 3}, "n_embd=8 is no multiple of n_head=3"),
        ("vit", {"patch_size": 9}, "patch_size.* is larger than"),
        ("vit", {"image_size": [8, 8, 8]}, "image_size is a whole number, or"),
        ("vit", {"image_size": [8, None]}, "image_size is a whole number"),
        ("resnet", {"depths": [1]}, "2 hidden_sizes and 1 depths"),
        ("resnet", {"depths": []}, "depths is a list of whole numbers"),
        ("resnet", {"depths": {"0": 1}}, "depths is a list of whole numbers"),
        ("resnet", {"layer_type": "deep"}, "layer_type is one of 'basic', 'bottleneck'"),
        ("resnet", {"hidden_sizes": [2, 2]}, "at least 4"),
    ],
)
def test_configurations_are_checked(kind: str, changes: dict, message: str) -> None:
    cls = getattr(models, c.ARCHITECTURES[kind])
    with pytest.raises(WeightsError, match=message):
        cls.config_type.from_dict(c.config(kind, **changes))


def test_a_model_takes_its_own_configuration_only() -> None:
    with pytest.raises(TypeError, match="BertModel takes a BertConfig, got GPT2Config"):
        models.BertModel(models.GPT2Config())


def test_a_projection_of_another_width_is_an_error_and_not_split_elsewhere():
    projections = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 10)
    x = np.ones((2, 5, 16), np.float32)
    with pytest.raises(ValueError, match="reshape"):
        self_attend(projections, x, 2, None, nn.Dropout(0.0))
