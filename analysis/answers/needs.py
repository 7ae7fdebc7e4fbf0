"""What a store must have for a question to be asked of it; each need says in words what is lacking."""

from __future__ import annotations

from collections.abc import Callable

import xarray as xr

from analysis.statistics.datasets import grid_axes

__all__ = ["Need", "at_least", "estimate", "fluctuations", "laws", "no_axis_but"]

Need = Callable[[xr.Dataset], str | None]
"""From the group ``simulation`` to what it lacks, or None."""

_COUNTED = {"n": "values of n", "steps": "numbers of steps"}


def at_least(count: int, axis: str) -> Need:
    """Ask for so many values of an axis, at equal values of all others.

    Parameters
    ----------
    count : int
        The least number of values; of ``iteration``, besides the start.
    axis : str
        A dimension of the runs.

    Returns
    -------
    Need
    """

    def need(simulation: xr.Dataset) -> str | None:
        words = f"fewer than {count} {_COUNTED.get(axis, axis.replace('_', ' ') + 's')}"
        if simulation.sizes.get(axis, 1) - (axis == "iteration") < count:
            return words
        asked = simulation.coords.get("asked")
        if asked is None or axis not in asked.dims or int(asked.sum(axis).max()) >= count:
            return None
        return f"{words} with all else equal"

    return need


def no_axis_but(*axes: str) -> Need:
    """Ask for a grid without further axes than these and n."""

    def need(simulation: xr.Dataset) -> str | None:
        others = [str(axis) for axis in grid_axes(simulation) if axis not in axes]
        return f"further axes: {', '.join(sorted(others))}" if others else None

    return need


def laws(*names: str) -> Need:
    """Ask for all these names, which only a sweep with ``laws=true`` stores, and for a number under one of them."""

    def need(simulation: xr.Dataset) -> str | None:
        if any(name not in simulation for name in names):
            return "no laws compared; a sweep with laws=true stores them"
        finished = any(bool(simulation[name].notnull().any()) for name in names)
        return None if finished else "no comparison of laws finished"

    return need


def fluctuations(simulation: xr.Dataset) -> str | None:
    """Ask for predicted fluctuations, which theory has beside it."""
    known = "fluctuation_randomizations" in simulation.attrs
    return None if known else "no fluctuations predicted; a sweep with fluctuations=true stores them"


def estimate(simulation: xr.Dataset) -> str | None:
    """Ask for the test error estimated from training data."""
    if "estimated_test_error" not in simulation:
        return "no estimated test error stored; a sweep with estimate=true stores it"
    return None if bool(simulation.estimated_test_error.notnull().any()) else "the runs have no estimated test error"
