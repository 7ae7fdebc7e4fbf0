"""How much of what a run shows lies in the bands that theory predicts.

Theory gives the law of a row around what it carries of initialization and signal, and the law of a pre-activation
(docs/theory.md#law-of-rows, docs/theory.md#law-of-pre-activations): a band between two quantiles of such a law should
contain the share of a run's rows, or samples, that it is named after. Of an error theory gives
the limit, and where a sweep has them predicted fluctuations (docs/theory.md#fluctuation-covariance): a band around it.
Elsewhere how far runs of the next smaller size scatter, scaled by n^-1/2, makes a band as well: it should contain the
error of a run at a size that took no part in making it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr
from scipy import special

from analysis.statistics.arguments import measure
from analysis.statistics.bootstrap import Bootstrap, means, variances
from analysis.statistics.datasets import diagonal, features_of, grid_axes, larger_half, worded
from analysis.statistics.divergence import without_diverged
from analysis.statistics.fluctuations import predicted_variance
from analysis.statistics.intervals import student_reach
from analysis.statistics.laws import normal_quantile, student_quantile
from analysis.statistics.solver_error import freedom
from analysis.statistics.stack import Stack, stack

__all__ = ["LAWS", "LEAST_OUTSIDE", "LEAST_REPLICATES", "NEEDED", "PARTS", "coverage", "share_below"]

LAWS = ("row_residual", "pre_activation")
PARTS = (*LAWS, "train_error", "test_error")
"""What bands are made for: a run has many rows and samples, and one error of each kind."""
OUTERMOST = 2
"""Stored quantiles on each side that only serve to interpolate."""
LEAST_OUTSIDE = 3
"""Draws expected beyond an end of a band; fewer cannot be counted from the stored quantiles."""
LEAST_REPLICATES = 8
NORMAL = 10**9
"""Degrees of freedom of a scatter that is not estimated from runs."""
NEEDED = tuple(f"{name}_quantiles" for name in LAWS)


@measure("row_residual_quantiles", "n")
def coverage(
    simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 400, level: float = 0.95, seed: int = 0
) -> xr.Dataset:
    """Measure the share of rows, samples and errors of a run inside the bands that theory predicts.

    Parameters
    ----------
    simulation : Dataset
        Of a sweep with ``laws=true``, on (grid axes..., n, replicate, iteration, ...), with ``d`` as coordinate or
        attribute.
    theory : Dataset
        ``noise_covariance``, ``pre_activation_quantiles``, ``train_error``, ``test_error``, and standard errors.
    draws, seed : int
        Of the bootstrap (`analysis.statistics.bootstrap`).
    level : float
        Coverage of the intervals, of all nominal levels together.

    Returns
    -------
    Dataset
        For each ``part`` (`PARTS`) and ``nominal`` level, over the iterations after the first: ``coverage`` on
        (grid axes, n), ``iteration_coverage`` on (n, iteration) over all cells, ``overall_coverage`` on (n,), each with
        ``_stderr``. ``judged_coverage``, over all cells and from n = ``judged_from`` on, has ``_low`` and ``_high``:
        of a law it is that at the largest n, of an error that over the larger half of the sizes. Errors have no band at
        the smallest n unless theory has fluctuations. A law has none where fewer than `LEAST_OUTSIDE` of a run's draws
        would be beyond one of its ends.

    Notes
    -----
    Standard errors come from a bootstrap of whole replicates, so rows of a run may depend on each other, and include
    the error of theory's solver. The band of an error is theory -+ the normal quantile times the predicted standard
    deviation, or -+ t s with s that of the runs at the next smaller size, scaled, and Student's t: for normal errors
    around theory both cover exactly.
    """
    bootstrap = Bootstrap(draws, seed)
    runs, predicted = (without_diverged(group).isel(iteration=slice(1, None)) for group in (simulation, theory))
    template, probability = runs["train_error"], runs["probability"].values
    axes, sizes = grid_axes(template), template.sizes["n"]
    lower = probability[OUTERMOST : len(probability) // 2]
    nominal = np.round(1 - 2 * lower, 6)
    drawn = []
    for part in PARTS:
        if part in LAWS:
            inside, doubt = _shares(part, runs, predicted, lower)
            counted = _cells(inside, (*axes, "n", "replicate", "iteration"), template)
            doubted = _cells(doubt, (*axes, "n", "iteration"), template)
            drawn.append(_resampled(counted, doubted, bootstrap, freedom(predicted)))
        else:
            drawn.append(_predicted(stack(part, runs, predicted), nominal, bootstrap, _variance(part, runs, predicted)))
    dims = ("draw", "part", *axes, "n", "iteration", "nominal")
    shape = (1 + draws, len(PARTS), *(template.sizes[dim] for dim in dims[2:-1]), len(nominal))
    coords = {**{dim: runs[dim] for dim in dims[2:-1]}, "part": np.array(PARTS, dtype=object), "nominal": nominal}
    whole = xr.DataArray(np.stack(drawn, 1).reshape(shape), coords, dims)
    first = [sizes - 1 if part in LAWS else max(1, larger_half(sizes)) for part in PARTS]
    late = [whole.sel(part=part).isel(n=slice(start, None)) for part, start in zip(PARTS, first, strict=True)]
    together = xr.concat([one.mean([*axes, "n", "iteration"]) for one in late], "part")
    result = xr.Dataset()
    for name, one in (
        ("coverage", whole.mean("iteration")),
        ("iteration_coverage", whole.mean(axes)),
        ("overall_coverage", whole.mean([*axes, "iteration"])),
        ("judged_coverage", together),
    ):
        result[name], result[f"{name}_stderr"] = one.isel(draw=0), one.isel(draw=slice(1, None)).std("draw")
    finished = template.notnull().any("iteration").sum("replicate").values
    fewest = max(2, int(finished[finished > 0].min(initial=template.sizes["replicate"])))
    judged, reach = result["judged_coverage"], _reach(together, fewest, level) * result["judged_coverage_stderr"]
    result["judged_coverage_low"], result["judged_coverage_high"] = judged - reach, judged + reach
    result["judged_from"] = ("part", whole["n"].values[first])
    return worded(result, _WORDS, draws=draws, level=level, bootstrap_seed=seed)


_WORDS = {
    "coverage": "share inside the predicted band",
    "iteration_coverage": "share inside the predicted band, all cells",
    "overall_coverage": "share inside the predicted band, all cells and iterations",
    "judged_coverage": "share inside the predicted band, all cells, iterations and sizes that a verdict is taken over",
    "judged_from": "smallest n that a verdict is taken over",
}


def share_below(quantiles: np.ndarray, ends: np.ndarray, size: int | np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Count, from quantiles that are kept of some draws, the share of them below given points.

    Parameters
    ----------
    quantiles : ndarray, shape (..., P)
        Of draws from a law near the standard normal one, as `numpy.quantile` interpolates them.
    ends : ndarray, shape (E,)
        Points between the outermost quantiles.
    size : int or ndarray of int, shape (...)
        Number of draws.
    probability : ndarray, shape (P,)
        Increasing, of the quantiles.

    Returns
    -------
    ndarray, shape (..., E)
        NaN throughout if a quantile is not known.

    Notes
    -----
    Between quantiles the law is taken for a normal one, stretched. The k-th smallest draw is at probability
    (k - 1)/(N - 1), and on average k - 1/2 draws are below a point that lies there.
    """
    known = np.isfinite(quantiles).all(-1)
    kept, scores = np.where(known[..., None], quantiles, probability), special.ndtri(probability)
    below = ((kept[..., None, :] <= ends[:, None]).sum(-1) - 1).clip(0, len(probability) - 2)
    low, high = (np.take_along_axis(kept, below + step, -1) for step in (0, 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        way = np.nan_to_num((ends - low) / (high - low), nan=1.0).clip(0.0, 1.0)
    at = scores[below] + way * (scores[below + 1] - scores[below])
    draws = np.asarray(size)[..., None]
    return np.where(known[..., None], ((draws - 1) * special.ndtr(at) + 0.5) / draws, np.nan)


def _scores(quantiles: np.ndarray, law: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Put quantiles on the scale on which a law, known by its own quantiles, is standard normal."""
    if not np.isfinite(law).all():
        return np.full(quantiles.shape, np.nan)
    from scipy.interpolate import PchipInterpolator

    return PchipInterpolator(law, special.ndtri(probability))(np.clip(quantiles, law[0], law[-1]))


def _shares(name: str, runs: xr.Dataset, predicted: xr.Dataset, lower: np.ndarray) -> tuple[xr.DataArray, xr.DataArray]:
    """Share of a run's draws inside each band, mean over units, and what theory's own error makes of it."""
    probability = runs["probability"].values
    ends = special.ndtri(np.concatenate([lower, 1 - lower]))
    density = np.exp(-(ends**2) / 2.0) / np.sqrt(2 * np.pi)
    quantiles = runs[f"{name}_quantiles"]
    if name == "row_residual":
        size = features_of(runs)
        variance, uncertain = (diagonal(predicted[f"noise_covariance{end}"]) for end in ("", "_stderr"))
        # A wrong variance moves both ends of a band alike.
        moved = uncertain / (2 * variance) * xr.DataArray(abs(ends) * density, dims="end")
        doubt = 2 * moved.isel(end=slice(len(lower)))
    else:
        size = runs["n"]
        law, error = (
            predicted[f"pre_activation_quantiles{end}"].transpose(..., "probability") for end in ("", "_stderr")
        )
        quantiles = xr.apply_ufunc(
            _scores,
            quantiles,
            law,
            input_core_dims=[["replicate", "probability"], ["probability"]],
            output_core_dims=[["replicate", "probability"]],
            vectorize=True,
            kwargs={"probability": probability},
        )
        scaled = error.values / np.gradient(law.values, special.ndtri(probability), axis=-1)
        at = np.searchsorted(probability, lower - 1e-9)
        moved = scaled[..., at] ** 2 + scaled[..., len(probability) - 1 - at] ** 2
        doubt = xr.DataArray(moved**0.5 * density[: len(lower)], dims=(*law.dims[:-1], "end"))
    below = xr.apply_ufunc(
        share_below,
        quantiles,
        ends,
        size,
        input_core_dims=[["probability"], ["end"], []],
        output_core_dims=[["end"]],
        kwargs={"probability": probability},
    )
    inside = below.isel(end=slice(len(lower), None)) - below.isel(end=slice(len(lower)))
    countable = size * xr.DataArray(lower, dims="end") >= LEAST_OUTSIDE
    inside, doubt = (one.mean("neuron").where(countable).rename(end="nominal") for one in (inside, doubt))
    return inside, doubt


def _cells(array: xr.DataArray, order: Sequence[Hashable], template: xr.DataArray) -> np.ndarray:
    """(cell, n, [replicate,] iteration, nominal)."""
    array = array.broadcast_like(template.isel({dim: 0 for dim in template.dims if dim not in order}, drop=True))
    array = array.transpose(*order, "nominal")
    inner = [dim for dim in order if dim in ("n", "replicate", "iteration")]
    return array.values.reshape(-1, *(array.sizes[dim] for dim in inner), array.sizes["nominal"])


def _resampled(inside: np.ndarray, doubt: np.ndarray, bootstrap: Bootstrap, freedom: float) -> np.ndarray:
    """Mean over replicates and its draws, (1 + draws, cell, n, iteration, nominal)."""
    cells, sizes = inside.shape[:2]
    drawn = np.empty((1 + bootstrap.draws, *doubt.shape))
    for place in np.ndindex(cells, sizes):
        present = np.isfinite(inside[place]).any((1, 2))
        drawn[:, *place] = means(bootstrap.counts(present, *place), inside[place])
    shift = bootstrap.shifts(1, freedom)
    return drawn + shift[..., None, None, None] * np.nan_to_num(doubt)


def _variance(name: str, runs: xr.Dataset, predicted: xr.Dataset) -> np.ndarray | None:
    """Predicted variance of sqrt(n) (run - theory), (cell, n, iteration); None where it is not known."""
    if f"{name}_covariance" not in predicted:
        return None
    template = runs[name].isel(replicate=0, drop=True)
    order = (*grid_axes(template), "n", "iteration")
    values = predicted_variance(name, predicted).broadcast_like(template).transpose(*order).values
    return values.reshape(-1, *values.shape[-2:])


def _predicted(
    data: Stack, nominal: np.ndarray, bootstrap: Bootstrap, variance: np.ndarray | None = None
) -> np.ndarray:
    """Share of runs inside the band that theory predicts, or it and the next smaller size; as `_resampled`.

    The error of an average over fresh data, with which a run knows its own test error, goes by its own size.
    """
    simulated, predicted, solver = (values[..., 0] for values in (data.simulated, data.predicted, data.solver))
    known = np.isfinite(data.readout[..., 0])
    readout = np.where(known, data.readout[..., 0] ** 2, 0.0).sum(2) / np.maximum(known.sum(2), 1)
    cells, sizes, _, steps = simulated.shape
    drawn = np.full((1 + bootstrap.draws, cells, sizes, steps, len(nominal)), np.nan)
    shift = bootstrap.shifts(1, data.freedom)
    for cell in range(cells):
        counts = [bootstrap.counts(np.isfinite(runs).any(1), cell, size) for size, runs in enumerate(simulated[cell])]
        for size in range(variance is None, sizes):
            if variance is None:
                smaller = simulated[cell, size - 1]
                scatter, degrees = variances(counts[size - 1], smaller), np.isfinite(smaller).sum(0) - 1
                own = np.maximum(scatter - readout[cell, size - 1], 0.0) * data.n[size - 1]
            else:
                own, degrees = np.maximum(variance[cell, size], 0.0)[None], np.array(NORMAL)
            doubt = np.nan_to_num(solver[cell, size])
            wide = np.sqrt(own / data.n[size] + readout[cell, size] + doubt**2)
            away = abs(simulated[cell, size] - (predicted[cell, size] + shift * doubt)[:, None]) / wide[:, None]
            for k, quantile in enumerate(student_quantile((1 + nominal[:, None]) / 2, degrees)):
                inside = np.where(np.isfinite(away), away <= quantile, np.nan)
                drawn[:, cell, size, :, k] = _means_of_each(counts[size], inside)
    return drawn


def _means_of_each(counts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average over replicates of values that are other ones in each draw, (1 + draws, replicate, iteration)."""
    finite = np.isfinite(values)
    total = np.einsum("br,brt->bt", counts, np.where(finite, values, 0.0))
    number = np.einsum("br,brt->bt", counts, finite)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)


def _reach(whole: xr.DataArray, replicates: int, level: float) -> xr.DataArray:
    """Standard errors to either side within which all nominal levels of a part are at once."""
    estimate, drawn = whole.isel(draw=0), whole.isel(draw=slice(1, None))
    spread = drawn.std("draw")
    largest = (abs(drawn - estimate) / spread.where(spread > 0)).max("nominal").fillna(0.0)
    student = student_reach(replicates, level) / normal_quantile((1 + level) / 2)
    return largest.quantile(level, "draw").drop_vars("quantile") * student * np.sqrt(replicates / (replicates - 1))
