"""What all optimizers share: state by path, step counts, scheduled numbers, `update`."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from freezeviz import tree
from freezeviz.backend import array_namespace, to_numpy
from freezeviz.errors import ParameterKeyError, ShapeError, closest
from freezeviz.nn._walk import walked
from freezeviz.optim._rows import Row
from freezeviz.optim._together import updated

Schedule = Callable[[int], float]


class Optimizer:
    """Base of all optimizers.

    A subclass gives `init_single`, which fills the state of one parameter, and `apply_single`,
    which returns its new value. Both see single arrays; paths, freezing, and data types are dealt
    with here.

    Attributes
    ----------
    step : int
        Updates done so far; what schedules are called with.

    Notes
    -----
    Differences to ``mlx.optimizers``, all of them about unfreezing in mid-run:

    - State is kept in one mapping from dotted path to entry, made when a path is first updated,
      kept while the path is frozen, and taken up again afterwards.
    - Each entry counts its own steps, so bias correction starts where the parameter starts.
    - Arrays are values: neither parameters, gradients nor states are ever written into.
    - Parameters of less than 32 bits are computed, and their state is kept, in float32
      (``eps=1e-8`` is zero in float16, and a vanishing gradient would become infinite).

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import optim
    >>> class Signed(optim.Optimizer):
    ...     def __init__(self, learning_rate):
    ...         super().__init__()
    ...         self.learning_rate = learning_rate
    ...
    ...     def apply_single(self, gradient, parameter, state):
    ...         return parameter - self.learning_rate * np.sign(gradient)
    >>> Signed(0.1).apply_gradients({"w": np.array([2.0])}, {"w": np.array([1.0])})
    {'w': array([0.9])}
    """

    def __init__(self) -> None:
        self.step = 0
        self._state: dict[str, dict[str, Any]] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}  # of the parameter that an entry was made for
        self._rows: list[Row] = []  # of small parameters, side by side
        self._shown = False  # whether somebody may have the mapping of states
        self._numbers: dict[str, float] = {}
        self._schedules: dict[str, Schedule] = {}

    # ---- what a subclass says -------------------------------------------------------------

    def init_single(self, parameter: Any, state: dict[str, Any]) -> None:
        """Fill the state of one parameter; ``state["step"]``, its count of updates, is there.

        Parameters
        ----------
        parameter : array of any shape
        state : dict
            Is filled.
        """

    def apply_single(self, gradient: Any, parameter: Any, state: dict[str, Any]) -> Any:
        """Return the new value of one parameter, and put new arrays into `state`.

        Parameters
        ----------
        gradient, parameter : array of the same shape
            Are not written into.
        state : dict
            The parameter's, as `init_single` filled it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how to update a parameter")

    # ---- numbers that may be scheduled -----------------------------------------------------

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last update; assign a number or a function of the step."""
        return self._numbers["learning_rate"]

    @learning_rate.setter
    def learning_rate(self, value: float | Schedule) -> None:
        self._maybe_schedule("learning_rate", value)

    def _maybe_schedule(self, name: str, value: float | Schedule) -> None:
        number = checked(name, value(self.step) if callable(value) else value)
        self._numbers[name] = number
        self._schedules.pop(name, None)
        if callable(value):
            self._schedules[name] = value

    # ---- state -----------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        """Mapping from path to that parameter's entry: its ``"step"`` count and its arrays."""
        self._settle()
        self._shown = True
        return self._state

    @state.setter
    def state(self, value: dict[str, dict[str, Any]]) -> None:
        self._state, self._shapes, self._rows = value, {}, []
        self._shown = True

    def _settle(self) -> None:
        """Bring all entries up to date: those of rows are not made in every step."""
        rows = [row.settled() for row in self._rows]
        for before, row in zip(self._rows, rows, strict=True):
            for path, old, new in zip(row.layout.paths, before.entries, row.entries, strict=True):
                if self._state.get(path) is old:
                    self._state[path] = new
        # Not in place: `_mark` may have the list.
        self._rows = rows

    def init(self, parameters: Any) -> None:
        """Make the state of every parameter in a tree, anew where there is one.

        There is no need to call it: a path that has no state gets one at its first update.

        Parameters
        ----------
        parameters : tree of arrays
        """
        self._settle()
        for path, parameter in tree.tree_flatten(parameters):
            self._state[path] = self._new_entry(parameter)
            self._shapes[path] = parameter.shape

    def reset(self, paths: Iterable[str] | None = None) -> None:
        """Forget the state of some paths (of all, if None), so that they start anew.

        Parameters
        ----------
        paths : str or iterable of str, optional
        """
        if isinstance(paths, str):
            paths = [paths]
        self._settle()
        for path in list(self._state) if paths is None else list(paths):
            self._state.pop(path, None)

    def _new_entry(self, parameter: Any) -> dict[str, Any]:
        entry: dict[str, Any] = {"step": 0}
        self.init_single(_computed(parameter), entry)
        return entry

    def _entry_for(self, path: str, parameter: Any) -> dict[str, Any]:
        """Return a copy of a path's entry that fits the parameter, or a new one."""
        entry = self._state.get(path)
        # Another shape is another array under an old name: a head that was replaced.
        if entry is None or self._shapes.get(path, parameter.shape) != parameter.shape:
            return self._new_entry(parameter)
        entry = dict(entry)
        for name, value in entry.items():
            if hasattr(value, "shape") and type(value) is not type(parameter):
                entry[name] = array_namespace(parameter).asarray(to_numpy(value))  # the model moved
        return entry

    # ---- updates ---------------------------------------------------------------------------

    def update(self, model: Any, gradients: Any) -> None:
        """Update the trainable parameters of a model, in place of their old arrays.

        Parameters
        ----------
        model : nn.Module
        gradients : tree of arrays
            As `nn.value_and_grad` gives them. A gradient of a parameter that has been frozen since
            is passed over: frozen parameters do not move.

        Raises
        ------
        ParameterKeyError
            If a gradient belongs to no parameter of the model.
        ShapeError
            If a gradient has another shape than its parameter.
        """
        # The walk of the step before, and what it knows of the gradients' nesting: for a small MLP,
        # walking and flattening anew took a sixth of the whole step.
        walk = walked(model)
        plan = walk.plan()
        arrays = plan.flatten(gradients)
        if arrays is not None:
            paths, entries = plan.paths, plan.entries
        else:
            flat = tree.tree_flatten(gradients)
            for path, _ in flat:
                _check_known(path, walk.entries)
            flat = [(path, array) for path, array in flat if not walk.entries[path].frozen]
            paths, arrays = [path for path, _ in flat], [array for _, array in flat]
            entries = [walk.entries[path] for path in paths]
        new = self._advance(paths, arrays, [entry.value for entry in entries])
        walk.put(entries, new, apart=self._makes_new())

    def _makes_new(self) -> bool:
        """Return whether new values are known to be in new memory, each parameter's in its own.

        The library's rules see to that; one that a user wrote may hand out what it likes.
        """
        return self.apply_single.__module__.startswith("freezeviz.optim.")

    def apply_gradients(self, gradients: Any, parameters: Any) -> Any:
        """Return the new values of the parameters that have a gradient, as a tree like `gradients`.

        Parameters
        ----------
        gradients : tree of arrays
        parameters : tree of arrays, or nn.Module
            May hold more than `gradients`.

        Raises
        ------
        ParameterKeyError
            If a gradient belongs to no parameter.
        ShapeError
            If a gradient has another shape than its parameter.
        """
        if hasattr(parameters, "named_parameters"):
            known = dict(parameters.named_parameters())
        else:
            known = dict(tree.tree_flatten(parameters))
        flat = tree.tree_flatten(gradients)
        for path, _ in flat:
            _check_known(path, known)
        paths = [path for path, _ in flat]
        values = self._advance(paths, [array for _, array in flat], [known[path] for path in paths])
        new = dict(zip(paths, values, strict=True))
        return tree.tree_map_with_path(lambda path, _: new[path], gradients)

    def _advance(
        self, paths: list[str], gradients: Sequence[Any], parameters: Sequence[Any]
    ) -> list[Any]:
        """Return new arrays in order. The optimizer moves on only if all could be computed."""
        if [g.shape for g in gradients] != [p.shape for p in parameters]:
            for path, gradient, parameter in zip(paths, gradients, parameters, strict=True):
                if gradient.shape != parameter.shape:
                    raise ShapeError(
                        f"the gradient of {path!r} has shape {gradient.shape}, "
                        f"the parameter {parameter.shape}"
                    )
        numbers = self._numbers
        if self._schedules:
            scheduled = {n: checked(n, of(self.step)) for n, of in self._schedules.items()}
            self._numbers = numbers | scheduled
        try:
            new = updated(self, paths, gradients, parameters)
        except BaseException:
            self._numbers = numbers
            raise
        if new.entries:
            self._state.update(new.entries)
            shapes = {path: value.shape for path, value in zip(paths, new.values, strict=True)}
            self._shapes.update((path, shapes[path]) for path in new.entries)
        self._rows = new.rows
        if self._shown:
            self._settle()
        self.step += 1
        return new.values

    def _mark(self) -> Any:
        """Return what `_go_back` needs to undo the updates that come."""
        # Entries are replaced, not written into: their mapping is all there is to copy.
        return self.step, dict(self._state), dict(self._shapes), self._numbers, self._rows

    def _go_back(self, mark: Any) -> None:
        self.step, self._state, self._shapes, self._numbers, self._rows = mark

    def _apply(self, gradient: Any, parameter: Any, entry: dict[str, Any]) -> Any:
        wide = _computed(parameter)
        if gradient.dtype != wide.dtype:
            gradient = gradient.astype(wide.dtype)
        value = self.apply_single(gradient, wide, entry)
        # asarray: arithmetic on 0-d arrays gives scalars.
        return array_namespace(parameter).asarray(value, dtype=parameter.dtype)

    # ---- display ---------------------------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        """Return the arguments that `repr` shows, besides the learning rate."""
        return {}

    def __repr__(self) -> str:
        options = dict(self._numbers)
        for name in self._schedules:
            options[name] = float("nan")
        shown = [
            f"{n}=<schedule>" if n in self._schedules else f"{n}={v!r}" for n, v in options.items()
        ]
        shown += [f"{name}={value!r}" for name, value in self._options().items()]
        return f"{type(self).__name__}({', '.join(shown)})"


def _computed(parameter: Any) -> Any:
    """Return the parameter in the data type in which it is computed."""
    return parameter.astype("float32") if parameter.dtype.itemsize < 4 else parameter


def _check_known(path: str, known: Iterable[str]) -> None:
    if path not in known:
        raise ParameterKeyError(
            f"there is no parameter {path!r} for this gradient.{closest(path, known)}"
        )


def checked(name: str, value: Any, below: float = math.inf) -> float:
    """Return `value` as a float; raise ValueError unless it is a number in [0, `below`)."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is a number, got {value!r}") from None
    if not 0 <= number < below:
        limit = "finite and not negative" if below == math.inf else f"from 0 to less than {below:g}"
        raise ValueError(f"{name} must be {limit}, got {number!r}")
    return number


def above_zero(name: str, value: Any) -> float:
    """Return `value` as a float; raise ValueError unless it is a finite number above zero."""
    number = checked(name, value)
    if number == 0:
        raise ValueError(f"{name} must be above zero, got {number!r}")
    return number
