"""Writes golden.json: what transformers computes for tiny models, so that tests do without it.

    HF_HUB_OFFLINE=1 python -m tests.models.make_golden

Nothing is random. Weights are `filled` from their names and shapes, inputs are `inputs`, both in
`tests/models/_checkpoints.py`. The loss is the sum of the output times cos(0), cos(1), ...; of each
parameter's gradient, the sum times cos(1), cos(2), ... is kept. Channels are first everywhere, as
in PyTorch.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.models import _checkpoints as c

PLACE = Path(__file__).with_name("golden.json")


def rounded(array) -> list:
    return [float(f"{x:.8g}") for x in np.ravel(array)]


def projected(array) -> float:
    flat = np.ravel(array).astype(np.float64)
    return float(f"{flat @ np.cos(np.arange(1, flat.size + 1)):.8g}")


def record(kind: str, train: bool) -> dict:
    values = c.config(kind) | ({"bos_token_id": 0, "eos_token_id": 0} if kind == "gpt2" else {})
    quiet = {name: 0.0 for name in vars(transformers.AutoConfig.for_model(kind)) if "drop" in name}
    names = {k: v for k, v in values.items() if k not in ("model_type", "architectures")}
    config = transformers.AutoConfig.for_model(kind, **(names | quiet))
    model = getattr(transformers, values["architectures"][0])(config)
    # The names in files are those of the models, but for ViT's, which transformers 5 renames.
    named = {translated(n): p for n, p in model.named_parameters()}
    named |= {n: b for n, b in model.named_buffers() if "running" in n}
    for name, array in c.filled({n: tuple(p.shape) for n, p in named.items()}).items():
        named[name].data = torch.tensor(array)
    model.train(train)
    given = {name: torch.tensor(x) for name, x in c.inputs(kind).items()}
    if "pixel_values" in given:
        given["pixel_values"] = given["pixel_values"].permute(0, 3, 1, 2)
    out = model(**given).logits
    (out * torch.cos(torch.arange(out.numel())).reshape(out.shape)).sum().backward()
    return {
        "config": values | quiet,
        "train": train,
        "shapes": {name: list(p.shape) for name, p in named.items()},
        "output": rounded(out.detach().numpy())[:60],
        "gradients": {n: projected(p.grad.numpy()) for n, p in named.items() if p.grad is not None},
        "buffers": {n: projected(p.numpy()) for n, p in named.items() if "running" in n and train},
    }


def translated(name: str) -> str:
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


if __name__ == "__main__":
    cases = [record("bert", False), record("gpt2", False), record("vit", False)]
    cases += [record("resnet", False), record("resnet", True)]
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    PLACE.write_text(json.dumps({"versions": versions, "cases": cases}, indent=1) + "\n")
    print(PLACE, PLACE.stat().st_size, "bytes")
