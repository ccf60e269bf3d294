"""Models: modules with parameters that can be frozen, layers, initialisers and losses.

Parameters are float16, float32 or float64. There is no bfloat16: NumPy has none, and takes the
one that ``ml_dtypes`` adds for raw bytes; as a parameter it is refused. Files with bfloat16 are
read, as float32, which holds every such number exactly.
"""

from freezeviz.nn import init, losses
from freezeviz.nn._grad import value_and_grad
from freezeviz.nn._layers._activations import (
    ELU,
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
from freezeviz.nn._layers._bilinear import Bilinear
from freezeviz.nn._layers._containers import Sequential
from freezeviz.nn._layers._conv1d import Conv1d
from freezeviz.nn._layers._conv_transpose import ConvTranspose2d
from freezeviz.nn._layers._convolution import Conv2d, Flatten, MaxPool2d
from freezeviz.nn._layers._dropout import Dropout
from freezeviz.nn._layers._embedding import Embedding
from freezeviz.nn._layers._group_norm import GroupNorm, InstanceNorm
from freezeviz.nn._layers._linear import Identity, Linear
from freezeviz.nn._layers._normalization import BatchNorm, LayerNorm
from freezeviz.nn._layers._piecewise_activations import (
    HardShrink,
    Hardswish,
    HardTanh,
    PReLU,
    ReLU6,
    Softshrink,
    Step,
    hard_shrink,
    hard_tanh,
    hardswish,
    prelu,
    relu6,
    softshrink,
    step,
)
from freezeviz.nn._layers._pooling import AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, MaxPool1d
from freezeviz.nn._layers._positional import RoPE, SinusoidalPositionalEncoding
from freezeviz.nn._layers._recurrent import GRU, LSTM, RNN
from freezeviz.nn._layers._rms_norm import RMSNorm
from freezeviz.nn._layers._smooth_activations import (
    CELU,
    GELU,
    GLU,
    SELU,
    LogSigmoid,
    Mish,
    ReLU2,
    Softmin,
    Softsign,
    celu,
    gelu_fast_approx,
    glu,
    log_sigmoid,
    mish,
    relu2,
    selu,
    softmin,
    softsign,
)
from freezeviz.nn._layers._transformer import (
    Transformer,
    TransformerDecoder,
    TransformerDecoderLayer,
    TransformerEncoder,
    TransformerEncoderLayer,
)
from freezeviz.nn._module import Module

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool1d",
    "AvgPool2d",
    "BatchNorm",
    "Bilinear",
    "CELU",
    "Conv1d",
    "Conv2d",
    "ConvTranspose2d",
    "Dropout",
    "ELU",
    "Embedding",
    "Flatten",
    "GELU",
    "GLU",
    "GRU",
    "GroupNorm",
    "HardShrink",
    "HardTanh",
    "Hardswish",
    "Identity",
    "InstanceNorm",
    "LSTM",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "MaxPool1d",
    "MaxPool2d",
    "Mish",
    "Module",
    "MultiHeadAttention",
    "PReLU",
    "RMSNorm",
    "RNN",
    "ReLU",
    "ReLU2",
    "ReLU6",
    "RoPE",
    "SELU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositionalEncoding",
    "Softmax",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Step",
    "Tanh",
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
    "celu",
    "elu",
    "gelu",
    "gelu_approx",
    "gelu_fast_approx",
    "glu",
    "hard_shrink",
    "hard_tanh",
    "hardswish",
    "init",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "losses",
    "mish",
    "prelu",
    "relu",
    "relu2",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "step",
    "tanh",
    "value_and_grad",
]
