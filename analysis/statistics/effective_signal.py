"""What first-layer rows carry of initialization and signal, against P_t and m_t (docs/theory.md#effective-signal)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.datasets import ENTRY_DIMS, diagonal, standard_error
from analysis.statistics.divergence import without_diverged
from analysis.statistics.rates import rates

__all__ = ["COEFFICIENTS", "NEEDED", "effective_signal", "regressed"]

COEFFICIENTS = ("init_coefficient", "signal_coefficient")
NEEDED = ("initial_overlap", "signal_overlap", "weight_gram")


def regressed(simulation: xr.Dataset) -> xr.Dataset:
    """Regress the first-layer rows of every run on initialization and signal.

    Least squares over the d rows needs only overlaps: [P, m] = [W^T W0, W^T mu] G^-1, with G the Gram matrix of
    [W0, mu] (docs/theory.md#starting-overlaps). Exact initialization makes G the same at every size.

    Parameters
    ----------
    simulation : Dataset
        ``initial_overlap``, ``signal_overlap`` and ``weight_gram``, from iteration 0 on, and the signal's norm as
        grid axis or attribute.

    Returns
    -------
    Dataset
        ``init_coefficient``, ``signal_coefficient`` named as in theory, and ``explained`` on (..., iteration, neuron):
        the share of a unit's second moment that the regression explains.
    """
    inner = ("replicate", "iteration", *ENTRY_DIMS)
    axes = [dim for dim in simulation.signal_overlap.dims if dim not in inner]
    lead = (*axes, "replicate", "iteration")
    initial = simulation.initial_overlap.transpose(*lead, "neuron", "neuron_")
    signal = simulation.signal_overlap.transpose(*lead, "neuron", "index")
    norm = simulation["signal_norm"] if "signal_norm" in simulation.dims else simulation.attrs.get("signal_norm", 1.0)
    strength, _ = xr.broadcast(xr.DataArray(norm) ** 2, signal.isel(neuron=0, index=0, iteration=0))
    s00, s0s = (overlap.isel(iteration=0).values for overlap in (initial, signal))
    mm = strength.transpose(*axes, "replicate").values[..., None, None] * np.eye(simulation.sizes["index"])
    gram = np.concatenate([np.concatenate([s00, s0s], -1), np.concatenate([np.swapaxes(s0s, -1, -2), mm], -1)], axis=-2)
    width = simulation.sizes["neuron"]
    known = np.isfinite(gram).all((-1, -2), keepdims=True)
    inverse = np.linalg.pinv(np.where(known, gram, np.eye(gram.shape[-1])))
    inverse = np.where(known, inverse, np.nan)[..., None, :, :]
    overlaps = np.concatenate([initial.values, signal.values], -1)
    coefficients = overlaps @ inverse
    second = (coefficients * overlaps).sum(-1)
    own = diagonal(simulation.weight_gram).transpose(*lead, "neuron").values
    return xr.Dataset(
        {
            "init_coefficient": initial.copy(data=coefficients[..., :width]),
            "signal_coefficient": signal.copy(data=coefficients[..., width:]),
            "explained": ((*lead, "neuron"), second / own),
        }
    ).assign_attrs(simulation.attrs)


@measure("signal_overlap", "n")
def effective_signal(
    simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 400, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Measure how far the coefficients of the rows are from theory's, and how that falls with n.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store, the runs with what `regressed` takes.
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        Of `analysis.statistics.rates` for ``init_coefficient`` and ``signal_coefficient``, and on (grid axes, n,
        iteration): ``explained``, the share of the rows' second moment carried by initialization and signal, mean over
        units, with ``explained_stderr``; ``explained_predicted``, theory's, with at most its solver's error,
        ``explained_predicted_stderr``.

    Notes
    -----
    Theory predicts the moments of a row, so their means over replicates are divided, not the moments of each run: a
    mean of ratios is off by one more term of order 1/n.
    """
    simulation, theory = without_diverged(simulation), without_diverged(theory)
    found = regressed(simulation)
    measured = rates(found, theory, observables=COEFFICIENTS, draws=draws, level=level, seed=seed)
    whole = diagonal(simulation["weight_gram"])
    carried = found.explained * whole
    share = carried.mean("replicate") / whole.mean("replicate")
    pull = ((carried - share * whole) / whole.mean("replicate")).mean("neuron")  # of a replicate on the ratio
    measured["explained"], measured["explained_stderr"] = share.mean("neuron"), standard_error(pull)
    noise, whole = diagonal(theory["noise_covariance"]), diagonal(theory["weight_gram"])
    measured["explained_predicted"] = (1 - noise / whole).mean("neuron")
    doubt = diagonal(theory["noise_covariance_stderr"]) + diagonal(theory["weight_gram_stderr"]) * noise / whole
    measured["explained_predicted_stderr"] = (doubt / whole).mean("neuron")
    measured["explained"].attrs["long_name"] = "share of the rows' second moment from initialization and signal"
    return measured
