"""Long training: whether the n^-1/2 law outlasts many iterations, and how the distance grows with them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.datasets import by_observable, mean_square
from analysis.statistics.divergence import without_diverged
from analysis.statistics.rates import rates
from analysis.statistics.rates_along import rates_in_windows
from sedyn.errors import InvalidInput

__all__ = ["OBSERVABLES", "breakdown_horizon"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap")
WINDOWS = 3


@measure("n")
def breakdown_horizon(
    simulation: xr.Dataset, theory: xr.Dataset, *, windows: int = WINDOWS, draws: int = 1000, seed: int = 0
) -> xr.Dataset:
    """Measure the rate in n in successive windows of iterations.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with ``n`` as its only axis.
    windows : int
        Parts of equal length that the iterations after the first are split into.
    draws, seed : int
        Of the bootstrap, as for `analysis.statistics.rates`.

    Returns
    -------
    Dataset
        On ``window``, its first and last iteration being the coordinates ``begin`` and ``end``: the overall variables
        of `analysis.statistics.rates` in each window, and on (observable, window, n) ``relative_distance``, the
        root-mean-square distance over the root mean square of theory. On (observable, n, iteration): ``distance`` and
        ``solver_error``.
    """
    if windows > (steps := simulation.sizes["iteration"] - 1):
        raise InvalidInput("windows", windows, f"there are {steps} iterations after the first to split")
    whole = rates(simulation, theory, observables=OBSERVABLES, draws=1, seed=seed)
    parts = np.array_split(np.arange(1, simulation.sizes["iteration"]), windows)
    result = rates_in_windows(simulation, theory, parts, observables=OBSERVABLES, draws=draws, seed=seed)
    predicted = without_diverged(theory)

    def relative(name: str) -> xr.Dataset:
        far = whole.distance.sel(observable=name, drop=True) ** 2
        size = mean_square(predicted[name])
        shares = [
            np.sqrt(far.isel(iteration=at).mean("iteration") / size.isel(iteration=at).mean("iteration"))
            for at in parts
        ]
        return xr.concat(shares, "window").to_dataset(name="relative_distance")

    found = by_observable(result.observable.values.tolist(), relative)["relative_distance"]
    found.attrs["long_name"] = "distance to theory over the size of theory"
    return result.assign(relative_distance=found, distance=whole.distance, solver_error=whole.solver_error)
