"""Networks that classify against their theory, in loss and in error rate, and their estimates of both.

Source: docs/theory.md#several-labels, docs/theory.md#softmax.
"""

from __future__ import annotations

import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.datasets import in_both
from analysis.statistics.generalization_estimate import generalization_estimate
from analysis.statistics.large import large
from analysis.statistics.power_law import Exponents
from analysis.statistics.rates_along import rates_along

__all__ = ["AXIS", "OBSERVABLES", "SCORES", "by_classes", "classes"]

AXIS = "outputs"
"""The axis of the number of classes."""
OBSERVABLES = ("train_error", "test_error", "train_error_rate", "test_error_rate", "deep_weights", "biases")
SCORES = ("test_error", "test_error_rate")
"""What is estimated from training data."""


def by_classes(group: xr.Dataset) -> xr.Dataset:
    """Give a group of a store the axis of the number of classes, if that is one number for the whole store."""
    return group if AXIS in group.dims else group.expand_dims({AXIS: [int(group.attrs[AXIS])]})


@measure("n", *SCORES, *(f"estimated_{score}" for score in SCORES))
def classes(simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 1000, seed: int = 0) -> xr.Dataset:
    """Measure how fast networks that classify approach their theory, and their estimates the truth.

    The readout of a test error rate counts fresh samples, and its error is not small beside a run's fluctuation: it is
    taken out of distances. It stays in the comparison of means, in standard errors.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store of ``labels="classes"`` with the axis ``n``, perhaps ``outputs``, and no other.
    draws, seed : int
        Of the bootstrap, as for `analysis.statistics.rates`.

    Returns
    -------
    Dataset
        Of `analysis.statistics.rates_along` for every number of classes, of each of `OBSERVABLES`. Of
        `analysis.statistics.large` at the largest n, on (observable, outputs): ``worst`` and ``limit``. Of
        `analysis.statistics.generalization_estimate`, on (score, outputs): ``estimate_exponent`` with interval, in
        the ways of `analysis.statistics.power_law.Exponents`; on
        (score, outputs, n): ``estimate_rms``, over iterations after the first, and ``estimate_relative_rms``.
    """
    simulation, theory = (by_classes(group) for group in (simulation, theory))
    names = in_both(OBSERVABLES, simulation, theory)
    settings = {"draws": draws, "seed": seed}
    result = rates_along(simulation, theory, [AXIS], observables=names, without_readout=True, **settings)
    largest = large(simulation.isel(n=[-1]), theory.isel(n=[-1]), observables=names).isel(n=0, drop=True)
    result = result.assign(largest[["worst", "limit"]])
    estimates = [_estimate(generalization_estimate(simulation, score=score, **settings)) for score in SCORES]
    return result.assign(xr.concat(estimates, xr.Variable("score", list(SCORES)), combine_attrs="override"))


def _estimate(measured: xr.Dataset) -> xr.Dataset:
    """What is kept of `generalization_estimate`, by the names it has here."""
    later = measured[["rms", "relative_rms"]].isel(iteration=slice(1, None))
    sizes = ((later**2).mean("iteration") ** 0.5).rename(rms="estimate_rms", relative_rms="estimate_relative_rms")
    exponents = Exponents.of(measured, "exponent")
    return sizes.assign(exponents.variables("estimate_exponent", *measured.exponent.dims))
