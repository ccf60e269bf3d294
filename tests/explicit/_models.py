"""What several tests of the explicit face need: a user's container, and checks of gradients."""

import numpy as np

import freezeviz as fv
from freezeviz import explicit as lux
from freezeviz import nn
from freezeviz.backend import is_array
from freezeviz.explicit import Dense


class Custom(nn.Module):
    """A user's container with three layers, an array of its own, and a buffer."""

    def __init__(self):
        super().__init__()
        self.layer_1 = Dense(2, 5)
        self.layer_2 = Dense(5, 5)
        self.layer_3 = Dense(5, 1)
        self.data = np.full((2, 5), 0.5, np.float32)
        self.register_buffer("fixed", np.full((1, 4), 0.25, np.float32))

    def __call__(self, x):
        h = self.layer_1(x) + x @ self.data
        return self.layer_3(np.tanh(self.layer_2(h))) + self.fixed.sum()


def leaves(tree):
    """Return the arrays of a tree by dotted path."""
    return dict(fv.tree_flatten(tree))


def keys(tree):
    """Return a tree's nesting without its values, as a list of key or (key, below)."""
    return [(k, keys(v)) if isinstance(v, dict) else k for k, v in tree.items()]


def in_double(tree):
    """Return a tree with float32 arrays in float64, the rest as it is."""
    return fv.tree_map(
        lambda leaf: leaf.astype(np.float64) if getattr(leaf, "dtype", None) == "float32" else leaf,
        tree,
    )


def same(a, b):
    """Whether two trees have the same leaves, bit for bit; generators in the same state."""
    left, right = fv.tree_flatten(a), fv.tree_flatten(b)
    return [path for path, _ in left] == [path for path, _ in right] and all(
        equal(x, y) for (_, x), (_, y) in zip(left, right, strict=True)
    )


def equal(x, y):
    if isinstance(x, np.random.Generator):
        return x.bit_generator.state == y.bit_generator.state
    if is_array(x):
        return x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    return x == y


def frozen_copy(tree):
    """Return what a tree is now, to compare with later."""
    return fv.tree_map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, tree)


def assert_gradients(model, x, ps, st, tolerance):
    """Compare the gradients of ``sum(y ** 2)`` in x and in ps with central differences.

    The differences are those of a computation in float64, whatever the types of the arguments.
    """

    def loss(tree, state):
        return (lux.apply(model, tree["x"], tree["ps"], state)[0] ** 2).sum()

    tree = {"x": x, "ps": ps}
    _, gradients = lux.value_and_grad(lambda tree: loss(tree, st))(tree)
    exact, state = in_double(tree), in_double(st)
    arrays = leaves(exact)
    assert set(leaves(gradients)) == set(arrays)
    for path, gradient in leaves(gradients).items():
        assert gradient.shape == arrays[path].shape
        for index in np.ndindex(gradient.shape):
            kept = arrays[path][index]
            ends = []
            for step in (1e-5, -1e-5):
                arrays[path][index] = kept + step
                ends.append(float(loss(exact, state)))
            arrays[path][index] = kept
            expected = (ends[0] - ends[1]) / 2e-5
            assert abs(gradient[index] - expected) <= tolerance * (1 + abs(expected)), path


def both_precisions(model, x, ps, st):
    """Check gradients in float32 to 1e-3 and in float64 to 1e-6."""
    assert_gradients(model, x, ps, st, 1e-3)
    assert_gradients(model, x.astype(np.float64), in_double(ps), in_double(st), 1e-6)
