"""Models from checkpoints: everything is checked before anything is made."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from freezeviz import random
from freezeviz.errors import FreezevizWarning, WeightsError, closest
from freezeviz.io import ArrayHeader
from freezeviz.models._bert import BertModel
from freezeviz.models._bert_heads import BertForMaskedLM, BertForSequenceClassification
from freezeviz.models._checkpoint import CONFIG, Checkpoint
from freezeviz.models._expected import Expected
from freezeviz.models._gpt2 import GPT2LMHeadModel, GPT2Model
from freezeviz.models._pretrained import Pretrained
from freezeviz.models._resnet import ResNetForImageClassification, ResNetModel
from freezeviz.models._vit import ViTForImageClassification, ViTModel

_KNOWN: tuple[type[Pretrained], ...] = (
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    GPT2LMHeadModel,
    GPT2Model,
    ResNetForImageClassification,
    ResNetModel,
    ViTForImageClassification,
    ViTModel,
)
ARCHITECTURES = {each.__name__: each for each in _KNOWN}

# What may be missing, without `strict`, has no file behind its size: a head, at most.
_NEW = 2**26


def load(
    path: str | os.PathLike[str],
    architecture: str | None = None,
    *,
    strict: bool = True,
    dtype: Any = None,
) -> Any:
    """Return the model in a local directory as Hugging Face lays it out, in eval mode.

    Parameters
    ----------
    path : path
        Directory with ``config.json`` and ``model.safetensors``, or several files of weights and
        ``model.safetensors.index.json``: what ``save_pretrained`` of transformers writes, what
        ``git clone`` of a model's repository gives, or a snapshot in Hugging Face's cache. Nothing
        is ever downloaded.
    architecture : str, optional
        Name of the class, if not the one that ``architectures`` in ``config.json`` names: the bare
        model (``'BertModel'``) of a checkpoint with a head, say.
    strict : bool
        Require every parameter in the files, and no others. Otherwise what is missing (a new head,
        say) keeps its initial values, what is not known is passed over, and a warning names both.
    dtype : dtype, optional
        Of the parameters. By default that of the files, where float16 and bfloat16 become float32.

    Returns
    -------
    Module
        One of the classes in `freezeviz.models`. Its parameters have the names that they have in
        the files; weights of convolutions are channels last, and so are images.

    Raises
    ------
    FileNotFoundError
        If the directory or one of its files is missing.
    WeightsError
        If a file is damaged or lies outside of the directory, the configuration asks for what is
        not supported, or names, shapes or dtypes are not those that it implies. This is found out
        from the files' headers, before a model is made.

    Warns
    -----
    FreezevizWarning
        Without `strict`, if names do not match.

    Notes
    -----
    ``transformers.AutoModel.from_pretrained``, which returns its models in eval mode, too; a
    `Trainer` puts them into train mode by itself.

    Examples
    --------
    >>> model = fv.models.load("bert-base-uncased", architecture="BertForSequenceClassification",
    ...                        strict=False)                      # doctest: +SKIP
    >>> model.freeze()                                            # doctest: +SKIP
    >>> model.bert.encoder.layer[-1].unfreeze()                   # doctest: +SKIP
    """
    checkpoint = Checkpoint(Path(path))
    kind = _architecture(checkpoint, architecture)
    config = kind.config_type.from_dict(checkpoint.config)
    plan = _Plan(kind, config, checkpoint, strict)
    model = _made(kind, config, blank=not plan.missing)
    arrays = checkpoint.read(plan.sources.values())
    model.load_weights(
        [
            (path, _converted(arrays.pop(name), plan.entries[path], dtype))
            for path, name in plan.sources.items()
        ],
        strict=False,  # `plan` has seen to the names, and knows which may be missing
    )
    return model.eval()


def _architecture(checkpoint: Checkpoint, asked: str | None) -> type[Pretrained]:
    where = checkpoint.folder / CONFIG
    kind = checkpoint.config.get("model_type")
    bare = {each.config_type.model_type: each for each in _KNOWN if each.bare}
    if not isinstance(kind, str) or kind not in bare:
        raise WeightsError(
            f"{where}: model_type is {str(kind)[:100]!r}, expected one of {', '.join(bare)}"
        )
    names = [asked] if asked is not None else checkpoint.config.get("architectures")
    if names is None:
        return bare[kind]
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise WeightsError(f"{where}: architectures is expected to be a list of one name")
    found = ARCHITECTURES.get(names[0])
    if found is None or found.config_type.model_type != kind:
        fit = [n for n, each in ARCHITECTURES.items() if each.config_type.model_type == kind]
        raise WeightsError(
            f"{where}: there is no architecture {names[0][:100]!r} for model_type {kind!r}, "
            f"expected one of {', '.join(fit)}; load(path, architecture={fit[-1]!r}) takes the "
            "model without its head"
        )
    return found


class _Plan:
    """Which array of the files goes where, or a WeightsError.

    Attributes
    ----------
    entries : dict of str to Expected
        By path in the model.
    sources : dict of str to str
        Path in the model to name in the files.
    missing : list of Expected
        What keeps its initial values.
    """

    def __init__(self, kind: type[Pretrained], config: Any, checkpoint: Checkpoint, strict: bool):
        headers = checkpoint.headers
        names = _paths(kind, headers, checkpoint.folder)
        self.entries: dict[str, Expected] = {}
        self.sources: dict[str, str] = {}
        self.missing: list[Expected] = []
        where = f"{checkpoint.folder}: {kind.__name__}"
        # A configuration can ask for billions of layers: the walk ends soon after the files do.
        limit = 2 * len(names) + 1000
        for entry in islice(kind.expected(config), limit):
            self.entries[entry.path] = entry
            if entry.path in names:
                self.sources[entry.path] = name = names[entry.path]
                _check(entry, headers[name], f"{checkpoint.files[name]}: {name!r}")
            elif not entry.optional:
                self.missing.append(entry)
        unknown = [n for p, n in names.items() if p not in self.entries]
        unknown = [] if len(self.entries) == limit else unknown
        problems = []
        if self.missing:
            what = _listing([e.path for e in self.missing])
            problems.append(f"{len(self.missing)} arrays are missing: {what}")
        if unknown:
            hint = closest(unknown[0], self.entries)
            problems.append(f"{len(unknown)} arrays are not known: {_listing(unknown)}.{hint}")
        if strict and problems:
            raise WeightsError(
                f"{where} does not fit the files: {'; '.join(problems)}. Load with strict=False "
                "to keep initial values for what is missing, and to pass over what is not known."
            )
        if len(self.entries) == limit or sum(e.size for e in self.missing) > _NEW:
            raise WeightsError(
                f"{where} would be far larger than its files: {CONFIG} does not go with them. "
                f"Missing are: {_listing([e.path for e in self.missing])}"
            )
        if problems:
            warnings.warn(f"{where}: {'; '.join(problems)}", FreezevizWarning, stacklevel=3)


def _paths(
    kind: type[Pretrained], headers: Mapping[str, ArrayHeader], folder: Path
) -> dict[str, str]:
    """Return the names in the files by the paths in the model that they stand for."""
    prefix = f"{kind.prefix}."
    prefixed = any(name.startswith(prefix) for name in headers)
    paths: dict[str, str] = {}
    for name in headers:
        path = name
        if kind.bare and prefixed:
            if not name.startswith(prefix):
                continue  # of the head that this model goes without
            path = name.removeprefix(prefix)
        elif not kind.bare and not prefixed:
            path = prefix + name  # of a bare model: GPT-2's own checkpoints are
        for pattern, new in kind.renamed.items():
            path = re.sub(pattern, new, path)
        if any(re.fullmatch(pattern, path) for pattern in kind.passed_over):
            continue
        if path in paths:
            raise WeightsError(f"{folder}: {name!r} and {paths[path]!r} are one array's names")
        paths[path] = name
    return paths


def _check(entry: Expected, header: ArrayHeader, where: str) -> None:
    if header.shape != entry.shape:
        raise WeightsError(f"{where} has shape {header.shape}, expected {entry.shape} by {CONFIG}")
    if not header.dtype.startswith(("float", "bfloat")):
        raise WeightsError(f"{where} holds {header.dtype}, expected floating numbers")


def _listing(names: list[str]) -> str:
    return ", ".join(map(repr, names[:6])) + (", ..." if len(names) > 6 else "")


class _Blank(np.random.Generator):
    """Draws numbers that nobody is going to read."""

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return np.empty(size, np.float32)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return np.empty(size, np.float32)


def _made(kind: type[Pretrained], config: Any, blank: bool) -> Pretrained:
    """Return a new model; a blank one where every array is going to be replaced.

    Drawing the initial values of a BERT takes longer than reading the real ones.
    """
    if not blank:
        return kind(config)
    with random.using(_Blank(np.random.PCG64())):
        return kind(config)


def _converted(array: np.ndarray, entry: Expected, dtype: Any) -> np.ndarray:
    """Return an array of a file with the model's layout and dtype."""
    if dtype is None and array.dtype.itemsize < 4:
        dtype = np.float32
    if entry.axes is not None:
        array = array.transpose(entry.axes)
    return np.ascontiguousarray(array, dtype=dtype)
