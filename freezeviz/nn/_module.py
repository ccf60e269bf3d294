"""The base of every layer and model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from freezeviz import backend, random
from freezeviz.backend import is_array
from freezeviz.nn import _bind, _freezing, _updating, _walk, _weights
from freezeviz.nn._attributes import Attributes
from freezeviz.nn._members import Tree, is_buffer
from freezeviz.tree import tree_flatten

__all__ = ["Module"]


class Module(Attributes):
    """A node of a model: parameters, buffers, submodules and a computation.

    Subclasses assign their parts in ``__init__`` after ``super().__init__()`` and define
    ``__call__``:

    - a public floating array is a *parameter*;
    - an array given to `register_buffer`, or an integer or boolean array, is a *buffer*: saved
      with the weights, never trained;
    - a module is a *submodule*;
    - lists and dicts of these work to any depth; tuples are not entered.

    Notes
    -----
    The interface is MLX's ``mlx.nn.Module``. Where MLX's behaviour is a trap, this differs:
    buffers are no parameters, a shared module is listed once, a key that matches nothing warns.

    Examples
    --------
    >>> import numpy as np
    >>> from freezeviz import nn
    >>> class Block(nn.Module):
    ...     def __init__(self, dims):
    ...         super().__init__()
    ...         self.proj = nn.Linear(dims, dims)
    ...         self.gain = np.ones(dims, np.float32)
    ...
    ...     def __call__(self, x):
    ...         return x + np.tanh(self.proj(x)) * self.gain
    >>> [path for path, _ in Block(4).named_parameters()]
    ['proj.weight', 'proj.bias', 'gain']
    """

    # Paths of parameters below this module that it keeps frozen, whatever they are otherwise:
    # those of a wrapper that freezes (`explicit.FrozenLayer`).
    _governed: frozenset[str] = frozenset()

    depends_on: ClassVar[tuple[str, ...] | None] = None
    """What a call depends on besides input, parameters and buffers: of ``"rng"``, ``"training"``.

    `explicit.setup` gives the layer a state for each. None: ``("training",)`` if the class reads
    ``self.training``, else nothing.
    """

    # ------------------------------------------------------------ first values

    def initial_parameters(self, rng: np.random.Generator | None = None) -> dict[str, Any]:
        """Return new first values for own parameters, by name.

        A layer that draws its parameters says here how, and calls ``self._initialise(rng)`` in
        ``__init__``, so that `explicit.setup` can draw them anew. Others keep what they hold.

        Parameters
        ----------
        rng : numpy.random.Generator, optional
        """
        return {}

    def initial_buffers(self) -> dict[str, Any]:
        """Return new first values for own buffers, by name; see `initial_parameters`."""
        return {}

    def _initialise(self, rng: np.random.Generator | None = None) -> None:
        for name, value in self.initial_parameters(rng).items():
            setattr(self, name, value)
        for name, value in self.initial_buffers().items():
            self.register_buffer(name, value)

    def default_rng(self) -> np.random.Generator:
        """Return the generator that this module draws from during a call.

        In a call of `explicit.apply` that of the module's state, else the one in use
        (`freezeviz.random`). A layer that draws from it declares ``depends_on = ("rng",)``.
        """
        scope = _bind.current.get()
        given = scope.generator_of(self) if scope is not None else None
        return random.default_rng() if given is None else given

    # ------------------------------------------------------------ what is in it

    def parameters(self) -> dict[str, Any]:
        """Return all parameters, nested as the model is."""
        return _updating.nested(self, Tree(self).parameters)

    def trainable_parameters(self) -> dict[str, Any]:
        """Return the parameters that are not frozen, nested as the model is."""
        return _updating.nested(self, [e for e in Tree(self).parameters if not e.frozen])

    def frozen_parameters(self) -> dict[str, Any]:
        """Return the frozen parameters, nested as the model is."""
        return _updating.nested(self, [e for e in Tree(self).parameters if e.frozen])

    def buffers(self) -> dict[str, Any]:
        """Return the buffers, nested as the model is."""
        return _updating.nested(self, Tree(self).buffers)

    @property
    def state(self) -> dict[str, Any]:
        """Parameters and buffers, nested as the model is."""
        tree = Tree(self)
        return _updating.nested(self, tree.parameters + tree.buffers)

    def named_parameters(self) -> list[tuple[str, Any]]:
        """Return pairs of dotted path and parameter, in the order of assignment.

        A parameter that several paths lead to is listed once, under the first.
        """
        return [(entry.path, entry.value) for entry in Tree(self).parameters]

    def named_buffers(self) -> list[tuple[str, Any]]:
        """Return pairs of dotted path and buffer, in the order of assignment."""
        return [(entry.path, entry.value) for entry in Tree(self).buffers]

    def named_modules(self) -> list[tuple[str, Module]]:
        """Return pairs of dotted path and module, this one (``""``) first.

        Those that only attributes with a leading underscore lead to come last; their arrays are
        none of the model's.
        """
        return Tree(self, private=True).modules

    def modules(self) -> list[Module]:
        """Return this module and all below it, each once."""
        return [module for _, module in self.named_modules()]

    def aliases(self) -> dict[str, tuple[str, ...]]:
        """Return the further paths of what is shared, by its first path."""
        tree = Tree(self, all_paths=True)
        found = {path: tuple(others) for path, others in tree.module_aliases.items()}
        return found | {e.path: tuple(e.aliases) for e in tree.parameters if e.aliases}

    def children(self) -> dict[str, Any]:
        """Return the direct submodules, in the lists and dicts that hold them."""
        return self.filter_and_map(
            self.valid_child_filter, is_leaf_fn=lambda m, k, v: isinstance(v, Module)
        )

    def leaf_modules(self) -> dict[str, Any]:
        """Return the submodules that have none themselves, nested as the model is."""
        return self.filter_and_map(
            self.valid_child_filter,
            is_leaf_fn=lambda m, k, v: (
                isinstance(v, Module) and not tree_flatten(v.children(), is_leaf=self.is_module)
            ),
        )

    @staticmethod
    def is_module(value: Any) -> bool:
        """Return whether `value` is a module.

        Parameters
        ----------
        value : anything
        """
        return isinstance(value, Module)

    @staticmethod
    def valid_child_filter(module: Module, key: str, value: Any) -> bool:
        """Return whether a member can hold modules (for `filter_and_map`).

        Parameters
        ----------
        module : Module
        key : str
        value : anything
        """
        return isinstance(value, Module | dict | list)

    @staticmethod
    def valid_parameter_filter(module: Module, key: str, value: Any) -> bool:
        """Return whether a member is or can hold parameters (for `filter_and_map`).

        Parameters
        ----------
        module : Module
        key : str
        value : anything
        """
        if key.startswith("_"):
            return False
        if is_array(value):
            return not is_buffer(module, key, value)
        return isinstance(value, Module | dict | list)

    @staticmethod
    def trainable_parameter_filter(module: Module, key: str, value: Any) -> bool:
        """Return whether a member is or can hold trainable parameters (for `filter_and_map`).

        Parameters
        ----------
        module : Module
        key : str
        value : anything
        """
        # Names are frozen, and only as long as arrays stand there: nothing hides a module.
        frozen = is_array(value) and key in module._frozen
        return Module.valid_parameter_filter(module, key, value) and not frozen

    def filter_and_map(
        self,
        filter_fn: Callable[[Module, str, Any], bool],
        map_fn: Callable[[Any], Any] | None = None,
        is_leaf_fn: Callable[[Module, str, Any], bool] | None = None,
    ) -> dict[str, Any]:
        """Return the members that pass a filter, recursively, in nested dicts and lists.

        Parameters
        ----------
        filter_fn : callable
            ``(module, name, value) -> bool``, asked for the members of each module.
        map_fn : callable, optional
            Applied to each leaf.
        is_leaf_fn : callable, optional
            ``(module, name, value) -> bool``; by default whatever is no module, dict or list.
        """
        return _updating.filter_and_map(self, filter_fn, map_fn, is_leaf_fn)

    # ------------------------------------------------------------ freezing

    def freeze(
        self,
        *,
        recurse: bool = True,
        keys: str | Iterable[str] | None = None,
        strict: bool = False,
        hold: bool = False,
    ) -> Module:
        """Freeze parameters: they get no gradient and no optimizer moves them.

        Parameters
        ----------
        recurse : bool
            Freeze in the submodules, too.
        keys : str or iterable of str, optional
            Freeze only the parameters of these names, in every module reached.
        strict : bool
            Raise if a key names no parameter, instead of warning.
        hold : bool
            Also hold the modules reached: running statistics do not move and dropout is off
            inside them, whatever `train` is called later, until `unfreeze`.

        Returns
        -------
        Module
            This module.

        Raises
        ------
        ParameterKeyError
            With `strict`, if a key names no parameter. Nothing is frozen then.
        TypeError
            If a key is no text.

        Warns
        -----
        UnmatchedKeyWarning
            Without `strict`, if a key names no parameter.

        Notes
        -----
        Freezing acts on parameters alone: train or eval mode, dropout and running statistics
        stay as they are without `hold`. Source: ``mlx.nn.Module.freeze``.

        Examples
        --------
        >>> from freezeviz import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).freeze()
        >>> _ = model.layers[2].unfreeze()
        >>> model.trainable_parameters()["layers"][2].keys()
        dict_keys(['weight', 'bias'])
        """
        modules: list[Module] = self.modules() if recurse else [self]
        for slot in _freezing.find(modules, _freezing.as_keys(keys), "freeze", strict):
            _freezing.freeze(slot)
        if hold:
            for module in modules:
                vars(module)["_held"] = True
        return self

    def unfreeze(
        self,
        *,
        recurse: bool = True,
        keys: str | Iterable[str] | None = None,
        strict: bool = False,
    ) -> Module:
        """Make parameters trainable again; the arguments are those of `freeze`.

        Without `keys`, what is held is let go, too.

        Parameters
        ----------
        recurse : bool
        keys : str or iterable of str, optional
        strict : bool

        Returns
        -------
        Module
            This module.

        Raises
        ------
        ParameterKeyError
            With `strict`, if a key names no parameter. Nothing is unfrozen then.
        """
        modules: list[Module] = self.modules() if recurse else [self]
        slots = _freezing.find(modules, _freezing.as_keys(keys), "unfreeze", strict)
        for slot in slots:
            _freezing.unfreeze(slot)
        _freezing.release(modules, slots)
        if keys is None:
            for module in modules:
                module._frozen.clear()  # names, too, that no array has at present
                vars(module)["_held"] = False
        return self

    @property
    def held(self) -> bool:
        """Whether `freeze(hold=True)` holds this module's statistics and dropout."""
        return self._held

    # ------------------------------------------------------------ mode

    @property
    def training(self) -> bool:
        """Whether the module computes as in training: in train mode and not held."""
        scope = _bind.current.get()
        if scope is not None and id(self) in scope.training:
            return scope.training[id(self)] and not self._held
        return self._training and not self._held

    def train(self, mode: bool = True) -> Module:
        """Put the module and all below it into train mode (or eval mode) and return it.

        Parameters
        ----------
        mode : bool
        """
        for module in self.modules():
            vars(module)["_training"] = bool(mode)
        return self

    def eval(self) -> Module:
        """Put the module and all below it into eval mode and return it."""
        return self.train(False)

    # ------------------------------------------------------------ new values

    def update(self, parameters: Mapping[str, Any], strict: bool = True) -> Module:
        """Give parameters (and buffers) new arrays, from a tree nested as the model is.

        Parameters
        ----------
        parameters : nested dict and list of arrays
            Only what is in it changes.
        strict : bool
            Raise for names that the model does not have, instead of passing them over.

        Returns
        -------
        Module
            This module.

        Raises
        ------
        WeightsError
            If a name is unknown or a value is no array; nothing changes then.
        """
        _updating.update(self, parameters, strict)
        _walk.forget()
        return self

    def update_modules(self, modules: Mapping[str, Any], strict: bool = True) -> Module:
        """Replace submodules, from a tree nested as the model is; new ones are trainable.

        Parameters
        ----------
        modules : nested dict and list of modules
            Only what is in it changes; ``{}`` stands for what stays.
        strict : bool
            Raise for names that the model does not have, instead of passing them over.

        Raises
        ------
        WeightsError
            If a name is unknown or a value is no module; nothing changes then.
        """
        _updating.update_modules(self, modules, strict)
        _walk.forget()
        return self

    def apply(
        self,
        map_fn: Callable[[Any], Any],
        filter_fn: Callable[[Module, str, Any], bool] | None = None,
    ) -> Module:
        """Replace each parameter by ``map_fn(parameter)`` and return this module.

        Parameters
        ----------
        map_fn : callable
            ``array -> array``.
        filter_fn : callable, optional
            ``(module, name, value) -> bool``, see `filter_and_map`. By default, all parameters.

        Raises
        ------
        WeightsError
            If `map_fn` gives no floating array; nothing changes then.
        """
        if filter_fn is not None:
            return self.update(self.filter_and_map(filter_fn, map_fn))
        mapped = {e.path: map_fn(e.value) for e in Tree(self).parameters}
        _updating.assign(self, mapped, f"{type(self).__name__}.apply()")
        _walk.forget()
        return self

    def apply_to_modules(self, apply_fn: Callable[[str, Module], Any]) -> Module:
        """Call ``apply_fn(path, module)`` for this module and all below it; return this.

        Parameters
        ----------
        apply_fn : callable
        """
        for path, module in self.named_modules():
            apply_fn(path, module)
        return self

    def set_dtype(self, dtype: Any, predicate: Callable[[Any], bool] | None = None) -> Module:
        """Cast floating parameters and buffers, frozen ones too, and return this module.

        Parameters
        ----------
        dtype : dtype
        predicate : callable, optional
            Casts only arrays whose dtype it accepts.

        Raises
        ------
        WeightsError
            If parameters would no longer be floating, or the dtype is none of NumPy's own
            (bfloat16).
        """
        _updating.set_dtype(self, dtype, predicate)
        _walk.forget()
        return self

    def to(self, device: str) -> Module:
        """Move all arrays to ``'cpu'`` or ``'gpu'`` and return this module.

        Parameters
        ----------
        device : {'cpu', 'gpu'}

        Raises
        ------
        DeviceError
            If the device is not there.
        """
        tree = Tree(self)
        moved = {e.path: backend.to_device(e.value, device) for e in tree.parameters + tree.buffers}
        _updating.assign(self, moved, f"{type(self).__name__}.to()")
        _walk.forget()
        return self

    def save_weights(self, path: Any) -> None:
        """Write parameters and buffers to a ``.safetensors`` or ``.npz`` file.

        Parameters
        ----------
        path : str or path
            With the suffix ``.safetensors`` or ``.npz``.

        Raises
        ------
        WeightsError
            If the file's suffix is neither.
        FileNotFoundError
            If there is no such directory.
        """
        _weights.save(self, path)

    def load_weights(self, weights: Any, strict: bool = True) -> Module:
        """Read parameters and buffers from a file, or from pairs of path and array.

        Parameters
        ----------
        weights : path, mapping, or iterable of (str, array)
            A ``.safetensors`` or ``.npz`` file, or the arrays themselves. From a file, bfloat16,
            which NumPy does not have, becomes float32 without loss.
        strict : bool
            Require exactly the model's arrays (buffers may be missing). Otherwise what is known
            is loaded, and the rest passed over; shapes have to fit all the same.

        Returns
        -------
        Module
            This module.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        TypeError
            If `weights` is none of these.
        WeightsError
            If names or shapes do not fit, or the file is damaged; nothing changes then.
        """
        _weights.load(self, weights, strict)
        _walk.forget()
        return self
