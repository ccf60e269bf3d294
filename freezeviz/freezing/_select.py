"""Selecting parameters: by path, glob, regex, type of layer, predicate, or all of these as text."""

from typing import Any

from freezeviz.adapters import adapt
from freezeviz.freezing._pick import Picker
from freezeviz.freezing._selection import Selection

__all__ = ["freeze", "select", "unfreeze"]


def select(model: Any, *what: Any) -> Selection:
    """Return the parameters of a model that any of the selectors picks.

    Parameters
    ----------
    model : model of a supported framework
    *what
        Each one of:

        - a path (str or `KeyPath`): the parameter, or every parameter at or below a layer, list or
          dict of that path; ``""`` is the whole model;
        - a glob (str with ``*``, ``?`` or ``[``): what the paths that it matches would pick; ``*``
          stays within one level, ``**`` spans any number of levels;
        - a text with ``type:Linear`` (the name of a class of layers, or a glob over such names),
          ``re:...`` (a regular expression), and ``a | b`` (either), ``a & b`` (both), ``a - b``
          (the first without the second), ``~a`` (all others), parentheses, and ``"..."`` around a
          path that is to be taken as it stands;
        - a compiled regular expression, searched for in the paths of parameters;
        - a type of layer: every parameter at or below the layers of this type and its subclasses;
        - a predicate ``(path, value) -> bool`` on parameters;
        - a `Selection` of the same model;
        - a list, tuple or set of these: what any of them picks.

        A tied parameter, and one of a shared layer, is picked by any of its paths.

    Returns
    -------
    Selection

    Raises
    ------
    SelectorError
        If a selector picks nothing, or there is none; the message names the closest paths. If a
        text is malformed; the message names the place.
    TypeError
        If a selector is none of these.
    ValueError
        If a selection is of another model.

    Examples
    --------
    >>> import freezeviz as fv
    >>> from freezeviz import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> fv.select(model, "**.bias").paths
    ('layers.0.bias', 'layers.2.bias')
    >>> fv.select(model, "type:Linear - **.bias").paths
    ('layers.0.weight', 'layers.2.weight')
    """
    adapter = adapt(model)
    if len(what) == 1 and isinstance(what[0], Selection) and what[0].label:
        what[0].check_model(adapter)
        return what[0]
    picker = Picker(adapter)
    return Selection(adapter, picker.index.paths, picker.index.names(picker.pick(what)))


def freeze(model: Any, *what: Any, hold: bool = False) -> Selection:
    """Freeze what the selectors pick and return it.

    Parameters
    ----------
    model : model of a supported framework
    *what
        See `select`.
    hold : bool
        Also hold the layers that are picked in full: running statistics do not move and dropout
        is off inside them.

    Returns
    -------
    Selection

    Raises
    ------
    SelectorError
        If a selector picks nothing; nothing is frozen then.

    Examples
    --------
    >>> import freezeviz as fv
    >>> from freezeviz import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> fv.freeze(model, "layers.0").paths
    ('layers.0.weight', 'layers.0.bias')
    """
    return select(model, *what).freeze(hold=hold)


def unfreeze(model: Any, *what: Any) -> Selection:
    """Unfreeze what the selectors pick and return it; layers without anything frozen are let go.

    Parameters
    ----------
    model : model of a supported framework
    *what
        See `select`.

    Returns
    -------
    Selection

    Raises
    ------
    SelectorError
        If a selector picks nothing; nothing is unfrozen then.

    Examples
    --------
    >>> import freezeviz as fv
    >>> from freezeviz import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).freeze()
    >>> fv.unfreeze(model, nn.Linear).paths[:2]
    ('layers.0.weight', 'layers.0.bias')
    """
    return select(model, *what).unfreeze()
