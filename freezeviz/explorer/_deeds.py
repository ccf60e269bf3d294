"""What was changed, and how to take it back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deed:
    """A change that was made, with all that it takes to make it again and to take it back.

    Attributes
    ----------
    label : str
        A few words: ``"freeze layers.0"``.
    frozen : bool
        What `changed` became.
    changed : tuple of str
        Parameters that were not so before.
    hold : bool or None
        As in `FreezeChanged`.
    named : tuple of str
        All parameters that were named.
    held_before : frozenset of str
        Those of `named` that belonged to a module that was held.
    frozen_before : frozenset of str
        Those of `named` that were frozen.
    """

    label: str
    frozen: bool
    changed: tuple[str, ...]
    hold: bool | None
    named: tuple[str, ...]
    held_before: frozenset[str]
    frozen_before: frozenset[str]


@dataclass(frozen=True, slots=True)
class Order:
    """Freeze or unfreeze exactly these parameters; unfreezing lets their modules go."""

    frozen: bool
    paths: tuple[str, ...]
    hold: bool = False


def orders_to_repeat(deed: Deed) -> list[Order]:
    """Return what makes a deed again."""
    return [Order(deed.frozen, deed.named, bool(deed.hold))]


def orders_to_take_back(deed: Deed) -> list[Order]:
    """Return what brings back the state before a deed: one order, but for held modules."""
    if deed.frozen and not deed.hold:
        return [Order(False, deed.changed)]
    orders: list[Order] = []
    again = deed.changed
    if deed.frozen:
        # Only unfreezing lets modules go: all of them first, then what had been frozen before.
        orders.append(Order(False, deed.named))
        again = tuple(path for path in deed.named if path in deed.frozen_before)
    for hold in (False, True):
        paths = tuple(path for path in again if (path in deed.held_before) is hold)
        if paths:
            orders.append(Order(True, paths, hold))
    return orders
