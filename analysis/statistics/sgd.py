"""Mini-batches against their theory (docs/theory.md#mini-batches): drawn anew each step, or shuffled epochs."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.datasets import by_observable
from analysis.statistics.rates_along import rates_along

__all__ = ["AXES", "OBSERVABLES", "sgd"]

OBSERVABLES = ("train_error", "test_error", "signal_overlap", "deep_weights")
AXES = ("batch_fraction", "batching")


@measure("batch_fraction", "n")
def sgd(simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 1000, seed: int = 0) -> xr.Dataset:
    """Measure how fast training in mini-batches approaches its theory, and how much the batches matter.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``batch_fraction`` and ``n``, and perhaps ``batching``.
    draws, seed : int
        Of the bootstrap, as for `analysis.statistics.rates`.

    Returns
    -------
    Dataset
        Of `analysis.statistics.rates_along` for ``batch_fraction`` and ``batching``; and on (observable, those axes)
        ``effect``: the root-mean-square difference, over iterations and entries, between the theory of this batch
        fraction and that of the full batch, over the distance of a run from its theory at the largest n. Where it is
        below 1 the agreement with theory says nothing about mini-batches. NaN without a full batch in the store.
    """
    axes = [axis for axis in AXES if axis in simulation.dims]
    result = rates_along(simulation, theory, axes, observables=OBSERVABLES, draws=draws, seed=seed)
    if not (theory.batch_fraction.values == 1).any():
        return result.assign(effect=result.overall_exponent.isel(part=0, drop=True) * np.nan)

    def effect(name: str) -> xr.Dataset:
        curves = theory[name].isel(n=-1, drop=True)
        change = (curves - curves.sel(batch_fraction=1.0, drop=True)) ** 2
        moved = np.sqrt(change.mean([dim for dim in change.dims if dim not in axes]))
        distance = result.distance.sel(observable=name, drop=True).isel(n=-1, drop=True)
        return (moved / np.sqrt((distance**2).mean("iteration"))).to_dataset(name="effect")

    found = by_observable(result.observable.values.tolist(), effect)["effect"].transpose("observable", *axes)
    words = "change of theory by the mini-batches, over the distance of a run from theory"
    return result.assign(effect=found.assign_attrs(long_name=words))
