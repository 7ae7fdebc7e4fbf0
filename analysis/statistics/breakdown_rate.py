"""Learning rates up to the edge of stability and beyond it: where theory stops describing runs.

Beyond the edge a few rows with large pre-activations take over: averages over n rows, and over the samples of theory's
solver, are then ruled by what hardly any of them contains, and neither has a precision of n^-1/2 any more.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.datasets import by_observable, in_both, mean_square, worded
from analysis.statistics.divergence import bounded, without_diverged
from analysis.statistics.rates_along import rates_along

__all__ = ["OBSERVABLES", "breakdown_rate"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap")


@measure("learning_rate", "n")
def breakdown_rate(simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 1000, seed: int = 0) -> xr.Dataset:
    """Measure distance, spread and divergence of runs against the learning rate.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``learning_rate`` and ``n``.
    draws, seed : int
        Of the bootstrap, as for `analysis.statistics.rates`.

    Returns
    -------
    Dataset
        Of `analysis.statistics.rates_along` for ``learning_rate``. On (learning_rate, n): ``diverged``, the share of
        replicates that did (`analysis.statistics.divergence`); ``grown``, the share that ended with a larger train
        error than they began with, those included. On (learning_rate,): ``theory_diverged``. On (observable,
        learning_rate, n): ``relative_distance`` and ``relative_spread``, the distance from theory and the standard
        deviation over replicates, root mean squares over iterations, over the root mean square of theory.
    """
    observables = in_both(OBSERVABLES, simulation, theory)
    result = rates_along(simulation, theory, ["learning_rate"], observables=observables, draws=draws, seed=seed)
    first, last = (simulation.train_error.isel(iteration=at, drop=True) for at in (0, -1))
    diverged, beyond = (~bounded(group.train_error).isel(iteration=-1, drop=True) for group in (simulation, theory))
    for name, happened in (("diverged", diverged), ("grown", diverged | (last > first))):
        result[name] = happened.where(first.notnull()).mean("replicate")
    result["theory_diverged"] = beyond.all("n")
    curves = without_diverged(theory)

    def relative(name: str) -> xr.Dataset:
        size, found = mean_square(curves[name]), {}
        for share, part in (("relative_distance", "distance"), ("relative_spread", "fluctuation")):
            square = result[part].sel(observable=name, drop=True) ** 2
            found[share] = np.sqrt(square.mean("iteration") / size.where(square.notnull()).mean("iteration"))
        return xr.Dataset(found)

    return worded(result.assign(by_observable(observables, relative).data_vars), _WORDS)


_WORDS = {
    "diverged": "share of replicates that diverged",
    "grown": "share of replicates whose train error has grown",
    "theory_diverged": "whether theory, as solved, diverged",
    "relative_distance": "distance to theory over the size of theory",
    "relative_spread": "standard deviation over replicates, over the size of theory",
}
