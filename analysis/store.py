"""Opening a sweep's store for a measure."""

from __future__ import annotations

from pathlib import Path

import xarray as xr

from sedyn.checks import checked, path
from sedyn.errors import InvalidInput
from sweeps.store import SETTINGS

__all__ = ["along_n", "groups_of", "open_store"]


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

    Raises
    ------
    InvalidInput
        If there is no store, or none with these groups.
    """
    try:
        with xr.open_datatree(str(path), engine="zarr", consolidated=False) as tree:
            simulation, theory = groups_of(tree)
            return simulation.load(), theory.load()
    except (OSError, KeyError, ValueError, ImportError) as error:
        raise InvalidInput("path", str(path), f"no store of a sweep can be read there ({error})") from error


def groups_of(tree: xr.DataTree) -> tuple[xr.Dataset, xr.Dataset]:
    """Take the two groups out of an open store, as `open_store` returns them but not loaded.

    Theory has the attributes ``samples`` and ``randomizations``, as `sedyn.state_evolution` gives them, if the store
    keeps its settings.
    """
    simulation, theory = (along_n(tree[name].to_dataset()) for name in ("simulation", "theory"))
    return simulation, theory.assign_attrs(tree.attrs.get(SETTINGS, {}).get("theory", {}))


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
    return group.drop_vars("n", errors="ignore").expand_dims(n=[group.attrs.get("n", 0)])
