"""Comparing a layer with a PyTorch function: output, gradients of parameters and of inputs."""

from typing import Any

import numpy as np
import torch

from freezeviz import autodiff, backend, nn, tree_flatten, tree_map
from tests.standin_cupy import host_reads

cupy: Any = None  # where `check` compares CuPy's arrays: the fixture `arrays` in conftest.py
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
DTYPES = ["float32", "float64"]


class Probe(nn.Module):
    """A layer whose inputs are parameters, too, so that one call gives all gradients."""

    def __init__(self, layer, inputs):
        super().__init__()
        self.layer = layer
        self.inputs = list(inputs)

    def __call__(self, **options):
        return self.layer(*self.inputs, **options)


def here(array):
    """Return an array of the library that is being compared."""
    return array if cupy is None or array is None else cupy.asarray(array)


def cotangent(shape, dtype):
    return np.random.default_rng(2).standard_normal(shape).astype(dtype)


def ours(layer, inputs, **options):
    """Return output, gradients of parameters by path, and gradients of inputs."""
    probe = Probe(layer, inputs)

    def loss():
        out = probe(**options)
        return (out * here(cotangent(out.shape, out.dtype))).sum(), out

    (_, out), grads = nn.value_and_grad(probe, loss)()
    grads = dict(tree_flatten(grads))
    of_inputs = [grads.pop(f"inputs.{i}") for i in range(len(inputs))]
    return out, {path.removeprefix("layer."): g for path, g in grads.items()}, of_inputs


def leaf(array):
    return torch.from_numpy(np.array(array)).requires_grad_()


def theirs(fn, parameters, inputs):
    """Return the same of a torch function ``fn(parameters, *inputs)``."""
    leaves, inputs = {k: leaf(v) for k, v in parameters.items()}, [leaf(x) for x in inputs]
    out = fn(leaves, *inputs)
    values = out.detach().numpy()
    (out * torch.from_numpy(cotangent(values.shape, values.dtype))).sum().backward()

    def grad(x):
        return np.zeros(x.shape, values.dtype) if x.grad is None else x.grad.numpy()

    return values, {path: grad(x) for path, x in leaves.items()}, [grad(x) for x in inputs]


def close(got, expected, tolerance, what=""):
    got = backend.to_numpy(got)
    assert got.shape == expected.shape, what
    if expected.size:
        # A gradient that is nothing but rounding (of a key's bias, say) has no scale of its own.
        scale = max(np.abs(expected).max(), 0.1)
        assert np.abs(got - expected).max() <= tolerance * scale, what


def check(layer, reference, inputs, dtype, tolerance=None, **options):
    """Compare a layer, its parameters shaken, with a torch function of (parameters, *inputs)."""
    rng = np.random.default_rng(1)
    layer.set_dtype(dtype)
    layer.apply(lambda p: p + rng.standard_normal(p.shape).astype(dtype) * 0.2)
    tolerance = tolerance or TOLERANCE[dtype]
    expected = theirs(reference, dict(layer.named_parameters()), inputs)
    if cupy is not None:
        layer.to("gpu")
    options = {k: here(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    with host_reads() as reads:
        got = ours(layer, [here(x) for x in inputs], **options)
    assert not reads, "the host waited for the device"
    if cupy is not None:
        assert all(isinstance(array, cupy.ndarray) for _, array in tree_flatten(list(got)))
        got = tree_map(backend.to_numpy, got)
    assert got[0].dtype == dtype
    close(got[0], expected[0], tolerance, "output")
    assert got[1].keys() == expected[1].keys()
    for path, wanted in expected[1].items():
        assert got[1][path].dtype == dtype
        close(got[1][path], wanted, tolerance, path)
    for i, wanted in enumerate(expected[2]):
        assert got[2][i].dtype == dtype
        close(got[2][i], wanted, tolerance, f"input {i}")


def compare(loss, reference, inputs, dtype):
    """Compare a loss with a torch function, and their gradients in all inputs."""
    leaves = [leaf(x) for x in inputs]
    expected = reference(*leaves)
    g = cotangent(expected.shape, dtype)
    (expected * torch.from_numpy(np.asarray(g))).sum().backward()
    with host_reads() as reads:
        value, pullback = autodiff.vjp(loss, *map(here, inputs))
        gradients = pullback(here(g))
    assert not reads, "the host waited for the device"
    assert value.dtype == dtype
    close(value, expected.detach().numpy(), TOLERANCE[dtype], "loss")
    for i, (x, gradient) in enumerate(zip(leaves, gradients, strict=True)):
        assert gradient.dtype == dtype
        assert cupy is None or isinstance(gradient, cupy.ndarray)
        close(gradient, x.grad.numpy(), TOLERANCE[dtype], f"gradient {i}")


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)
