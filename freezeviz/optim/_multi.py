"""Several optimizers for the parameters of one model."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from freezeviz import tree
from freezeviz.optim._base import Optimizer, Schedule

Filter = Callable[[str, Any], bool]


class MultiOptimizer(Optimizer):
    """Gives each parameter to one of several optimizers.

    Parameters
    ----------
    optimizers : sequence of Optimizer
    filters : sequence of callable
        ``(path, parameter) -> bool``, one for each optimizer but the last. A parameter goes to
        the first optimizer whose filter is true, or else to the last.

    Raises
    ------
    ValueError
        If there is no optimizer, or another number of filters.

    Notes
    -----
    After ``mlx.optimizers.MultiOptimizer``. Frozen parameters are nobody's; one that is unfrozen
    in mid-run gets its state from the optimizer that its path belongs to.

    Examples
    --------
    >>> from freezeviz import optim
    >>> optimizer = optim.MultiOptimizer(
    ...     [optim.SGD(0.1), optim.AdamW(1e-3)], [lambda path, value: path.endswith("bias")]
    ... )
    """

    def __init__(self, optimizers: Sequence[Optimizer], filters: Sequence[Filter] = ()) -> None:
        super().__init__()
        if not optimizers or len(filters) != len(optimizers) - 1:
            raise ValueError(
                "MultiOptimizer takes optimizers and one filter for each but the last, "
                f"got {len(optimizers)} optimizers and {len(filters)} filters"
            )
        self.optimizers = list(optimizers)
        self.filters = list(filters)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the first optimizer; what is assigned goes to all."""
        return self.optimizers[0].learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        for optimizer in self.optimizers:
            optimizer.learning_rate = value

    @property
    def state(self) -> dict[str, Any]:
        """``{"states": [...]}`` with the state of each optimizer, as in MLX."""
        return {"states": [optimizer.state for optimizer in self.optimizers]}

    @state.setter
    def state(self, value: dict[str, Any]) -> None:
        states = value.get("states", ())
        if len(states) != len(self.optimizers):
            raise ValueError(
                f"MultiOptimizer's state is {{'states': [...]}} with one of each of its "
                f"{len(self.optimizers)} optimizers, got {len(states)}"
            )
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.state = state

    def init(self, parameters: Any) -> None:
        """Make the state of every parameter in a tree, anew where there is one."""
        flat = tree.tree_flatten(parameters)
        for optimizer, part in zip(self.optimizers, self._split(flat, dict(flat)), strict=True):
            optimizer.init(dict(part))

    def reset(self, paths: Iterable[str] | None = None) -> None:
        """Forget the state of some paths (of all, if None), so that they start anew."""
        paths = [paths] if isinstance(paths, str) else paths
        wanted = None if paths is None else list(paths)
        for optimizer in self.optimizers:
            optimizer.reset(wanted)

    def _split(
        self, flat: list[tuple[str, Any]], parameters: dict[str, Any]
    ) -> list[list[tuple[str, Any]]]:
        parts: list[list[tuple[str, Any]]] = [[] for _ in self.optimizers]
        for path, value in flat:
            wanted = (i for i, fn in enumerate(self.filters) if fn(path, parameters[path]))
            parts[next(wanted, -1)].append((path, value))
        return parts

    def _advance(
        self, paths: list[str], gradients: Sequence[Any], parameters: Sequence[Any]
    ) -> list[Any]:
        known = dict(zip(paths, parameters, strict=True))
        parts = self._split(list(zip(paths, gradients, strict=True)), known)
        before = [(one, one._mark()) for one in self._single()]
        new: dict[str, Any] = {}
        try:
            # All of them, also those without a parameter now: their schedules go on.
            for optimizer, part in zip(self.optimizers, parts, strict=True):
                own = [path for path, _ in part]
                arrays = [array for _, array in part]
                values = optimizer._advance(own, arrays, [known[path] for path in own])
                new.update(zip(own, values, strict=True))
        except BaseException:
            for one, mark in before:
                one._go_back(mark)
            raise
        self.step += 1
        return [new[path] for path in paths]

    def _makes_new(self) -> bool:
        return all(optimizer._makes_new() for optimizer in self.optimizers)

    def _single(self) -> Iterable[Optimizer]:
        """Return this and all optimizers below it."""
        yield self
        for optimizer in self.optimizers:
            if isinstance(optimizer, MultiOptimizer):
                yield from optimizer._single()
            else:
                yield optimizer

    def __repr__(self) -> str:
        return f"MultiOptimizer([{', '.join(map(repr, self.optimizers))}])"
