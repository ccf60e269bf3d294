"""BERT with a head: classes of sequences, and masked words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from freezeviz import nn
from freezeviz.models import _expected as e
from freezeviz.models._activations import ACTIVATIONS
from freezeviz.models._bert import BertConfig, BertModel
from freezeviz.models._expected import Expected
from freezeviz.models._pretrained import Pretrained


class BertForSequenceClassification(Pretrained):
    """A BERT that classifies sequences.

    Parameters
    ----------
    config : BertConfig

    Notes
    -----
    Computes what ``transformers.BertForSequenceClassification`` does.
    """

    config_type = BertConfig
    prefix = BertModel.prefix
    passed_over = (r"bert\.embeddings\.position_ids",)
    renamed: ClassVar = BertModel.renamed

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.bert = BertModel(config)
        p = config.classifier_dropout
        self.dropout = nn.Dropout(config.hidden_dropout_prob if p is None else p)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def __call__(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
    ) -> Any:
        """Return the logits; arguments and errors are those of `BertModel`.

        Returns
        -------
        array of shape (batch, num_labels)
        """
        out = self.bert(input_ids, attention_mask, token_type_ids, position_ids)
        return self.classifier(self.dropout(out.pooler_output))

    @classmethod
    def expected(cls, config: BertConfig) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        yield from e.below("bert", BertModel.expected(config))
        yield from e.linear("classifier", config.hidden_size, config.num_labels)


class BertPredictionHeadTransform(nn.Module):
    """A layer before the words are predicted."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self._activation = ACTIVATIONS[config.hidden_act]

    def __call__(self, x: Any) -> Any:
        return self.LayerNorm(self._activation(self.dense(x)))


class BertLMPredictionHead(nn.Module):
    """Logits of words, by the table of the word embeddings where they are tied."""

    def __init__(self, config: BertConfig, words: nn.Embedding):
        super().__init__()
        decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = decoder.bias  # first: it is known by this name
        self.transform = BertPredictionHeadTransform(config)
        self.decoder = decoder
        if config.tie_word_embeddings:
            decoder.weight = words.weight

    def __call__(self, x: Any) -> Any:
        return self.decoder(self.transform(x))


class BertOnlyMLMHead(nn.Module):
    """The head of a masked language model."""

    def __init__(self, config: BertConfig, words: nn.Embedding):
        super().__init__()
        self.predictions = BertLMPredictionHead(config, words)

    def __call__(self, x: Any) -> Any:
        return self.predictions(x)


class BertForMaskedLM(Pretrained):
    """A BERT that predicts the words behind masks.

    Parameters
    ----------
    config : BertConfig

    Notes
    -----
    Computes what ``transformers.BertForMaskedLM`` does. With ``tie_word_embeddings`` the output
    layer's weight is the table of the word embeddings: one parameter with two names.
    """

    config_type = BertConfig
    prefix = BertModel.prefix
    # Checkpoints of the pre-training have its second task, and the pooler that belongs to it.
    passed_over = (
        r"bert\.embeddings\.position_ids",
        r"bert\.pooler\..*",
        r"cls\.seq_relationship\..*",
    )
    renamed: ClassVar = BertModel.renamed

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.bert = BertModel(config, pooler=False)
        self.cls = BertOnlyMLMHead(config, self.bert.embeddings.word_embeddings)

    def __call__(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        token_type_ids: Any = None,
        position_ids: Any = None,
    ) -> Any:
        """Return the logits; arguments and errors are those of `BertModel`.

        Returns
        -------
        array of shape (batch, length, vocab_size)
        """
        out = self.bert(input_ids, attention_mask, token_type_ids, position_ids)
        return self.cls(out.last_hidden_state)

    @classmethod
    def expected(cls, config: BertConfig) -> Iterator[Expected]:
        """Give what a checkpoint of the model has to hold."""
        dims, tied = config.hidden_size, config.tie_word_embeddings
        yield from e.below("bert", BertModel.expected(config, pooler=False))
        yield from e.linear("cls.predictions.transform.dense", dims, dims)
        yield from e.norm("cls.predictions.transform.LayerNorm", dims)
        yield Expected("cls.predictions.bias", (config.vocab_size,))
        decoder = "cls.predictions.decoder"
        yield Expected(f"{decoder}.weight", (config.vocab_size, dims), optional=tied)
        yield Expected(f"{decoder}.bias", (config.vocab_size,), optional=True)
