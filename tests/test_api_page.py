"""The contract with other people's notebooks: the blocks of the API page, one namespace, in order.

Left out are the lines of what comes later (fork, compare, replay, saved runs, forecast, doctor,
schedules, frameworks other than the native one and PyTorch) and nothing else. The block of the
explicit face is in tests/explicit.
"""

import numpy as np
import pytest

import freezeviz as fv
from freezeviz import backend

MODELS = """
import numpy as np
import freezeviz as fv
from freezeviz import nn, optim

rng = np.random.default_rng(0)
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))

model.freeze()                              # everything; returns model
model.layers[4].unfreeze()                  # the head trains
model.freeze(keys="bias", strict=True)      # and no bias does
names = sorted(p for p, _ in fv.tree_flatten(model.trainable_parameters()))   # ['layers.4.weight']
model.unfreeze()

t = nn.Transformer(dims=32, num_heads=4, num_encoder_layers=2, num_decoder_layers=2, mlp_dims=64)
t.freeze()
t.apply_to_modules(lambda name, m: m.unfreeze() if name.endswith("attention") else None)
"""

LAYERS = """
class Block(nn.Module):                     # users write layers in plain NumPy; works on NumPy and CuPy arrays
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(dim, dim)
        self.gain = np.ones(dim, np.float32)      # a public array is a parameter
    def __call__(self, x):
        return x + np.tanh(self.proj(x)) * self.gain

def loss_fn(x, y):
    return nn.losses.cross_entropy(model(x), y, reduction="mean")

x, y = rng.standard_normal((32, 64), dtype=np.float32), rng.integers(0, 10, 32)
opt = optim.AdamW(learning_rate=1e-3, weight_decay=0.1)
loss, grads = nn.value_and_grad(model, loss_fn)(x, y)   # gradients of trainable parameters only
opt.update(model, grads)
"""

SELECTING = """
import re
sel = fv.select(t, "encoder.layers.*.linear1.bias")             # glob on paths: * one level, ** any depth
fv.select(t, re.compile(r"attention\\.\\w+\\.weight$"))            # regex on paths
linear = fv.select(t, nn.Linear)                                # every parameter of that type of module
fv.select(t, lambda path, value: value.ndim == 1)               # predicate
sel.paths; len(sel); sel.freeze(); sel.unfreeze()
sel | linear; linear & sel; linear - sel; ~sel
fv.freeze(t, "encoder.**"); fv.unfreeze(t, "encoder.layers.1")  # a module's path means all below it; any framework's model
"""

TRAINING = """
model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
digits = fv.data.digits(seed=0)                              # scikit-learn's real 8x8 digits: .train, .validation = (x, y)
trainer = fv.Trainer(model, optim.Adam(1e-3), loss="cross_entropy",
                     data=digits.train, validation=digits.validation, batch_size=64, seed=0)
trainer.fit(epochs=3)                                        # synchronous, progress bar
trainer.history.plot()                                       # matplotlib Figure, freezes marked on the curve
trainer.history.to_dict()                                    # plain columns; .to_csv(path)

trainer.start(epochs=100)                                    # in the background; the notebook stays free
trainer.freeze("layers.0"); trainer.unfreeze("layers.0")     # between two steps
trainer.pause(); trainer.resume(); trainer.stop(); trainer.wait()
trainer.events                                               # every command with its step
for step in trainer.steps(epochs=1): ...                     # or drive it yourself
"""

EXPLORING = """
explorer = fv.explore(trainer)     # or a model: native, torch, keras, mlx, flax
explorer                           # the widget in a notebook; a static tree where no kernel runs
c = explorer.controller            # headless
rows = c.rows(); c.toggle("layers.0"); c.freeze("layers.2"); c.unfreeze("layers.2")
c.undo(); c.redo(); found = c.search("layers.0")
c.freeze("**.bias")
source = c.code(); policy = c.policy()     # Python source, Policy
print(fv.summary(model))           # text; HTML in a notebook
"""

TRUST = """
fv.freeze(model, "layers.0")
receipt = fv.receipt(model)        # of what is frozen and held now
report = receipt.verify()          # report.ok, report.moved: paths, how far, first step seen
"""

POLICIES = """
fv.Policy.load("policy.json").apply(model)
"""

ARRAYS = """
fv.device()            # 'cpu' or 'gpu'
fv.use("auto")         # 'cpu' | 'gpu' | 'auto'
array = np.ones(3)
fv.to_numpy(array); model.to("cpu")
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Run the blocks once, in order, in one namespace."""
    place = tmp_path_factory.mktemp("page")
    (place / "policy.json").write_text(
        '{"format": "freezeviz-policy", "version": 1,'
        ' "steps": [{"action": "unfreeze", "select": ""}, {"action": "freeze", "select": "**.bias"}]}'
    )
    namespace = {"__name__": "api_page"}
    # The page chooses a device; the next test file has its own.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "_state", backend._state)
        patch.chdir(place)
        for block in (MODELS, LAYERS, SELECTING, TRAINING, EXPLORING, TRUST, POLICIES, ARRAYS):
            exec(compile(block, "API.md", "exec"), namespace)
    namespace["policy_path"] = place / "policy.json"
    return namespace


def test_freezing_leaves_the_head_weight(page):
    assert page["names"] == ["layers.4.weight"]


def test_users_layers_are_written_in_plain_numpy(page):
    block = page["Block"](4)
    assert [path for path, _ in block.named_parameters()] == ["proj.weight", "proj.bias", "gain"]
    x = np.ones((2, 4), np.float32)
    _, grads = page["nn"].value_and_grad(block, lambda x: block(x).sum())(x)
    assert sorted(path for path, _ in fv.tree_flatten(grads)) == [
        "gain",
        "proj.bias",
        "proj.weight",
    ]


def test_selections_are_sets_of_paths(page):
    assert page["sel"].paths == (
        "encoder.layers.0.linear1.bias",
        "encoder.layers.1.linear1.bias",
    )
    assert len(page["linear"] & page["sel"]) == 2
    assert len(page["linear"] - page["sel"]) == len(page["linear"]) - 2
    assert not set((~page["sel"]).paths) & set(page["sel"].paths)


def test_freezing_a_glob_then_unfreezing_a_layer(page):
    frozen = {path for path, _ in fv.tree_flatten(page["t"].frozen_parameters())}
    assert "encoder.layers.0.linear1.bias" in frozen
    assert not any(path.startswith("encoder.layers.1.") for path in frozen)


def test_the_run_learned_and_logged_its_commands(page):
    history = page["trainer"].history.to_dict()
    assert history["loss"][-1] < 0.5 * history["loss"][0]
    changes = [e for e in page["trainer"].events if type(e).__name__ == "FreezeChanged"]
    assert [e.frozen for e in changes][:2] == [True, False]
    assert changes[0].paths == ("layers.0.weight", "layers.0.bias")


def test_the_controller_works_without_a_browser(page):
    assert any(row.path == "layers.0" for row in page["rows"])
    assert page["found"]
    assert repr(page["explorer"])


def test_code_and_policy_bring_another_model_to_the_same_state(page):
    nn, state = page["nn"], fv.adapters.adapt(page["trainer"].model).frozen
    biases = {f"layers.{i}.bias" for i in (0, 2, 4)}
    for bring in (lambda m: exec(page["source"], {"model": m}), page["policy"].apply):
        model = nn.Sequential(*(nn.Linear(2, 2) if i % 2 == 0 else nn.ReLU() for i in range(5)))
        bring(model)
        assert biases <= fv.adapters.adapt(model).frozen()
    assert state() == biases  # by the policy from the file


def test_the_explorer_takes_a_model_of_pytorch(page):
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    c = fv.explore(model).controller
    c.toggle("0")
    assert [row.state for row in c.rows() if row.path == "0"] == ["frozen"]
    fv.Policy.load(page["policy_path"]).apply(model)
    assert {n for n, p in model.named_parameters() if not p.requires_grad} == {"0.bias", "2.bias"}


def test_the_receipt_holds(page):
    assert page["report"].ok
    assert not page["report"].moved


def test_arrays_are_somewhere(page):
    assert fv.device() in ("cpu", "gpu")


def test_the_public_names_are_there():
    names = (
        "KeyPath Policy Trainer data device explore freeze nn optim receipt seed select steps "
        "stop_gradient summary to_numpy tree_flatten tree_map tree_unflatten unfreeze use"
    )
    for name in names.split(" "):
        assert hasattr(fv, name), name
        assert name in dir(fv)
