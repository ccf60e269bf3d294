"""The same numbers as transformers, without it: they are in golden.json (see make_golden)."""

import json
from pathlib import Path

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import nn
from tests.models import _checkpoints as c

CASES = json.loads(Path(__file__).with_name("golden.json").read_text())["cases"]
kinds = pytest.mark.parametrize("case", CASES, ids=lambda case: case["config"]["model_type"])


@pytest.fixture
def model(case: dict, tmp_path: Path):
    arrays = c.filled({name: tuple(shape) for name, (shape, _) in case["arrays"].items()})
    return fv.models.load(c.write(tmp_path, case["config"], arrays))


def projected(array, axes) -> float:
    """Return the sum times cosines, in the file's layout: see make_golden."""
    array = np.asarray(array, np.float64)
    flat = (array if axes is None else array.transpose(np.argsort(axes))).ravel()
    return flat @ np.cos(np.arange(1, flat.size + 1))


@kinds
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_outputs_are_those_of_transformers(case: dict, model, mode: str) -> None:
    model.train(mode == "train")
    out = model(**c.inputs(case["config"]["model_type"]))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.ravel()[:40], case["outputs"][mode], rtol=0, atol=1e-5)


@kinds
def test_gradients_and_statistics_are_those_of_transformers(case: dict, model) -> None:
    given = c.inputs(case["config"]["model_type"])
    model.train()

    def loss():
        out = model(**given)
        return (out * np.cos(np.arange(out.size, dtype=np.float32)).reshape(out.shape)).sum()

    gradients = dict(fv.tree_flatten(nn.value_and_grad(model, loss)()[1]))
    got = gradients | dict(model.named_buffers())
    axes = {e.path: e.axes for e in type(model).expected(model.config)}
    wanted = {name: number for name, (_, number) in case["arrays"].items()}
    assert got.keys() == wanted.keys()
    for name, number in wanted.items():
        assert projected(got[name], axes[name]) == pytest.approx(number, rel=1e-4, abs=2e-5), name
