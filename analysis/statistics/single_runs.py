"""Single runs against their theory: how many predicted standard deviations each is away, and whether that is likely."""

from __future__ import annotations

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure

__all__ = ["single_runs"]

# Directions of the correlation between iterations with less than this share of the variance are left out: what is of
# higher order in n^-1/2 is not small beside them.
LEAST_SHARE = 0.01
# A variance of sqrt(n) (run - theory) below this is rounding.
NEGLIGIBLE_VARIANCE = 1e-9


@measure()
def single_runs(
    simulation: xr.Dataset, theory: xr.Dataset, predicted: xr.Dataset, *, observable: str = "test_error"
) -> xr.Dataset:
    """Test every run by itself against theory and its predicted fluctuations (docs/theory.md#single-run-test).

    Parameters
    ----------
    simulation : Dataset
        Runs of one problem, as `sedyn.simulate` returns them.
    theory : Dataset
        As `sedyn.state_evolution` returns it for this problem.
    predicted : Dataset
        As `sedyn.fluctuations` returns it for this problem.
    observable : {'test_error', 'train_error', 'estimated_test_error'}, optional
        What is tested; an estimate is held against the theory of the test error.

    Returns
    -------
    Dataset
        On (replicate, iteration) ``z``, deviations in predicted standard deviations, NaN where nothing varies; on
        (replicate,) ``statistic``, the sum of squares in the leading directions of the predicted correlation between
        iterations, and ``p_value``, the probability of at least this under theory; and ``degrees``, how many directions
        there are. Standard errors of theory and readout count as predicted variance.
    """
    from scipy.stats import chi2

    n, target = int(simulation.attrs["n"]), observable.removeprefix("estimated_")
    deviation = (simulation[observable] - theory[target]).transpose("replicate", "iteration")
    covariance = predicted[observable].values / n
    readout = simulation[target + "_stderr"] if observable == "test_error" else xr.zeros_like(deviation)
    own = (readout**2).mean("replicate").values + theory[target + "_stderr"].values ** 2
    covariance = covariance + np.diag(own)
    varies = np.isfinite(np.diagonal(covariance)) & (n * np.diagonal(covariance) > NEGLIGIBLE_VARIANCE)
    scale = np.sqrt(np.diagonal(covariance)[varies])
    shares, directions = np.linalg.eigh(covariance[np.ix_(varies, varies)] / np.outer(scale, scale))
    leading = shares > LEAST_SHARE * shares.sum()
    scaled = deviation.values[:, varies] / scale
    z = np.full(deviation.shape, np.nan)
    z[:, varies] = scaled
    statistic = ((scaled @ directions[:, leading]) ** 2 / shares[leading]).sum(axis=1)
    degrees = int(leading.sum())
    return xr.Dataset(
        {
            "z": (deviation.dims, z, {"long_name": "deviation from theory in predicted standard deviations"}),
            "statistic": ("replicate", statistic, {"long_name": "squared deviation in the leading directions"}),
            "p_value": ("replicate", chi2.sf(statistic, degrees), {"long_name": "p-value of the run under theory"}),
            "degrees": ((), degrees, {"long_name": "leading directions"}),
        },
        coords={"replicate": deviation.replicate, "iteration": deviation.iteration},
    )
