"""One small protocol for models of any framework."""

from freezeviz.adapters._native import NativeAdapter
from freezeviz.adapters._protocol import BufferInfo, LayerInfo, ModelAdapter, ParameterInfo, Probe
from freezeviz.adapters._registry import adapt, register

__all__ = [
    "BufferInfo",
    "LayerInfo",
    "ModelAdapter",
    "NativeAdapter",
    "ParameterInfo",
    "Probe",
    "adapt",
    "register",
]
