"""The same outputs and gradients as transformers, with the same random weights."""

import os
from pathlib import Path

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import models, nn, optim
from tests.models import _checkpoints as c

os.environ["HF_HUB_OFFLINE"] = "1"  # weights are random, nothing is ever downloaded
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
transformers.utils.logging.disable_progress_bar()

BERT = c.CONFIGS["bert"] | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT2 = c.CONFIGS["gpt2"] | {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
GPT2 |= {"bos_token_id": 0, "eos_token_id": 0}
VIT, RESNET = c.CONFIGS["vit"], c.CONFIGS["resnet"]

CASES = {
    "bert": ("BertModel", BERT),
    "bert relu": ("BertModel", BERT | {"hidden_act": "relu", "pad_token_id": None}),
    "bert classes": ("BertForSequenceClassification", BERT),
    "bert words": ("BertForMaskedLM", BERT),
    "gpt2": ("GPT2Model", GPT2 | {"n_inner": 20}),
    "gpt2 words": ("GPT2LMHeadModel", GPT2),
    "gpt2 untied": ("GPT2LMHeadModel", GPT2 | {"tie_word_embeddings": False}),
    "gpt2 scaled": ("GPT2LMHeadModel", GPT2 | {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2 unscaled": ("GPT2Model", GPT2 | {"scale_attn_weights": False}),
    "vit": ("ViTModel", VIT | {"pooler_output_size": 5, "pooler_act": "gelu_new"}),
    "vit classes": ("ViTForImageClassification", VIT | {"qkv_bias": False}),
    "resnet": ("ResNetModel", RESNET),
    "resnet basic": ("ResNetForImageClassification", RESNET | {"layer_type": "basic"}),
    "resnet early": (
        "ResNetForImageClassification",
        RESNET | {"downsample_in_bottleneck": True, "downsample_in_first_stage": True},
    ),
    "resnet gelu": ("ResNetForImageClassification", RESNET | {"hidden_act": "gelu"}),
}
cases = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory):
    """Return a function that makes a random model of transformers and its directory, once."""
    made = {}

    def make(case: str):
        if case not in made:
            name, values = CASES[case]
            torch.manual_seed(len(made))
            kind = getattr(transformers, name)
            model = kind(kind.config_class(**values))
            for p in model.parameters():  # biases and scales are 0 and 1 at first
                p.data += 0.1 * torch.randn_like(p)
            for n, b in model.named_buffers():
                if "running" in n:
                    b += 0.5 * torch.rand_like(b)
            folder = tmp_path_factory.mktemp("model")
            model.save_pretrained(folder)
            made[case] = model, folder
        model, folder = made[case]
        return type(model).from_pretrained(folder), folder

    return make


def torch_inputs(case: str, dtype) -> dict:
    given = {name: torch.tensor(x) for name, x in c.inputs(case.split()[0]).items()}
    if "pixel_values" in given:
        # contiguous: PyTorch 2.13 may crash in the gradient of a small channels-last convolution.
        given["pixel_values"] = given["pixel_values"].permute(0, 3, 1, 2).contiguous().to(dtype)
    return given


def torch_output(model, given: dict):
    out = model(**given)
    out = out.logits if hasattr(out, "logits") else out.last_hidden_state
    return out.permute(0, 2, 3, 1) if out.ndim == 4 else out


def inputs(case: str, dtype) -> dict:
    given = c.inputs(case.split()[0])
    return {n: x.astype(dtype) if n == "pixel_values" else x for n, x in given.items()}


@cases
@pytest.mark.parametrize(
    ("dtype", "mode", "tolerance"),
    [("float32", "eval", 1e-5), ("float64", "train", 1e-11)],
)
def test_outputs_gradients_and_statistics_are_the_same(
    make, case: str, dtype: str, mode: str, tolerance: float
) -> None:
    theirs, folder = make(case)
    theirs = theirs.to(getattr(torch, dtype)).train(mode == "train")
    ours = models.load(folder, dtype=dtype).train(mode == "train")
    wanted = torch_output(theirs, torch_inputs(case, getattr(torch, dtype)))
    slopes = np.cos(np.arange(wanted.numel())).astype(dtype).reshape(wanted.shape)
    (wanted * torch.tensor(slopes)).sum().backward()

    def loss():
        out = c.logits(ours, inputs(case, dtype))
        return (out * slopes).sum(), out

    (_, out), gradients = nn.value_and_grad(ours, loss)()
    assert out.dtype == dtype
    close(out, wanted.detach().numpy(), tolerance, "the output")

    axes = {e.path: e.axes for e in type(ours).expected(ours.config)}
    gradients = dict(fv.tree_flatten(gradients))
    parameters = {c.translated(n): p for n, p in named(theirs)}
    assert gradients.keys() == parameters.keys()
    for name, p in parameters.items():
        # The pooler of a bare model does not touch its hidden states.
        gradient = np.zeros(p.shape) if p.grad is None else p.grad.numpy()
        close(gradients[name], moved(gradient, axes[name]), 2 * tolerance, name)
    buffers = {n: b.numpy() for n, b in theirs.named_buffers() if "running" in n}
    assert dict(ours.named_buffers()).keys() == buffers.keys()
    for name, value in ours.named_buffers():
        close(value, buffers[name], tolerance, name)


def named(model) -> list:
    """Return the names in files: a bare ViT has no prefix there that `translated` would see."""
    prefix = "vit." if type(model).__name__ == "ViTModel" else ""
    return [
        (c.translated(prefix + n).removeprefix(prefix) if prefix else n, p)
        for n, p in model.named_parameters()
    ]


def moved(array, axes):
    return array if axes is None else array.transpose(axes)


def close(got, wanted, tolerance: float, what: str) -> None:
    assert got.shape == wanted.shape, what
    scale = max(1.0, float(np.abs(wanted).max()))
    assert float(np.abs(got - wanted).max()) <= tolerance * scale, what


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("resnet")])
def test_batch_statistics_are_the_same_in_float32(make, case: str) -> None:
    theirs, folder = make(case)
    theirs.train()
    ours = models.load(folder).train()
    wanted = torch_output(theirs, torch_inputs(case, torch.float32)).detach().numpy()
    close(c.logits(ours, inputs(case, "float32")), wanted, 1e-4, "the output")
    running = dict(theirs.named_buffers())
    for name, value in ours.named_buffers():
        close(value, running[name].numpy(), 1e-5, name)


@pytest.mark.parametrize("case", ["bert", "gpt2 words"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padding_on_either_side_is_hidden_as_in_transformers(make, case, attention) -> None:
    theirs, folder = make(case)
    theirs.set_attn_implementation(attention)
    theirs.eval()
    ids = c.inputs("bert")["input_ids"]
    mask = np.array([[1, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1], [1, 1, 0, 0, 0, 0]])
    with torch.no_grad():
        wanted = torch_output(
            theirs, {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
        )
    out = c.logits(models.load(folder), {"input_ids": ids, "attention_mask": mask})
    # What is computed for the padding itself depends on the implementation.
    seen = mask.astype(bool)
    close(out[seen], wanted.numpy()[seen], 1e-5, "the output")


@pytest.mark.parametrize("case", ["bert classes", "gpt2 words", "vit classes", "resnet"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_short_floats_become_float32(make, tmp_path: Path, case: str, dtype: str) -> None:
    theirs, _ = make(case)
    theirs = theirs.to(getattr(torch, dtype))
    theirs.save_pretrained(tmp_path)
    ours = models.load(tmp_path)
    assert {value.dtype for _, value in ours.named_parameters()} == {np.dtype("float32")}
    wanted = torch_output(theirs.float().eval(), torch_inputs(case, torch.float32))
    out = c.logits(ours, inputs(case, "float32"))
    close(out, wanted.detach().numpy(), 1e-5, "the output")


@cases
def test_shards_are_the_same_model(make, tmp_path: Path, case: str) -> None:
    theirs, folder = make(case)
    theirs.save_pretrained(tmp_path, max_shard_size="2kB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    one, many = models.load(folder), models.load(tmp_path)
    for (name, x), (other, y) in zip(arrays(one), arrays(many), strict=True):
        assert name == other
        assert x.tobytes() == y.tobytes()


def arrays(model) -> list:
    return model.named_parameters() + model.named_buffers()


def test_the_names_of_vit_in_memory_load_too(make, tmp_path: Path) -> None:
    theirs, folder = make("vit classes")
    theirs.save_pretrained(tmp_path, save_original_format=False)
    for (_, x), (_, y) in zip(
        arrays(models.load(folder)), arrays(models.load(tmp_path)), strict=True
    ):
        assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize("case", ["bert words", "gpt2 words", "vit classes", "resnet basic"])
def test_bare_model_of_a_checkpoint_with_a_head(make, case: str) -> None:
    theirs, folder = make(case)
    name = {"b": "BertModel", "g": "GPT2Model", "v": "ViTModel", "r": "ResNetModel"}[case[0]]
    if case[0] in "bv":  # whose poolers are not in these checkpoints
        with pytest.warns(fv.FreezevizWarning, match=r"2 arrays are missing: 'pooler"):
            ours = models.load(folder, name, strict=False)
    else:
        ours = models.load(folder, name)
    bare = getattr(theirs, theirs.base_model_prefix).eval()
    wanted = torch_output(bare, torch_inputs(case, torch.float32))
    out = c.logits(ours, inputs(case, "float32"))
    close(out, wanted.detach().numpy(), 1e-5, "the output")


@pytest.mark.parametrize("case", ["bert classes", "gpt2 words", "vit classes", "resnet basic"])
def test_last_block_fine_tunes_as_in_pytorch(make, case: str) -> None:
    theirs, folder = make(case)
    theirs.train()
    ours = models.load(folder).train()
    last = {"b": "bert.encoder.layer.1", "g": "transformer.h.1"}
    last |= {"v": "vit.encoder.layer.1", "r": "resnet.encoder.stages.1.layers.1"}
    ours.freeze()
    trained = fv.select(ours, f"{last[case[0]]}.**")
    trained.unfreeze()
    parameters = {c.translated(n): p for n, p in theirs.named_parameters()}
    for name, p in parameters.items():
        p.requires_grad_(name in trained.paths)
    their_optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)
    our_optimizer = optim.SGD(0.05, momentum=0.9, weight_decay=0.1)
    for _ in range(5):
        their_optimizer.zero_grad()
        out = torch_output(theirs, torch_inputs(case, torch.float32))
        (out**2).mean().backward()
        their_optimizer.step()
        step = nn.value_and_grad(
            ours, lambda: (c.logits(ours, inputs(case, "float32")) ** 2).mean()
        )
        our_optimizer.update(ours, step()[1])
    axes = {e.path: e.axes for e in type(ours).expected(ours.config)}
    for name, value in ours.named_parameters():
        close(value, moved(parameters[name].detach().numpy(), axes[name]), 2e-5, name)
