"""Both faces compute the same bits on a GPU, too, whatever the model."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.explicit import test_two_faces as on_cpu
from tests.explicit._architectures import models
from tests.standin_cupy import CUPYS, cupy_of


@pytest.mark.parametrize("kind", CUPYS)
@settings(max_examples=40)
@given(model=models(), training=st.booleans())
def test_faces_agree_bit_for_bit(kind, model, training):
    with cupy_of(kind) as cupy, pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_cpu, "X", cupy.asarray(on_cpu.X))
        model.to("gpu")
        on_cpu.check_both_faces(model, training)
        assert all(isinstance(v, cupy.ndarray) for _, v in model.named_parameters())


def test_the_cpu_is_as_it_was():
    assert isinstance(on_cpu.X, np.ndarray)
