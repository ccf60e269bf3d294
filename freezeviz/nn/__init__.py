"""Models: modules with parameters that can be frozen, layers, initialisers and losses."""

from freezeviz.nn import init, losses
from freezeviz.nn._grad import value_and_grad
from freezeviz.nn._layers._activations import (
    ELU,
    GELU,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
    elu,
    gelu,
    gelu_approx,
    leaky_relu,
    log_softmax,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from freezeviz.nn._layers._attention import MultiHeadAttention
from freezeviz.nn._layers._containers import Sequential
from freezeviz.nn._layers._convolution import Conv2d, Flatten, MaxPool2d
from freezeviz.nn._layers._dropout import Dropout
from freezeviz.nn._layers._embedding import Embedding
from freezeviz.nn._layers._linear import Identity, Linear
from freezeviz.nn._layers._normalization import BatchNorm, LayerNorm
from freezeviz.nn._layers._transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from freezeviz.nn._module import Module

__all__ = [
    "BatchNorm",
    "Conv2d",
    "Dropout",
    "ELU",
    "Embedding",
    "Flatten",
    "GELU",
    "Identity",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "elu",
    "gelu",
    "gelu_approx",
    "init",
    "leaky_relu",
    "log_softmax",
    "losses",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
    "value_and_grad",
]
