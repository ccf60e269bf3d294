"""One step and one validation: what is computed, without the question when and for whom."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakSet

import numpy as np

from freezeviz import nn, random
from freezeviz.errors import DataError
from freezeviz.optim import Optimizer
from freezeviz.train._batches import Batches, whole_number
from freezeviz.train._features import FeatureCache, memory_of, plain
from freezeviz.train._late import Late
from freezeviz.train._metrics import (
    Metric,
    checked_metrics,
    on_host,
    single_number,
    single_number_or_late,
)
from freezeviz.train._objective import resolve_loss, right_answers


class Outcome(NamedTuple):
    """What a step, or a pass over some data, came to."""

    loss: float
    accuracy: float | None
    trained: bool
    metrics: dict[str, float]


class LateOutcome:
    """An outcome whose numbers are on their way from a GPU; `read` waits for them."""

    def __init__(
        self, loss: Any, right: Any, targets: int, trained: bool, metrics: dict[str, Any]
    ) -> None:
        self._numbers = Late([loss, 0.0 if right is None else right, *metrics.values()])
        self._targets = None if right is None else max(targets, 1)
        self._trained = trained
        self._names = tuple(metrics)

    def read(self) -> Outcome:
        """Return the outcome, when it is there."""
        loss, right, *metrics = self._numbers.read()
        accuracy = None if self._targets is None else right / self._targets
        values = dict(zip(self._names, metrics, strict=True))
        return Outcome(loss, accuracy, self._trained, values)


def read(outcome: Outcome | LateOutcome) -> Outcome:
    """Return an outcome, when its numbers are on the host."""
    return outcome.read() if isinstance(outcome, LateOutcome) else outcome


class Engine:
    """A model with all it takes to train it. See `Trainer` for the arguments.

    Everything a step draws at random follows from the seed and the number of the step, so a run
    can be taken up at any step, and draws made elsewhere do not change it.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss: Any,
        data: Any,
        validation: Any,
        batch_size: int,
        seed: int,
        shuffle: bool,
        metrics: Mapping[str, Metric],
        feature_cache: bool | int = False,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(
                f"a Trainer trains freezeviz.nn modules, got {type(model).__name__}. Models of "
                "other frameworks keep their own loop; explore() and freeze() work on them."
            )
        if isinstance(optimizer, type) or not hasattr(optimizer, "update"):
            raise TypeError(
                f"optimizer is an optimizer such as optim.Adam(1e-3), got {optimizer!r}"
            )
        if data is None:
            raise DataError("a Trainer needs data to train on: data=(x, y)")
        self.model = model
        self._forward: Any = model  # a Module has no __call__ of its own, every model has
        self.optimizer = optimizer
        self.seed = whole_number(seed, "seed", 0)
        batch_size = whole_number(batch_size, "batch_size", 1)
        self._loss, self._may_classify = resolve_loss(loss)
        self._metrics = checked_metrics(metrics)
        self.train = Batches(data, batch_size, "data", self.seed if shuffle else None)
        self.validation = None
        if validation is not None:
            self.validation = Batches(validation, batch_size, "validation")
        self._value_and_grad = nn.value_and_grad(model, self._objective)
        memory = memory_of(feature_cache)
        self.features: FeatureCache | None = None
        self._of_validation: FeatureCache | None = None
        if memory is not None:
            sharing: WeakSet[FeatureCache] = WeakSet()
            self.features = FeatureCache(model, self.train, memory, sharing)
            self._forward = self.features.forward
            if self.validation is not None:
                self._of_validation = FeatureCache(model, self.validation, memory, sharing)

    def _objective(self, x: Any, y: Any) -> tuple[Any, Any]:
        outputs = self._forward(x)
        return plain(self._loss(outputs, y)), outputs

    def place(self) -> None:
        """Bring the data to where the model's arrays are."""
        for _, parameter in self.model.named_parameters()[:1]:
            self.train.place(parameter)
            if self.validation is not None:
                self.validation.place(parameter)

    def consider(self) -> None:
        """Let what is cached be looked into again: something was frozen, or a run begins."""
        for features in (self.features, self._of_validation):
            if features is not None:
                features.consider()

    def close(self) -> None:
        """Leave classes as they are without a run, and memory to others."""
        for batches in (self.train, self.validation):
            if batches is not None:
                batches.close()
        for features in (self.features, self._of_validation):
            if features is not None:
                features.close()

    def step(self, number: int, skip_bad: bool) -> Outcome | LateOutcome:
        """Make step `number`, from 0. With `skip_bad`, a bad loss leaves the model alone.

        A GPU is not waited for, unless it has to be known whether the loss is a bad one.
        """
        which = self.train.which(number)
        y = self.train.y[which]

        def gradient(x: Any) -> Any:
            with random.using(partial(self._generator, 0, number)):
                return self._value_and_grad(x, y)

        features = self.features
        if features is None:
            (loss, outputs), gradients = gradient(self.train.x[which])
        else:
            if number % len(self.train) == 0:
                features.epoch_begins()
            (loss, outputs), gradients = features.run(which, len(y), gradient)
        outcome = self._outcome(loss, outputs, y, bool(gradients))
        if skip_bad:
            outcome = read(outcome)
            if not math.isfinite(outcome.loss):
                return outcome
        if gradients:
            self.optimizer.update(self.model, gradients)
        self.train.ahead(number + 1)
        return outcome

    def evaluate(
        self, batches: Batches, number: int, between: Callable[[], object] = lambda: None
    ) -> Outcome:
        """Return mean loss, accuracy and metrics over all samples, in the mode the model is in.

        Parameters
        ----------
        batches : Batches
        number : int
            Steps done; seeds what the model draws.
        between : callable
            Called after every batch.
        """
        sums = _Sums(self._metrics)
        features = self._of_validation if batches is self.validation else None
        if features is not None:
            features.epoch_begins()
        before: tuple[Outcome | LateOutcome, int] | None = None
        with random.using(partial(self._generator, 1, number)):
            for which in batches.in_order():
                y = batches.y[which]
                objective = partial(self._objective, y=y)
                if features is None:
                    loss, outputs = objective(batches.x[which])
                else:
                    loss, outputs = features.run(which, len(y), objective)
                outcome = self._outcome(loss, outputs, y, False)
                if before is not None:
                    sums.add(*before)
                before = outcome, len(y)
                between()
        if before is not None:
            sums.add(*before)
        return sums.mean(batches.samples)

    def _outcome(self, loss: Any, outputs: Any, y: Any, trained: bool) -> Outcome | LateOutcome:
        right = right_answers(outputs, y) if self._may_classify else None
        if on_host(loss):
            value, accuracy = float(loss), None
            if right is not None:
                accuracy = float(right) / max(y.size, 1)
            metrics = self._measured(outputs, y, single_number) if self._metrics else {}
            return Outcome(value, accuracy, trained, metrics)
        measured = self._measured(outputs, y, single_number_or_late)
        return LateOutcome(loss, right, y.size, trained, measured)

    def _measured(self, outputs: Any, y: Any, number: Callable[[Any, str], Any]) -> dict[str, Any]:
        return {
            name: number(metric(outputs, y), f"the metric {name!r}")
            for name, metric in self._metrics.items()
        }

    def _generator(self, purpose: int, number: int) -> np.random.Generator:
        # 2**31: away from the seeds of the shuffling, which are (seed, epoch).
        return np.random.default_rng([self.seed, 2**31 + purpose, number])


class _Sums:
    """Numbers of batches, and their mean by sample."""

    def __init__(self, names: Iterable[str]) -> None:
        self._total = self._right = 0.0
        self._known = True
        self._metrics = dict.fromkeys(names, 0.0)

    def add(self, outcome: Outcome | LateOutcome, samples: int) -> None:
        loss, share, _, metrics = read(outcome)
        self._total += loss * samples
        self._right += (share or 0.0) * samples
        self._known = self._known and share is not None
        for name, value in metrics.items():
            self._metrics[name] += value * samples

    def mean(self, samples: int) -> Outcome:
        means = {name: value / samples for name, value in self._metrics.items()}
        right = self._right / samples if self._known else None
        return Outcome(self._total / samples, right, False, means)
