"""What goes over the wire: columns once, then a byte a row."""

import numpy as np

from freezeviz.explorer import explore
from freezeviz.widgets._columns import columns, state_bytes
from tests.explorer.fake_framework import encoder

NUMBERS = {
    "label_of": "<i4",
    "parents": "<i4",
    "kind_of": "<i4",
    "detail_of": "<i4",
    "counts": "<f8",
    "bytes": "<f8",
    "flags": "u1",
}


def test_every_column_has_a_value_for_every_row():
    model = encoder(2)
    model.aliases = {"head": ("tail", "end")}
    structure = explore(model).controller.structure
    sent = columns(structure, 3)
    read = {name: np.frombuffer(sent[name], dtype) for name, dtype in NUMBERS.items()}
    assert sent["version"] == 3
    assert {len(values) for values in read.values()} == {len(structure)}
    assert [sent["labels"][code] for code in read["label_of"]] == list(structure.labels)
    assert [sent["kinds"][code] for code in read["kind_of"]] == list(structure.kinds)
    assert [sent["details"][code] for code in read["detail_of"]] == list(structure.details)
    assert read["parents"].tolist() == structure.parent.tolist()
    assert read["counts"].tolist() == structure.n_parameters.tolist()
    assert read["bytes"].tolist() == structure.n_bytes.tolist()
    assert sent["aliases"] == {str(structure.index["head"]): ["tail", "end"]}


def test_flags_tell_parameters_and_buffers():
    structure = explore(encoder(1)).controller.structure
    flags = dict(zip(structure.paths, columns(structure, 1)["flags"], strict=True))
    assert flags["layers.0.norm"] == 2
    assert flags["layers.0.norm.weight"] == 1
    assert flags["layers.0"] == 0


def test_a_state_is_one_byte_a_row():
    states = np.array([2, 0, 1, 3], np.uint8)
    held = np.array([False, False, True, False])
    pending = np.array([False, True, False, False])
    locked = np.array([False, False, True, False])
    assert state_bytes(states, held, pending, locked) == bytes([2, 8, 1 + 4 + 16, 3])
