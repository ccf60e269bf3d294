"""What each layer does in a backward pass: what its freeze state costs, or saves."""

from collections.abc import Collection, Iterable, Sequence

from freezeviz.adapters import LayerInfo

TRAINS = "trains"
FLOWS = "flows"
STOPS = "stops"
IDLE = "idle"

_RANK = {TRAINS: 3, FLOWS: 2, STOPS: 1, IDLE: 0}


def roles(
    layers: LayerInfo | Iterable[LayerInfo],
    order: Sequence[str] | None,
    frozen: Collection[str],
    needs_gradient: Collection[str] | None = None,
) -> dict[str, str]:
    """Return what each layer does in the backward pass.

    Parameters
    ----------
    layers : LayerInfo or iterable of LayerInfo
        A snapshot, or its layers in its order (`LayerInfo.walk`).
    order : sequence of str or None
        Paths of the layers that were called, in the order of their calls (`Probe.order`). None: in
        the order of definition, which is a guess.
    frozen : collection of str
        Paths of the frozen parameters.
    needs_gradient : collection of str, optional
        Layers whose input carried a gradient (`Probe.needs_gradient`), if that was measured under
        this very freeze state. It decides where layers are side by side. Without it, what is called
        after a layer that trains is taken to depend on it.

    Returns
    -------
    roles : dict
        By the path of every layer:

        ``"trains"``
            Gradients of its parameters are computed.
        ``"flows"``
            Frozen or without parameters, but the gradient flows through: the derivative of its
            input is computed.
        ``"stops"``
            The backward pass stops here: no gradient enters it, and the layer called next trains.
        ``"idle"``
            Nothing to do in the backward pass.

        A layer with others in it has the first of these that it or any of them has.

    Examples
    --------
    >>> from freezeviz import nn
    >>> from freezeviz.adapters import adapt
    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2), nn.Linear(2, 2))
    >>> for i in (0, 1, 3):
    ...     _ = model.layers[i].freeze()
    >>> found = roles(adapt(model).snapshot(), None, adapt(model).frozen())
    >>> [found[f"layers.{i}"] for i in range(4)]
    ['idle', 'stops', 'trains', 'flows']
    """
    layers = list(layers.walk()) if isinstance(layers, LayerInfo) else list(layers)
    paths = {layer.path for layer in layers}
    trains = _training(layers, paths, frozen)
    called = [layer.path for layer in layers] if order is None else order
    calls = [path for path in called if path in paths]
    reached = _after_training(calls, trains) if needs_gradient is None else set(needs_gradient)
    parents = {child.path: layer.path for layer in layers for child in layer.children}
    found = _own_roles(layers, calls, trains, reached, parents)
    _mark_stops(found, calls, trains, reached)
    for layer in reversed(layers):  # from below
        parent = parents.get(layer.path)
        if parent is not None and _RANK[found[layer.path]] > _RANK[found[parent]]:
            found[parent] = found[layer.path]
    return found


def _training(layers: Sequence[LayerInfo], paths: set[str], frozen: Collection[str]) -> set[str]:
    """Return the layers that have a trainable parameter, also under another name of it."""
    frozen = frozenset(frozen)
    first = {alias: layer.path for layer in layers for alias in layer.aliases}
    found: set[str] = set()
    for layer in layers:
        for info in layer.parameters:
            if info.path not in frozen:
                found.add(layer.path)
                found.update(_owner(alias, paths, first) for alias in info.aliases)
    return found


def _owner(parameter: str, paths: set[str], first: dict[str, str]) -> str:
    """Return the first path of the layer that a name of a parameter stands in."""
    path = parameter.rpartition(".")[0]
    while path and path not in paths and path not in first:  # a list in a layer: "weights.0"
        path = path.rpartition(".")[0]
    return first.get(path, path)


def _after_training(calls: Sequence[str], trains: set[str]) -> set[str]:
    """Return the layers that are called after one that trains began: taken to depend on it.

    A call of the whole model begins anew, with another batch: several are one step where gradients
    are accumulated, or where an optimizer asks for the loss again.
    """
    found: set[str] = set()
    begun = False
    for path in calls:
        if path == "":
            begun = False
        elif begun:
            found.add(path)
        begun = begun or path in trains
    return found


def _own_roles(
    layers: Sequence[LayerInfo],
    calls: Sequence[str],
    trains: set[str],
    reached: set[str],
    parents: dict[str, str],
) -> dict[str, str]:
    called = set(calls)
    found: dict[str, str] = {}
    for layer in layers:
        path = layer.path
        role = FLOWS if path in reached else IDLE
        if path in trains:
            role = TRAINS
        elif path not in called and layer.parameters:
            # Used by what it belongs to, without a call of its own: the output projection of
            # PyTorch's MultiheadAttention is.
            above = parents.get(path)
            while above and above not in called:
                above = parents.get(above)
            role = FLOWS if above and (above in reached or above in trains) else IDLE
        found[path] = role
    return found


def _mark_stops(
    found: dict[str, str], calls: Sequence[str], trains: set[str], reached: set[str]
) -> None:
    """Mark what was called directly before each layer that trains and gets no gradient."""
    begins = True  # the first that trains gets none, even if a later call of it does
    for i, path in enumerate(calls):
        if path in trains and (begins or path not in reached):
            begins = False
            before = i - 1
            while before >= 0 and _is_above(calls[before], path):  # those it is called by
                before -= 1
            if before >= 0 and found[calls[before]] == IDLE:
                found[calls[before]] = STOPS


def _is_above(above: str, path: str) -> bool:
    return above == "" or path.startswith(above + ".")
