"""What goes over the wire: columns once, then a byte a row."""

import json

import numpy as np

from freezeviz.explorer import explore
from freezeviz.widgets._columns import columns, state_bytes
from tests.explorer.fake_framework import encoder


def test_every_column_has_a_value_for_every_row_and_is_plain_json():
    model = encoder(2)
    model.aliases = {"head": ("tail", "end")}
    structure = explore(model).controller.structure
    sent = json.loads(json.dumps(columns(structure, 3)))
    n = len(structure)
    assert sent["version"] == 3
    for name in ("labels", "parents", "kind_of", "detail_of", "counts", "flags"):
        assert len(sent[name]) == n
    kinds = [sent["kinds"][code] for code in sent["kind_of"]]
    assert kinds == list(structure.kinds)
    assert sent["aliases"] == {str(structure.index["head"]): "tail, end"}


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
    assert state_bytes(states, held, pending) == bytes([2, 8, 5, 3])
