"""How fast the test error estimated from training data alone approaches the true one.

Source: docs/theory.md#estimated-test-error.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.bootstrap import Bootstrap, means
from analysis.statistics.datasets import LEAST_SIZES, grid_axes, larger_half, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.fluctuations import DIFFERENCE, predicted_variance
from analysis.statistics.intervals import spread
from analysis.statistics.loglog import half_log, weights
from analysis.statistics.power_law import Exponents, fit_powers
from sedyn.errors import InvalidInput

__all__ = ["generalization_estimate", "with_predicted"]


def with_predicted(measured: xr.Dataset, theory: xr.Dataset) -> xr.Dataset:
    """Add the error bar of the estimate that theory predicts (docs/theory.md#fluctuation-covariance), if it has one.

    Parameters
    ----------
    measured : Dataset
        From `generalization_estimate`.
    theory : Dataset
        Of the same store.

    Returns
    -------
    Dataset
        With ``predicted_rms`` on (grid axes, n, iteration), the predicted standard deviation of estimated minus true
        test error.
    """
    if f"{DIFFERENCE}_covariance" not in theory:
        return measured
    variance = predicted_variance(DIFFERENCE, theory).clip(0) / theory["n"]
    predicted = (variance**0.5).broadcast_like(measured["rms"]).transpose(*measured["rms"].dims)
    return worded(measured.assign(predicted_rms=predicted), _WORDS)


@measure("test_error", "estimated_test_error")
def generalization_estimate(
    simulation: xr.Dataset, *, score: str = "test_error", draws: int = 1000, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Measure how fast the estimate approaches the test error as n grows, or the test error rate of classes.

    ``rms(n)`` is the root of the mean square, over replicates, of estimated minus true test error, less the mean square
    of the true one's own standard error (it is an average over finitely many fresh samples). Lines in log-log
    coordinates share one slope over the iterations of a cell, and over all cells. What has diverged
    (`analysis.statistics.divergence`) is left out.

    Parameters
    ----------
    simulation : Dataset
        `score`, its standard error and its estimate on (grid axes..., n, replicate, iteration).
    score : {'test_error', 'test_error_rate'}
        What is estimated.
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        On (grid axes, n, iteration): ``rms``, ``bias`` and ``relative_rms`` (to the mean test error). On the grid
        axes: ``exponent`` and ``exponent_stderr``, ``exponent_low``, ``exponent_high``. Without dimensions:
        ``overall_exponent`` likewise; on each grid axis ``exponent_by_<axis>``, over all cells with that value. NaN
        where fewer than 3 sizes or 2 replicates are there.

    Raises
    ------
    ValueError
        If n is no dimension.
    """
    if "n" not in simulation[score].dims:
        raise InvalidInput("simulation", "a dataset without n", "consistency in n needs runs along dimension n")
    runs = without_diverged(simulation)
    deviation = runs[f"estimated_{score}"] - runs[score]
    axes = grid_axes(deviation)
    square = (deviation**2 - runs[f"{score}_stderr"] ** 2).transpose(*axes, "n", "replicate", "iteration")
    # Before the first step nothing is estimated yet: what is trained is as good as fresh.
    later, bootstrap = square.isel(iteration=square.iteration > 0), Bootstrap(draws, seed)
    result = _slopes(later, axes, bootstrap, level)
    result["rms"] = np.sqrt(square.mean("replicate").clip(0))
    result["bias"] = deviation.mean("replicate")
    result["relative_rms"] = result.rms / runs[score].where(deviation.notnull()).mean("replicate")
    words = dict(_WORDS)
    for axis in axes:
        each = [_slopes(later.sel({axis: [value]}), axes, bootstrap, level) for value in deviation[axis].values]
        found = [Exponents.of(one, "overall_exponent").variables(f"exponent_by_{axis}") for one in each]
        result = result.assign({name: (axis, [float(one[name][1]) for one in found]) for name in found[0]})
        words[f"exponent_by_{axis}"] = f"exponent of all cells with this {axis}"
    return worded(result, words, draws=draws, level=level, bootstrap_seed=seed)


_WORDS = {
    "bias": "mean of estimated minus true test error",
    "exponent": "exponent of the root mean square in n",
    "overall_exponent": "exponent over all cells",
    "predicted_rms": "predicted standard deviation of estimated minus true test error",
    "relative_rms": "root mean square of estimated minus true test error, over the test error",
    "rms": "root mean square of estimated minus true test error",
}


def _slopes(square: xr.DataArray, axes: Sequence[Hashable], bootstrap: Bootstrap, level: float) -> xr.Dataset:
    """Exponents of the root mean square in n, one for each cell and one for all, with bootstrap intervals."""
    values = square.values.reshape(-1, *square.shape[-3:])  # cell, n, replicate, iteration
    cells, sizes, _, steps = values.shape
    present = np.isfinite(values)
    drawn = np.stack(
        [means(bootstrap.counts(present[place].any(-1), *place), values[place]) for place in np.ndindex(cells, sizes)],
        axis=1,
    ).reshape(-1, cells, sizes, steps)
    mean = np.nan_to_num(drawn).transpose(0, 2, 1, 3).reshape(-1, sizes, cells * steps)
    runs = present.sum(2).transpose(1, 0, 2).reshape(sizes, -1)
    valid = (runs > 1) & (mean[0] > 0)
    valid &= valid.sum(0) >= LEAST_SIZES
    relative = np.divide(mean[1:].std(0), 2 * mean[0], out=np.ones_like(mean[0]), where=valid)
    n = square["n"].values
    fits = fit_powers(n, half_log(mean), weights(relative**2, valid))
    fewest = int(runs[valid].min()) if valid.any() else 0
    shape = tuple(square.sizes[axis] for axis in axes)
    result = xr.Dataset(coords={axis: square[axis] for axis in axes if axis in square.coords})
    for name, dims, each in (("exponent", axes, fits.reshape((*shape, steps))), ("overall_exponent", (), fits)):
        stderr = np.asarray(spread(each.whole.common_slope, fewest))
        result = result.assign(each.exponents(n, fewest, level).variables(name, *dims))
        result = result.assign({f"{name}_stderr": (dims, stderr)})
    result["larger_from"] = n[larger_half(sizes)]
    return result
