"""Opening a sweep's store for a measure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from sedyn.checks import checked, path
from sedyn.errors import InvalidInput
from sweeps.plan import fluctuation_randomizations
from sweeps.store import CELL, SETTINGS, TIED, is_asked, open_root

__all__ = ["Seconds", "along_n", "load", "open_store"]

MOST_PLACES = 10**5  # of the grid on which cells that vary together are laid
ASKED = "asked"

# How status names what is known of the replicates of each cell.
FACTS = ("simulation_facts", "theory_facts")


class Seconds(NamedTuple):
    """Computing time of a store's results, of all cores together; NaN where it keeps none.

    Attributes
    ----------
    runs, theory : float
    """

    runs: float = math.nan
    theory: float = math.nan


@checked(path=path)
def open_store(path: str | Path) -> tuple[xr.Dataset, xr.Dataset]:
    """Open a store, also while its sweep runs, and load its two groups.

    Parameters
    ----------
    path : path or URL
        A Zarr store that a sweep wrote.

    Returns
    -------
    simulation, theory : Dataset
        As every measure takes them: with ``n`` among the dimensions, sorted, and no other axis of a single value.
        What varies together is laid on the grid of all its values. Where the grid has places that no sweep asked for,
        the coordinate ``asked`` is false there.
        Theory has the attributes ``samples`` and ``randomizations``, as `sedyn.state_evolution` gives them, if the
        store keeps its settings; with fluctuations both have ``fluctuation_randomizations``.

    Raises
    ------
    InvalidInput
        If there is no store, or none with these groups.
    """
    simulation, theory, *_ = load(path)
    return simulation, theory


def load(path: str | Path) -> tuple[xr.Dataset, xr.Dataset, dict[str, Any], Seconds]:
    """Load a store as `open_store` does, and what it was made with.

    It goes by the metadata that the store shows its readers, where it shows any: so it finds the shape before a growth
    or the one after, and never one on its way.

    Parameters
    ----------
    path : path or URL

    Returns
    -------
    simulation, theory : Dataset
    settings : dict
        Empty if the store keeps none.
    seconds : Seconds

    Raises
    ------
    InvalidInput
        If there is no store, or none with these groups.
    """
    try:
        root = open_root(str(path), consolidated=True)
        if root is None:
            raise InvalidInput("path", str(path), "no store there")
        objects: Any = root.store
        shown = root.metadata.consolidated_metadata is not None
        with xr.open_datatree(objects, engine="zarr", consolidated=shown) as tree:
            settings, seconds = dict(tree.attrs.get(SETTINGS, {})), _seconds(tree)
            groups = [along_n(_on_grid(tree[name].to_dataset(), settings)).load() for name in ("simulation", "theory")]
    except InvalidInput as error:
        raise InvalidInput("path", str(path), error.remedy) from None
    except (OSError, KeyError, ValueError) as error:
        reason = f"no store with the groups simulation and theory can be read there ({error})"
        raise InvalidInput("path", str(path), reason) from error
    simulation, theory = groups
    if "d" not in {*simulation.coords, *simulation.attrs}:  # it followed an n that is no axis
        features = settings.get("d", {}).get(str(simulation.attrs.get("n")))
        simulation.attrs |= {} if features is None else {"d": features}
    solver = settings.get("theory", {})
    if settings.get("fluctuations"):
        known = {"fluctuation_randomizations": fluctuation_randomizations(solver["randomizations"])}
        simulation, solver = simulation.assign_attrs(known), solver | known
    return simulation, theory.assign_attrs(solver), settings, seconds


def _seconds(tree: xr.DataTree) -> Seconds:
    status = tree["status"].to_dataset() if "status" in tree else xr.Dataset()
    found = []
    for facts in FACTS:
        known = facts in status
        at = status["fact"].values.tolist().index("seconds") if known else 0
        found.append(float(status[facts].isel(fact=at).sum()) if known else math.nan)
    return Seconds(*found)


def _on_grid(group: xr.Dataset, settings: dict[str, Any]) -> xr.Dataset:
    """Give every field that varies a dimension of its own, and say which places were asked for where not all were.

    Raises
    ------
    InvalidInput
        If that are more places than a report can be of.
    """
    axes = list(settings.get("axes", ()))
    asked = is_asked(settings) if axes else np.ones(())
    group = group.assign_coords({ASKED: (axes, asked)})
    if tied := settings.get(TIED):
        places = math.prod(np.unique(group[name]).size for name in tied)
        if places > MOST_PLACES:
            words = f"{group.sizes[CELL]} cells that vary together lie on a grid of {places} places"
            remedy = "which no report draws; open it with xarray, one entry a cell"
            raise InvalidInput("path", "", f"{words}, {remedy}")
        own = [name for name in group.coords if group[name].dims == (CELL,) and name not in (*tied, CELL, ASKED)]
        follows = {
            name: dict(zip(group["n"].values.tolist(), group[name].values.tolist(), strict=True)) for name in own
        }
        values = group.drop_vars([*own, CELL]).reset_coords(ASKED)
        if len(tied) == 1:
            group = values.swap_dims({CELL: tied[0]}).set_coords(ASKED)
        else:
            values = values.set_index({CELL: tied})
            known = values.drop_vars(ASKED).unstack(CELL)
            group = known.assign_coords({ASKED: values[ASKED].unstack(CELL, fill_value=False)})
        for name, of_n in follows.items():
            group = group.assign_coords({name: ("n", [of_n[n] for n in group["n"].values.tolist()])})
    return group.drop_vars(ASKED) if bool(group[ASKED].all()) else group


def along_n(group: xr.Dataset) -> xr.Dataset:
    """Give a store of one size the axis n, sort that of a store that has grown; another axis of one value is none.

    Such a value becomes an attribute, as the fields of the problem are that no axis varies.
    """
    dims = group["train_error"].dims if "train_error" in group else ()
    single = [dim for dim in dims if group.sizes[dim] == 1 and dim not in ("n", "replicate", "iteration")]
    fixed = {dim: group[dim].values.tolist()[0] for dim in single}
    group = group.isel(dict.fromkeys(single, 0), drop=True).assign_attrs(fixed)
    if "n" in group.dims:
        return group.sortby("n")
    only = {"n": [group.attrs.get("n", 0)]}
    asked = {ASKED: group[ASKED].expand_dims(only)} if ASKED in group.coords else {}
    return group.drop_vars("n", errors="ignore").expand_dims(only).assign_coords(asked)
