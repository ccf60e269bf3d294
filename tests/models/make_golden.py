"""Writes golden.json: what transformers computes for tiny models, so that tests do without it.

    HF_HUB_OFFLINE=1 python -m tests.models.make_golden

Nothing is random. Weights are `filled` from their names and shapes, inputs are `inputs`, both in
`tests/models/_checkpoints.py`. Kept are the first numbers of the outputs in eval and in train mode,
and one number an array beside its shape in the file: the sum, times cos(1), cos(2), ..., of a
parameter's gradient in train mode, or of a running statistic after that one call. The loss is the
sum of the output times cos(0), cos(1), ...
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers

from tests.models import _checkpoints as c

PLACE = Path(__file__).with_name("golden.json")


def rounded(array) -> list:
    return [float(f"{x:.7g}") for x in np.ravel(array)]


def projected(array) -> float:
    flat = np.ravel(array).astype(np.float64)
    return float(f"{flat @ np.cos(np.arange(1, flat.size + 1)):.7g}")


def record(kind: str) -> dict:
    values = c.config(kind) | ({"bos_token_id": 0, "eos_token_id": 0} if kind == "gpt2" else {})
    quiet = {name: 0.0 for name in vars(transformers.AutoConfig.for_model(kind)) if "drop" in name}
    quiet = {name: p for name, p in quiet.items() if name.endswith(("prob", "pdrop"))}
    names = {k: v for k, v in values.items() if k not in ("model_type", "architectures")}
    config = transformers.AutoConfig.for_model(kind, **(names | quiet))
    model = getattr(transformers, values["architectures"][0])(config)
    # The names in files are those of the models, but for ViT's, which transformers 5 renames.
    named = {c.translated(n): p for n, p in model.named_parameters()}
    named |= {n: b for n, b in model.named_buffers() if "running" in n}
    for name, array in c.filled({n: tuple(p.shape) for n, p in named.items()}).items():
        named[name].data = torch.tensor(array)
    given = {name: torch.tensor(x) for name, x in c.inputs(kind).items()}
    if "pixel_values" in given:
        # contiguous: PyTorch 2.13 may crash in the gradient of a small channels-last convolution.
        given["pixel_values"] = given["pixel_values"].permute(0, 3, 1, 2).contiguous()
    outputs = {}
    for mode in ("eval", "train"):
        out = model.train(mode == "train")(**given).logits
        outputs[mode] = rounded(out.detach().numpy())[:40]
    (out * torch.cos(torch.arange(out.numel())).reshape(out.shape)).sum().backward()
    arrays = {
        name: [list(p.shape), projected(p.numpy() if p.grad is None else p.grad.numpy())]
        for name, p in named.items()
    }
    return {"config": values | quiet, "outputs": outputs, "arrays": arrays}


if __name__ == "__main__":
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    cases = [record(kind) for kind in c.CONFIGS]
    # One line a case: nobody reads the numbers.
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    PLACE.write_text(f'{{"versions": {json.dumps(versions)}, "cases": [\n{lines}\n]}}\n')
    print(PLACE.name, PLACE.stat().st_size, "bytes")
