"""Real training: a CNN with BatchNorm on scikit-learn's digits, and a BERT with tied embeddings."""

import numpy as np
import pytest
import torch
from torch import nn

import freezeviz as fv
from freezeviz.adapters import adapt
from freezeviz.errors import NothingTrainableWarning


@pytest.fixture(autouse=True)
def _one_thread():
    """On two busy cores a second thread makes so small a model slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ---------------------------------------------------------------- a CNN on digits


@pytest.fixture(scope="module")
def digits():
    found = fv.data.digits(seed=0)

    def tensors(pair):
        x, y = pair
        x = torch.tensor(np.asarray(x, np.float32)).reshape(-1, 1, 8, 8)
        return x, torch.tensor(np.asarray(y, np.int64))

    return tensors(found.train), tensors(found.validation)


def cnn():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True)),
        nn.MaxPool2d(2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def batches(data, epochs, size=64, seed=0):
    x, y = data
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for part in order.split(size):
            yield x[part], y[part]


def accuracy(model, data):
    model.eval()
    with torch.no_grad():
        right = (model(data[0]).argmax(1) == data[1]).float().mean().item()
    model.train()
    return right


def train(model, optimizer, data, epochs, between=lambda step: None):
    torch.manual_seed(1)
    model.train()
    for step, (x, y) in enumerate(batches(data, epochs)):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        between(step)


def test_a_cnn_learns_while_parts_are_frozen_and_held_by_the_controller(digits):
    learn, check = digits
    model = cnn()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    explorer = fv.explore(model, optimizer=optimizer)
    controller = explorer.controller
    receipts = {}

    def between(step):
        if step == 20:
            controller.freeze("0", hold=True)
            receipts["held"] = fv.receipt(model)
        elif step == 30:
            controller.toggle("1")
            receipts["frozen"] = fv.receipt(model)
        elif step == 50:
            assert receipts["held"].verify().ok
            assert receipts["frozen"].verify().ok
            statistics = adapt(model).read("1.1.running_mean")
            receipts["statistics"] = statistics
            controller.undo()
        elif step == 40:
            model.eval()
            model.train()  # what undoes an .eval() on the frozen part

    train(model, optimizer, learn, 3, between)
    assert receipts["held"].verify().ok
    assert receipts["held"].verify().checked == 4 + 3  # parameters, and BatchNorm's buffers
    moved = {moved.path for moved in receipts["frozen"].verify().moved}
    assert moved == {"1.0.weight", "1.0.bias", "1.1.weight", "1.1.bias"}
    assert accuracy(model, check) > 0.9


def test_statistics_of_what_is_frozen_and_not_held_move(digits):
    model = cnn()
    fv.freeze(model, "0", "1")
    fv.freeze(model, "1", hold=True)
    before = {p: adapt(model).read(p) for p in ("0.1.running_mean", "1.1.running_mean")}
    train(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9), digits[0], 1)
    assert (adapt(model).read("0.1.running_mean") != before["0.1.running_mean"]).all()
    assert (adapt(model).read("1.1.running_mean") == before["1.1.running_mean"]).all()


def test_training_the_head_alone_of_a_held_body_is_training_on_fixed_features(digits):
    learn, check = digits
    model = cnn()
    train(model, torch.optim.AdamW(model.parameters(), 3e-3), learn, 2)
    fv.freeze(model, "0", "1", hold=True)
    model.train()
    x = learn[0][:32]
    assert torch.equal(model[1](model[0](x)), model[1](model[0](x)))
    first = model[1](model[0](x)).clone()
    before = accuracy(model, check)
    kept = fv.receipt(model)
    train(model, torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.1), learn, 2)
    assert kept.verify().ok
    assert torch.equal(model[1](model[0](x)), first)
    assert accuracy(model, check) > before - 0.02 > 0.85


def test_a_run_of_the_users_own_loop_applies_clicks_between_steps(digits):
    model = cnn()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    explorer = fv.explore(model, optimizer)
    torch.manual_seed(1)
    model.train()
    loader = list(batches(digits[0], 1))
    kept = None
    for step, (x, y) in fv.steps(loader, explorer):
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if step == 5:
            explorer.controller.freeze("0", hold=True)  # applied when this step is done
        optimizer.step()
        explorer.log(loss=loss)
        if step == 6:
            kept = fv.receipt(model)
    assert kept is not None
    assert len(kept) == 7
    assert kept.verify().ok
    columns = explorer.run_view.history.to_dict()
    assert len(columns["loss"]) == len(loader)
    assert columns["loss"][-1] < columns["loss"][0]


# ---------------------------------------------------------------- BERT


@pytest.fixture(scope="session")
def bert_module():
    transformers = pytest.importorskip("transformers")
    return transformers


def bert(transformers):
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        tie_word_embeddings=True,
    )
    return transformers.BertForMaskedLM(config).train()


WORDS = "bert.embeddings.word_embeddings.weight"
DECODER = "cls.predictions.decoder.weight"


def masked_batch(generator):
    ids = torch.randint(5, 50, (16, 12), generator=generator)
    ids[:, 1], ids[:, 7] = 7, 9  # what stands there can be learned from the place alone
    labels = torch.full_like(ids, -100)
    labels[:, 1] = ids[:, 1]
    labels[:, 7] = ids[:, 7]
    masked = ids.clone()
    masked[:, [1, 7]] = 4
    return {"input_ids": masked, "attention_mask": torch.ones_like(ids), "labels": labels}


def train_bert(model, optimizer, steps, between=lambda step: None, seed=0):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    losses = []
    for step in range(steps):
        loss = model(**masked_batch(generator)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        between(step)
    return losses


def test_tied_embeddings_are_one_row_with_an_alias(bert_module):
    model = bert(bert_module)
    rows = {row.path: row for row in fv.explore(model).controller.rows()}
    assert rows[WORDS].aliases == (DECODER,)
    assert DECODER not in rows
    assert rows["bert.encoder.layer.0.attention.self.query"].detail == "32 → 32"
    total = sum(p.numel() for p in model.parameters())
    assert rows[""].n_parameters == total
    assert fv.select(model, DECODER).paths == (WORDS,)
    assert set(fv.select(model, nn.LayerNorm).paths) == {
        name for name, _ in model.named_parameters() if ".LayerNorm." in name
    }


def test_bert_learns_and_what_is_frozen_by_either_name_stays(bert_module):
    model = bert(bert_module)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=0.01)
    controller = fv.explore(model, optimizer).controller
    receipts = []

    def between(step):
        if step == 10:
            controller.freeze(DECODER)
            receipts.append(fv.receipt(model))
        elif step == 20:
            controller.freeze("bert.encoder.layer.0", hold=True)
            receipts.append(fv.receipt(model))
        elif step == 30:
            model.eval()
            model.train()
        elif step == 40:
            assert all(receipt.verify().ok for receipt in receipts)
            controller.undo()
            controller.undo()

    losses = train_bert(model, optimizer, 60, between)
    assert len(receipts[0]) == 1
    assert [moved.path for moved in receipts[0].verify().moved] == [WORDS]
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert np.mean(losses[-10:]) < 0.3 * np.mean(losses[:5])


def test_dropout_within_a_held_bert_is_off(bert_module):
    model = bert(bert_module)
    batch = masked_batch(torch.Generator().manual_seed(0))
    fv.freeze(model, "bert", hold=True)
    model.train()
    hidden = [model.bert(batch["input_ids"]).last_hidden_state for _ in range(2)]
    assert torch.equal(*hidden)
    fv.unfreeze(model, "bert.encoder.layer.1")
    model.train()
    hidden = [model.bert(batch["input_ids"]).last_hidden_state for _ in range(2)]
    assert not torch.equal(*hidden)


def test_unfreezing_layer_by_layer_names_what_the_optimizer_lacks(bert_module):
    model = bert(bert_module)
    fv.freeze(model, "bert")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], 1e-3)
    explorer = fv.explore(model, optimizer)
    with pytest.warns(fv.FreezevizWarning, match="AdamW does not have 16 trainable") as warned:
        explorer.controller.unfreeze("bert.encoder.layer.1")
    line = str(warned[0].message).split(":\n")[1]
    expected = '{"params": model.bert.encoder.layer[1].parameters()}'
    assert line == f"optimizer.add_param_group({expected})"
    kept = fv.receipt(model)
    before = adapt(model).read("bert.encoder.layer.1.output.dense.weight")
    exec(line, {"model": model, "optimizer": optimizer})
    train_bert(model, optimizer, 2)
    assert kept.verify().ok
    assert (adapt(model).read("bert.encoder.layer.1.output.dense.weight") != before).any()


def test_a_bert_is_measured_without_a_change_to_its_training(bert_module):
    states = []
    for probed in (False, True):
        model = bert(bert_module)
        fv.freeze(model, "bert.embeddings", "bert.encoder.layer.0")
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        if probed:
            with adapt(model).probe() as probe:
                train_bert(model, optimizer, 1)
        else:
            train_bert(model, optimizer, 1)
        train_bert(model, optimizer, 2, seed=3)
        states.append(model.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert "bert.encoder.layer.0" not in probe.needs_gradient
    assert "bert.encoder.layer.1.output" in probe.needs_gradient
    assert "bert.encoder.layer.1" not in probe.needs_gradient  # its input is the frozen part's
    assert probe.saved_bytes["bert.encoder.layer.0.intermediate.dense"] == 0
    assert probe.saved_bytes["bert.encoder.layer.1.intermediate.dense"] > 0
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert set(probe.gradient_norm) == trainable


def test_code_for_a_bert_is_short_and_right(bert_module):
    model = bert(bert_module)
    controller = fv.explore(model).controller
    controller.freeze("")
    controller.unfreeze("cls")
    controller.unfreeze("bert.encoder.layer.1")
    text = controller.code()
    fresh = bert(bert_module)
    exec(text, {"model": fresh})
    assert adapt(fresh).frozen() == adapt(model).frozen()
    assert text.count("requires_grad_") <= 4, text


# ---------------------------------------------------------------- watched


def test_a_watched_loop_is_measured_and_trains_the_same(digits):
    states, measures = [], None
    for watched in (False, True):
        model = cnn()
        fv.freeze(model, "0")
        optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
        explorer = fv.explore(model, optimizer)
        run = explorer.own_run()
        stop = run.watch_measures() if watched else None
        torch.manual_seed(1)
        for step, (x, y) in fv.steps(list(batches(digits[0], 1)), explorer):
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            explorer.log(loss=loss)
            if step == 5:
                explorer.controller.freeze("1")
        states.append(model.state_dict())
        if stop is not None:
            measures = run.measures
            stop()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert measures.order[0] == ""
    known = dict(zip(measures.parameters, measures.gradient_norm, strict=True))
    assert known["5.weight"] > 0
    assert np.isnan(known["0.0.weight"])


def test_a_page_freezes_a_model_of_pytorch():
    from freezeviz.widgets._bridge import Bridge

    model = cnn()
    explorer = fv.explore(model)
    bridge = Bridge(explorer)
    try:
        rows = explorer.controller.structure
        click = {"id": rows.index["1"], "path": "1"}
        bridge.receive({"type": "toggle", "view": "v", "seq": 1, "clicks": [click]})
        assert adapt(model).frozen() == set(fv.select(model, "1").paths)
        assert "BatchNorm2d" in repr(bridge.widget)
    finally:
        bridge.close()


def test_a_trainer_says_that_models_of_pytorch_keep_their_own_loop(digits):
    with pytest.raises(TypeError, match=r"Models of other frameworks keep their own loop"):
        fv.Trainer(cnn(), fv.optim.SGD(0.1), data=(np.ones((2, 2)), np.ones(2, int)))


def test_who_freezes_all_in_a_loop_is_told_what_backward_does_then():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    explorer = fv.explore(model)
    notes = []
    explorer.controller.subscribe(lambda c: notes.append(c.label) if c.kind == "note" else None)
    loop = fv.steps(range(9), explorer)
    next(loop)
    explorer.controller.freeze("0")
    next(loop)
    assert notes == []
    for _ in range(2):  # told anew after something was trainable
        explorer.controller.freeze("1")
        with pytest.warns(NothingTrainableWarning, match=r"if loss\.requires_grad: loss\.backward"):
            next(loop)
        explorer.controller.unfreeze("1")
        next(loop)
    loop.close()
    assert len(notes) == 2
    explorer.controller.freeze("")  # without a loop that is nobody's trouble
    assert len(notes) == 2
    with pytest.raises(RuntimeError, match="does not require grad"):
        model(torch.ones(1, 2)).sum().backward()
