"""All but the last block frozen: training moves that block, and not a byte of anything else."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import models, nn, optim
from freezeviz.models import load
from tests.models import _checkpoints as c

kinds = pytest.mark.parametrize("kind", c.CONFIGS)
TRAINED = {
    "bert": ["bert.encoder.layer.1", "classifier"],
    "gpt2": ["transformer.h.1"],
    "vit": ["vit.encoder.layer.1", "classifier"],
    "resnet": ["resnet.encoder.stages.1.layers.1", "classifier"],
}


def hashes(model) -> dict[str, str]:
    held = model.named_parameters() + model.named_buffers()
    return {name: hashlib.sha256(np.ascontiguousarray(x)).hexdigest() for name, x in held}


def frozen_but_the_last_block(folder: Path, kind: str):
    model = load(c.write(folder, c.config(kind)))
    model.freeze(hold=True)
    for path in TRAINED[kind]:
        fv.unfreeze(model, path)
    if kind == "resnet":
        model.freeze(keys=[], hold=True)  # statistics of the trained block stand still, too
    return model


def moved(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


def trainable(model) -> set[str]:
    return {path for path, _ in fv.tree_flatten(model.trainable_parameters())}


@kinds
def test_adamw_moves_the_last_block_and_nothing_else(kind: str, tmp_path: Path) -> None:
    model = frozen_but_the_last_block(tmp_path, kind).train()
    before, given = hashes(model), c.inputs(kind)
    targets = given["input_ids"] if kind == "gpt2" else np.array([0, 1, 1])
    optimizer = optim.AdamW(learning_rate=1e-2, weight_decay=0.1)

    def loss():
        return nn.losses.cross_entropy(model(**given), targets, reduction="mean")

    step = nn.value_and_grad(model, loss)
    losses = []
    for _ in range(12):
        value, gradients = step()
        optimizer.update(model, gradients)
        losses.append(float(value))
    assert losses[-1] < 0.95 * losses[0]
    assert moved(before, hashes(model)) == trainable(model)
    assert set(optimizer.state) == trainable(model)


@kinds
def test_trainer_moves_the_last_block_and_nothing_else(kind: str, tmp_path: Path) -> None:
    model = frozen_but_the_last_block(tmp_path, kind)
    before, given = hashes(model), c.inputs(kind)
    x = np.concatenate([next(iter(given.values()))] * 4)
    y = x if kind == "gpt2" else np.array([0, 1, 1] * 4)
    receipt = fv.receipt(model)
    trainer = fv.Trainer(model, optim.AdamW(1e-2), data=(x, y), batch_size=6, seed=0)
    trainer.fit(epochs=3, progress=False)
    assert moved(before, hashes(model)) == trainable(model)
    assert receipt.verify().ok


def test_thawing_the_block_before_moves_that_too(tmp_path: Path) -> None:
    model = frozen_but_the_last_block(tmp_path, "vit")
    x, y = c.inputs("vit")["pixel_values"], np.array([0, 1, 1])
    trainer = fv.Trainer(model, optim.AdamW(1e-2), data=(x, y), batch_size=3, seed=0)
    trainer.fit(epochs=2, progress=False)
    trainer.unfreeze("vit.encoder.layer.0")
    before = hashes(model)
    trainer.fit(epochs=2, progress=False)
    assert moved(before, hashes(model)) == trainable(model)
    assert any(name.startswith("vit.encoder.layer.0.") for name in trainable(model))
    assert "vit.embeddings.cls_token" not in trainable(model)


def test_statistics_of_a_frozen_resnet_move_unless_held(tmp_path: Path) -> None:
    model = load(c.write(tmp_path, c.config("resnet"))).train()
    model.freeze()
    before = hashes(model)
    model(**c.inputs("resnet"))
    assert moved(before, hashes(model)) == {name for name, _ in model.named_buffers()}
    model.freeze(hold=True)
    before = hashes(model)
    model(**c.inputs("resnet"))
    assert moved(before, hashes(model)) == set()


def test_new_head_with_other_classes(tmp_path: Path) -> None:
    model = load(c.write(tmp_path, c.config("bert")))
    model.freeze()
    model.classifier = nn.Linear(8, 5)
    assert trainable(model) == {"classifier.weight", "classifier.bias"}
    assert model(**c.inputs("bert")).shape == (3, 5)
    assert isinstance(model, models.BertForSequenceClassification)
