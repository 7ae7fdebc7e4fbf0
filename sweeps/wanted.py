"""How many replicates every cell of a store wants, which is not the room that it has where a target added some."""

from __future__ import annotations

import numpy as np

from sweeps.store import PENDING, TARGET, Store, columns, is_asked

__all__ = ["awaited", "replicates_wanted"]


def replicates_wanted(store: Store) -> np.ndarray:
    """Count the replicates that every place wants.

    Parameters
    ----------
    store : Store

    Returns
    -------
    ndarray of int, shape (cell axes)
        0 where nobody asked for a cell.
    """
    asked, along = is_asked(store.settings), columns(store.settings)
    least = store.settings.get(TARGET, {}).get("replicates", store.replicates)
    found = np.where(asked, least, 0)
    if TARGET in store.settings:
        for place in map(tuple, np.argwhere(asked)):
            numbers = dict(zip(store.axes, place, strict=True))
            values = {name: values[numbers[axis]] for name, (axis, values) in along.items()}
            found[place] = max(least, store.wanted(values))
    return found


def awaited(store: Store, state: np.ndarray) -> np.ndarray:
    """Tell which replicates there are, or should be.

    Parameters
    ----------
    store : Store
    state : ndarray of int, shape (cell axes, replicates)
        Of simulations, see `sweeps.store.states`.

    Returns
    -------
    ndarray of bool, shape (cell axes, replicates)
    """
    wants = replicates_wanted(store)[..., None] > np.arange(state.shape[-1])
    return wants | ((state != PENDING) & is_asked(store.settings)[..., None])
