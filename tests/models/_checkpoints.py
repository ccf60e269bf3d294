"""Tiny checkpoints as Hugging Face lays them out, made without transformers."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from freezeviz import models

CONFIGS = {
    "bert": {
        "vocab_size": 20,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "max_position_embeddings": 10,
    },
    "gpt2": {"vocab_size": 20, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 10},
    "vit": {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
        "image_size": [8, 12],
        "patch_size": 4,
        "id2label": {"0": "a", "1": "b", "2": "c"},
    },
    "resnet": {
        "embedding_size": 4,
        "hidden_sizes": [8, 12],
        "depths": [1, 2],
        "layer_type": "bottleneck",
        "id2label": {"0": "a", "1": "b", "2": "c"},
    },
}
# Of GPT-2, Hugging Face's own checkpoint leaves the prefix out.
ARCHITECTURES = {
    "bert": "BertForSequenceClassification",
    "gpt2": "GPT2LMHeadModel",
    "vit": "ViTForImageClassification",
    "resnet": "ResNetForImageClassification",
}


def config(kind: str, **changes) -> dict:
    names = {"model_type": kind, "architectures": [ARCHITECTURES[kind]]}
    return names | CONFIGS[kind] | changes


def expected(values: dict) -> list:
    architecture = getattr(models, values["architectures"][0])
    return list(architecture.expected(architecture.config_type.from_dict(values)))


def filled(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return arrays of numbers that anybody can compute again; scales and variances are near 1."""
    arrays = {}
    for i, (name, shape) in enumerate(sorted(shapes.items())):
        n = int(np.prod(shape))
        waves = 0.4 * np.sin(np.arange(n) * (0.7 + 0.01 * i) + i)
        near_one = name.endswith(("running_var", "weight")) and len(shape) == 1
        arrays[name] = (waves + near_one).astype(np.float32).reshape(shape)
    return arrays


def weights(values: dict) -> dict[str, np.ndarray]:
    return filled({e.path: e.shape for e in expected(values) if not e.optional})


def write(folder: Path, values: dict, arrays: dict | None = None, shards: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = weights(values) if arrays is None else arrays
    (folder / "config.json").write_text(json.dumps(values))
    if shards == 1:
        save_file(arrays, folder / "model.safetensors", {"format": "pt"})
        return folder
    places = {}
    for k in range(shards):
        part = {name: arrays[name] for name in sorted(arrays)[k::shards]}
        place = f"model-{k + 1:05}-of-{shards:05}.safetensors"
        save_file(part, folder / place, {"format": "pt"})
        places |= dict.fromkeys(part, place)
    index = {"metadata": {"total_size": 0}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def inputs(kind: str) -> dict[str, np.ndarray]:
    """Return the arguments of a model's call; token 0 is padding."""
    if kind in ("vit", "resnet"):
        shape = (3, 8, 12, 3) if kind == "vit" else (3, 48, 40, 3)
        noise = np.sin(np.arange(np.prod(shape)) ** 2 * 0.37)  # hardly any pattern in it
        return {"pixel_values": noise.astype(np.float32).reshape(shape)}
    ids = np.array([[3, 7, 0, 11, 5, 2], [19, 4, 4, 0, 0, 0], [1, 2, 3, 4, 0, 0]])
    mask = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]])
    given = {"input_ids": ids, "attention_mask": mask}
    return given | {"token_type_ids": (ids > 3).astype(int)} if kind == "bert" else given


def logits(model, given: dict[str, np.ndarray]):
    """Return a model's logits, or its last hidden state."""
    out = model(**given)
    return getattr(out, "last_hidden_state", out)


def translated(name: str) -> str:
    """Return the name in files of what transformers 5 calls otherwise in memory: in a ViT."""
    for new, old in (
        ("vit.layers.", "vit.encoder.layer."),
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        name = name.replace(new, old)
    return name
