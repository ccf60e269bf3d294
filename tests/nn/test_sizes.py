"""Layers say which of their sizes is wrong, before they make anything of it."""

import numpy as np
import pytest

from freezeviz import nn

# Positional sizes of each layer, with the least that there can be.
SIZES = {
    "Linear": {"input_dims": 0, "output_dims": 0},
    "Bilinear": {"input1_dims": 0, "input2_dims": 0, "output_dims": 0},
    "Embedding": {"num_embeddings": 0, "dims": 1},
    "Conv1d": {"in_channels": 1, "out_channels": 1, "kernel_size": 1},
    "Conv2d": {"in_channels": 1, "out_channels": 1, "kernel_size": 1},
    "ConvTranspose2d": {"in_channels": 1, "out_channels": 1, "kernel_size": 1},
    "MaxPool1d": {"kernel_size": 1},
    "MaxPool2d": {"kernel_size": 1},
    "AvgPool1d": {"kernel_size": 1},
    "AvgPool2d": {"kernel_size": 1},
    "BatchNorm": {"num_features": 0},
    "LayerNorm": {"dims": 0},
    "RMSNorm": {"dims": 0},
    "GroupNorm": {"num_groups": 1, "dims": 1},
    "InstanceNorm": {"dims": 0},
    "PReLU": {"num_parameters": 1},
    "RNN": {"input_size": 0, "hidden_size": 1},
    "GRU": {"input_size": 0, "hidden_size": 1},
    "LSTM": {"input_size": 0, "hidden_size": 1},
    "MultiHeadAttention": {"dims": 1, "num_heads": 1},
    "TransformerEncoderLayer": {"dims": 1, "num_heads": 1},
    "TransformerDecoderLayer": {"dims": 1, "num_heads": 1},
    "TransformerEncoder": {"num_layers": 0, "dims": 1, "num_heads": 1},
    "TransformerDecoder": {"num_layers": 0, "dims": 1, "num_heads": 1},
    "Transformer": {
        "dims": 1, "num_heads": 1, "num_encoder_layers": 0, "num_decoder_layers": 0,
    },
}  # fmt: skip
CASES = [(layer, name) for layer, sizes in SIZES.items() for name in sizes]


@pytest.mark.parametrize(("layer", "name"), CASES)
@pytest.mark.parametrize("wrong", ["one less", 2.5, "4", None, True, [4, 4, 4]], ids=str)
def test_a_wrong_size_is_named_with_what_is_expected(layer, name, wrong):
    least = SIZES[layer][name]
    kernel = name == "kernel_size"
    if kernel and wrong is True:
        return  # an index like another; MLX takes it, too
    wrong = least - 1 if wrong == "one less" else wrong
    sizes = dict.fromkeys(SIZES[layer], 4) | {name: wrong}
    with pytest.raises(ValueError, match=rf"{name} is an int.* of at least {least}, got "):
        getattr(nn, layer)(**sizes)


@pytest.mark.parametrize("layer", SIZES)
def test_sizes_of_numpy_are_sizes(layer):
    sizes = dict.fromkeys(SIZES[layer], np.int64(2))
    assert isinstance(getattr(nn, layer)(**sizes), nn.Module)
