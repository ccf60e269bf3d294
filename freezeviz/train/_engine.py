"""One step and one validation: what is computed, without the question when and for whom."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from freezeviz import nn, random
from freezeviz.errors import DataError
from freezeviz.optim import Optimizer
from freezeviz.train._batches import Batches, whole_number
from freezeviz.train._features import FeatureCache, memory_of, plain
from freezeviz.train._metrics import Metric, checked_metrics, single_number
from freezeviz.train._objective import numbers, resolve_loss, right_answers


class Outcome(NamedTuple):
    """What a step, or a pass over some data, came to."""

    loss: float
    accuracy: float | None
    trained: bool
    metrics: dict[str, float]


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
            self.features = FeatureCache(model, self.train, memory)
            self._forward = self.features.forward
            if self.validation is not None:
                self._of_validation = FeatureCache(model, self.validation, memory)

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
        """Leave classes as they are without a run."""
        for features in (self.features, self._of_validation):
            if features is not None:
                features.close()

    def step(self, number: int, skip_bad: bool) -> Outcome:
        """Make step `number`, from 0. With `skip_bad`, a bad loss leaves the model alone."""
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
        value, accuracy = self._numbers(loss, outputs, y)
        outcome = Outcome(value, accuracy, bool(gradients), self._measured(outputs, y))
        if gradients and (math.isfinite(outcome.loss) or not skip_bad):
            self.optimizer.update(self.model, gradients)
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
        total = right = 0.0
        known = True
        sums = dict.fromkeys(self._metrics, 0.0)
        features = self._of_validation if batches is self.validation else None
        if features is not None:
            features.epoch_begins()
        with random.using(partial(self._generator, 1, number)):
            for which in batches.in_order():
                y = batches.y[which]
                objective = partial(self._objective, y=y)
                if features is None:
                    loss, outputs = objective(batches.x[which])
                else:
                    loss, outputs = features.run(which, len(y), objective)
                mean, share = self._numbers(loss, outputs, y)
                total += mean * len(y)
                right += (share or 0.0) * len(y)
                known = known and share is not None
                for name, value in self._measured(outputs, y).items():
                    sums[name] += value * len(y)
                between()
        n = batches.samples
        means = {name: value / n for name, value in sums.items()}
        return Outcome(total / n, right / n if known else None, False, means)

    def _measured(self, outputs: Any, y: Any) -> dict[str, float]:
        return {
            name: single_number(metric(outputs, y), f"the metric {name!r}")
            for name, metric in self._metrics.items()
        }

    def _numbers(self, loss: Any, outputs: Any, y: Any) -> tuple[float, float | None]:
        """Return loss and accuracy on the host: on a GPU, the one wait of a step."""
        right = right_answers(outputs, y) if self._may_classify else None
        if right is None:
            return float(loss), None
        loss, right = numbers(loss, right)
        return loss, right / max(y.size, 1)

    def _generator(self, purpose: int, number: int) -> np.random.Generator:
        # 2**31: away from the seeds of the shuffling, which are (seed, epoch).
        return np.random.default_rng([self.seed, 2**31 + purpose, number])
