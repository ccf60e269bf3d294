"""Architectures with checkpoints: BERT, GPT-2, ViT and ResNet, and `load` for Hugging Face's files.

The parameters have the names that they have in Hugging Face's checkpoints, so that
``fv.select(model, "bert.encoder.layer.*.attention.**")`` reads as expected. Models with a head
return its logits, models without one a `ModelOutput`.
"""

from freezeviz.models._bert import BertConfig, BertModel
from freezeviz.models._bert_heads import BertForMaskedLM, BertForSequenceClassification
from freezeviz.models._gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from freezeviz.models._load import load
from freezeviz.models._pretrained import ModelOutput
from freezeviz.models._resnet import ResNetConfig, ResNetForImageClassification, ResNetModel
from freezeviz.models._vit import ViTConfig, ViTForImageClassification, ViTModel

__all__ = [
    "BertConfig",
    "BertForMaskedLM",
    "BertForSequenceClassification",
    "BertModel",
    "GPT2Config",
    "GPT2LMHeadModel",
    "GPT2Model",
    "ModelOutput",
    "ResNetConfig",
    "ResNetForImageClassification",
    "ResNetModel",
    "ViTConfig",
    "ViTForImageClassification",
    "ViTModel",
    "load",
]
