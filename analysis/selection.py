"""What the data-driven estimate of the test error is good for: how close it is, when to stop, what to choose.

Every function takes runs as a sweep stores them (group ``simulation``) and returns a dataset; none trains anything.
``python -m analysis.selection PATH`` prints the tables of a store.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Hashable, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from rich import box
from rich.console import Console
from rich.table import Table
from scipy import stats

from analysis.loglog import line_fit, weights

__all__ = ["AXES", "CRITERIA", "compare", "consistency", "early_stopping", "select", "show", "tuning"]

CRITERIA = {
    "estimate": ("estimated_test_error", "test_error"),
    "holdout": ("holdout_error", "holdout_test_error"),
    "holdout, refitted": ("holdout_error", "test_error"),
    "cross-validation": ("cross_validation_error", "test_error"),
}
"""What `compare` compares: the stored name a choice is made by, and the test error of the model then delivered."""

AXES = ("learning_rate", "width", "depth", "weight_decay", "momentum", "activation", "batch_fraction")
"""Grid axes that are a user's choice, unlike the data they meet."""

LEAST_SIZES = 3


def select(criterion: xr.DataArray, test_error: xr.DataArray, over: Sequence[Hashable]) -> xr.Dataset:
    """Choose, in each run, the candidate with the least criterion, and say what that cost.

    Parameters
    ----------
    criterion : DataArray
        What the choice is made by. NaN where a candidate is not available: never chosen.
    test_error : DataArray
        What the choice is judged by; same dimensions.
    over : sequence of str
        Dimensions whose combinations are the candidates.

    Returns
    -------
    Dataset
        On the other dimensions: ``chosen_<dim>`` and ``oracle_<dim>`` for each of `over`, ``test_error`` at the
        choice, ``criterion`` there, ``oracle_test_error``, the least of all candidates, and ``regret``, their
        difference. NaN (and no choice) where a run has no candidate.

    Raises
    ------
    ValueError
        If one of `over` is no dimension of both.
    """
    for dim in over:
        if dim not in criterion.dims or dim not in test_error.dims:
            raise ValueError(f"over={dim!r}: no dimension of the runs; they have {', '.join(map(str, criterion.dims))}")
    criterion, test_error = xr.align(criterion, test_error, join="inner")
    available = criterion.notnull() & test_error.notnull()
    some = available.any(over)
    chosen = criterion.where(available, np.inf).argmin(over)
    oracle = test_error.where(available, np.inf).argmin(over)

    def at(values: xr.DataArray, where: dict[Hashable, xr.DataArray]) -> xr.DataArray:
        return values.isel(where).drop_vars(over, errors="ignore")

    result = xr.Dataset(
        {
            "test_error": at(test_error, chosen),
            "criterion": at(criterion, chosen),
            "oracle_test_error": at(test_error, oracle),
        }
    )
    for prefix, where in (("chosen", chosen), ("oracle", oracle)):
        for dim in over:
            labels = test_error[dim]
            if not np.issubdtype(labels.dtype, np.number):  # names, in whatever type a store gives them
                labels = labels.astype(object)
            result[f"{prefix}_{dim}"] = at(labels, {dim: where[dim]})
    result["regret"] = result.test_error - result.oracle_test_error
    return result.where(some)


def early_stopping(simulation: xr.Dataset) -> xr.Dataset:
    """Stop every run where its estimated test error is least.

    Parameters
    ----------
    simulation : Dataset
        ``test_error`` and ``estimated_test_error`` with dimension ``iteration``.

    Returns
    -------
    Dataset
        Of `select`, and ``last_regret``, what going on to the last iteration would have cost.
    """
    stopped = select(simulation.estimated_test_error, simulation.test_error, ["iteration"])
    last = simulation.test_error.isel(iteration=-1, drop=True)
    stopped["last_regret"] = last - stopped.oracle_test_error
    return _with_words(stopped)


def tuning(simulation: xr.Dataset, over: Sequence[str] | None = None) -> xr.Dataset:
    """Choose among configurations, each at any iteration, by the estimated test error.

    Parameters
    ----------
    simulation : Dataset
        As for `early_stopping`.
    over : sequence of str, optional
        Grid axes to choose along, by default those that are a user's choice: `AXES`.

    Returns
    -------
    Dataset
        Of `select`, and ``blind_regret``: the mean cost of a configuration drawn at random and stopped by its estimate.

    Notes
    -----
    A sweep gives every cell its own data sets, so in a store candidates differ also by the luck of their data, and the
    oracle is the luckiest one. On paired data (the same rows for every candidate) the same function applies.
    """
    if over is None:
        over = [axis for axis in AXES if axis in simulation.test_error.dims]
    chosen = select(simulation.estimated_test_error, simulation.test_error, [*over, "iteration"])
    stopped = select(simulation.estimated_test_error, simulation.test_error, ["iteration"])
    chosen["blind_regret"] = stopped.test_error.mean(over) - chosen.oracle_test_error
    return _with_words(chosen)


def compare(runs: xr.Dataset, over: Sequence[str] = ("iteration",)) -> xr.Dataset:
    """Compare the estimate with a holdout and with cross-validation, at equal data.

    Parameters
    ----------
    runs : Dataset
        On (..., replicate, iteration): ``test_error`` and ``estimated_test_error`` of the model trained on all rows;
        ``holdout_error`` and ``holdout_test_error`` of one trained on a part, on the other part and on fresh data;
        ``cross_validation_error``, the mean over folds.
    over : sequence of str, optional
        Dimensions whose combinations are the candidates of a choice.

    Returns
    -------
    Dataset
        Along ``rule`` (`CRITERIA`): ``rms``, ``bias`` and ``rms_stderr``, of the criterion minus the test error of
        the model delivered, at each iteration; ``regret`` and ``regret_stderr``, the mean over replicates of the test
        error delivered minus the least that a model trained on all rows reaches; ``chosen_<dim>``, means for numbers.
    """
    measured = []
    for criterion, delivered in CRITERIA.values():
        deviation = runs[criterion] - runs[delivered]
        square = deviation**2
        rms = np.sqrt(square.mean("replicate"))
        chosen = select(runs[criterion], runs[delivered], over)
        best = runs.test_error.where(runs.test_error.notnull(), np.inf).min(over)
        regret = chosen.test_error - best
        measured.append(
            xr.Dataset(
                {
                    "rms": rms,
                    "rms_stderr": _stderr(square) / (2 * rms),
                    "bias": deviation.mean("replicate"),
                    "regret": regret.mean("replicate"),
                    "regret_stderr": _stderr(regret),
                    **{
                        f"chosen_{dim}": chosen[f"chosen_{dim}"].mean("replicate")
                        for dim in over
                        if np.issubdtype(chosen[f"chosen_{dim}"].dtype, np.number)
                    },
                }
            )
        )
    return _with_words(xr.concat(measured, dim="rule").assign_coords(rule=list(CRITERIA)))


def consistency(simulation: xr.Dataset, *, draws: int = 1000, level: float = 0.95, seed: int = 0) -> xr.Dataset:
    """Measure how fast the estimate approaches the test error as n grows.

    ``rms(n)`` is the root of the mean square, over replicates, of estimated minus true test error, less the mean square
    of the true one's own standard error (it is an average over finitely many fresh rows). Lines in log-log coordinates
    share one slope over the iterations of a cell, and over all cells.

    Parameters
    ----------
    simulation : Dataset
        ``test_error``, ``test_error_stderr`` and ``estimated_test_error`` on (grid axes..., n, replicate, iteration).
    draws : int
        Bootstrap draws, of whole replicates, behind the intervals.
    level : float
        Coverage of the intervals.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    Dataset
        On (grid axes, n, iteration): ``rms``, ``bias`` and ``relative_rms`` (to the mean test error). On the grid
        axes: ``exponent`` and ``exponent_stderr``, ``exponent_low``, ``exponent_high``. Without dimensions:
        ``overall_exponent`` likewise. NaN where fewer than 3 sizes or 2 replicates are there.

    Raises
    ------
    ValueError
        If n is no dimension.
    """
    if "n" not in simulation.test_error.dims:
        raise ValueError("consistency in n needs runs along dimension n")
    ends = ("n", "replicate", "iteration")
    deviation = simulation.estimated_test_error - simulation.test_error
    axes = [dim for dim in deviation.dims if dim not in ends]
    square = (deviation**2 - simulation.test_error_stderr**2).transpose(*axes, *ends)
    # Before the first step nothing is estimated yet: what is trained is as good as fresh.
    fit = _pooled_slopes(square.isel(iteration=square.iteration > 0), axes, np.random.default_rng(seed), draws, level)
    rms = np.sqrt(square.mean("replicate").clip(0))
    bias = deviation.mean("replicate")
    result = fit.assign(rms=rms, bias=bias, relative_rms=rms / simulation.test_error.mean("replicate"))
    result.attrs = {"draws": draws, "level": level, "bootstrap_seed": seed}
    return _with_words(result)


def _pooled_slopes(
    square: xr.DataArray, axes: Sequence[Hashable], rng: np.random.Generator, draws: int, level: float
) -> xr.Dataset:
    """Exponents of the root mean square in n, one for each cell and one for all, with bootstrap intervals."""
    values = square.values.reshape(-1, *square.shape[-3:])  # cell, n, replicate, iteration
    cells, sizes, replicates, steps = values.shape
    present = np.isfinite(values)
    filled = np.where(present, values, 0.0)
    runs = present.sum(2)

    def means(counts: np.ndarray) -> np.ndarray:
        """Mean squares of resampled replicates, shape (..., n, cell * iteration)."""
        total = np.einsum("...cnr,cnrt->...nct", counts, filled)
        number = np.einsum("...cnr,cnrt->...nct", counts, present)
        mean = np.divide(total, number, out=np.zeros(total.shape), where=number > 0)
        return mean.reshape(*mean.shape[:-2], cells * steps)

    mean = means(np.ones((cells, sizes, replicates)))
    again = means(rng.multinomial(replicates, np.full(replicates, 1 / replicates), (draws, cells, sizes)))
    runs = runs.transpose(1, 0, 2).reshape(sizes, -1)
    valid = (runs > 1) & (mean > 0)
    valid &= valid.sum(0) >= LEAST_SIZES
    relative = np.divide(again.std(0), 2 * mean, out=np.ones_like(mean), where=valid)
    weight = weights(relative**2, valid)
    x = np.log(square["n"].values.astype(float))
    one, many = line_fit(x, _half_log(mean), weight), line_fit(x, _half_log(again), weight)

    fewest = int(runs[valid].min()) if valid.any() else 0
    inflation = np.sqrt(fewest / (fewest - 1)) if fewest > 1 else np.nan
    quantile = stats.t.ppf((1 + level) / 2, fewest - 1) if fewest > 1 else np.nan
    shape = [square.sizes[axis] for axis in axes]
    result = xr.Dataset(coords={axis: square[axis] for axis in axes if axis in square.coords})
    for prefix, dims, slope, slopes in (
        ("", axes, one.reshape((cells, steps)).common_slope, many.reshape((cells, steps)).common_slope),
        ("overall_", [], one.common_slope, many.common_slope),
    ):
        stderr = inflation * slopes.std(0)
        for suffix, value in (
            ("", slope),
            ("_stderr", stderr),
            ("_low", slope - quantile * stderr),
            ("_high", slope + quantile * stderr),
        ):
            result[f"{prefix}exponent{suffix}"] = (dims, np.reshape(value, shape if dims else ()))
    return result


def _half_log(square: np.ndarray) -> np.ndarray:
    return 0.5 * np.log(np.where(square > 0, square, 1.0))


def _stderr(values: xr.DataArray) -> xr.DataArray:
    """Standard error of the mean over replicates."""
    return values.std("replicate", ddof=1) / np.sqrt(values.count("replicate"))


_WORDS = {
    "bias": "mean of estimated minus true test error",
    "blind_regret": "regret of a configuration drawn at random",
    "criterion": "criterion at the choice",
    "exponent": "exponent of the root mean square in n",
    "last_regret": "regret of going on to the last iteration",
    "oracle_test_error": "least test error",
    "overall_exponent": "exponent over all cells",
    "regret": "test error at the choice minus the least",
    "relative_rms": "root mean square of estimated minus true test error, over the test error",
    "rms": "root mean square of estimated minus true test error",
    "test_error": "test error at the choice",
}


def _with_words(result: xr.Dataset) -> xr.Dataset:
    for name, words in _WORDS.items():
        if name in result:
            result[name].attrs = {"long_name": words}
    return result


def show(path: str | Path, *, console: Console | None = None) -> None:
    """Print what the estimate achieves in a store.

    Parameters
    ----------
    path : path
        A Zarr store with the group ``simulation``.
    console : rich.console.Console, optional
        Where to print; standard output unless given.
    """
    console = console or Console()
    with xr.open_datatree(str(path), engine="zarr", consolidated=False) as tree:
        simulation = tree["simulation"].to_dataset().load()
    if simulation.sizes.get("n", 1) >= LEAST_SIZES:
        console.print(_consistency_table(consistency(simulation)))
    stopped = early_stopping(simulation)
    tables = {"stopping": (stopped, "last_regret", "to the last iteration")}
    if any(axis in simulation.test_error.dims for axis in AXES):
        tables["choice"] = (tuning(simulation), "blind_regret", "choosing blindly")
    table = _table("Regret: test error minus the least, means over runs", "", "least", "regret", "stderr", "otherwise")
    for name, (chosen, other, words) in tables.items():
        regret = chosen.regret.values[np.isfinite(chosen.regret.values)]
        cells = (float(chosen.oracle_test_error.mean()), regret.mean(), regret.std() / np.sqrt(max(regret.size - 1, 1)))
        table.add_row(name, *(f"{cell:.4f}" for cell in cells), f"{float(chosen[other].mean()):.4f} ({words})")
    console.print(table)


def _consistency_table(measured: xr.Dataset) -> Table:
    axes = list(measured.exponent.dims)
    title = "Root mean square of estimated minus true test error ~ n^exponent, and its size at the largest n"
    table = _table(title, *map(str, axes), "exponent", f"{measured.level:.0%} interval", "size")
    relative = measured.relative_rms.isel(n=-1).mean("iteration")
    for index in np.ndindex(measured.exponent.shape):
        cell = dict(zip(axes, index, strict=True))
        names = [str(measured[axis][i].item()) for axis, i in cell.items()]
        table.add_row(*names, *_exponent_cells(measured.isel(cell), ""), f"{float(relative.isel(cell)):.1%}")
    if axes:
        table.add_row("all", *[""] * (len(axes) - 1), *_exponent_cells(measured, "overall_"), "")
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _exponent_cells(measured: xr.Dataset, prefix: str) -> tuple[str, str]:
    value, low, high = (float(measured[f"{prefix}exponent{suffix}"]) for suffix in ("", "_low", "_high"))
    return f"{value:+.3f}", f"[{low:+.3f}, {high:+.3f}]"


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the store named on the command line.

    Returns
    -------
    int
        Exit status: 0 done, 2 no such store.
    """
    parser = argparse.ArgumentParser(prog="python -m analysis.selection", description="Judge the estimate in a store.")
    parser.add_argument("path", metavar="PATH", help="a Zarr store that a sweep wrote")
    path = parser.parse_args(arguments).path
    try:
        show(path)
    except (KeyError, OSError) as error:
        print(f"{path}: no store with a group simulation ({error})", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
