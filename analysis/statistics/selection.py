"""Choosing by a criterion, and what that costs: the estimate of the test error, a holdout, cross-validation.

Every function takes runs as a sweep stores them (group ``simulation``) and returns a dataset; none trains anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.datasets import standard_error, worded
from analysis.statistics.intervals import student_reach
from sedyn.errors import InvalidInput

__all__ = ["AXES", "CRITERIA", "WORDS", "compare", "cost", "early_stopping", "select", "tuning"]

CRITERIA = {
    "estimate": ("estimated_test_error", "test_error"),
    "holdout": ("holdout_error", "holdout_test_error"),
    "holdout, refitted": ("holdout_error", "test_error"),
    "cross-validation": ("cross_validation_error", "test_error"),
}
"""What `compare` compares: the stored name a choice is made by, and the test error of the model then delivered."""

AXES = ("learning_rate", "width", "depth", "weight_decay", "momentum", "activation", "batch_fraction")
"""Grid axes that are a user's choice, unlike the data they meet."""

WORDS = {
    "bias": "mean of estimated minus true test error",
    "blind_regret": "regret of a configuration drawn at random",
    "criterion": "criterion at the choice",
    "last_regret": "regret of going on to the last iteration",
    "oracle_test_error": "least test error",
    "regret": "test error at the choice minus the least",
    "rms": "root mean square of estimated minus true test error",
    "saved": "test error saved by the rule",
    "test_error": "test error at the choice",
}


def select(criterion: xr.DataArray, test_error: xr.DataArray, over: Sequence[Hashable]) -> xr.Dataset:
    """Choose, in each run, the candidate with the least criterion, and say what that cost.

    Parameters
    ----------
    criterion : DataArray
        What the choice is made by, on any dimensions. NaN where a candidate is not available: never chosen.
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
            raise InvalidInput.unknown("over", dim, map(str, criterion.dims))
    criterion, test_error = xr.align(criterion, test_error, join="inner")
    available = criterion.notnull() & test_error.notnull()
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
    return result.where(available.any(over))


@measure("test_error", "estimated_test_error")
def early_stopping(simulation: xr.Dataset, *, level: float = 0.95) -> xr.Dataset:
    """Stop every run where its estimated test error is least (docs/theory.md#estimated-test-error).

    Parameters
    ----------
    simulation : Dataset
        ``test_error`` and ``estimated_test_error`` on (grid axes..., n, replicate, iteration).
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        Of `select`, and ``last_regret``, what going on to the last iteration would have cost; and of `cost`: means over
        replicates of both, and ``saved``, their difference with its interval.
    """
    stopped = select(simulation.estimated_test_error, simulation.test_error, ["iteration"])
    last = simulation.test_error.isel(iteration=-1, drop=True)
    stopped["last_regret"] = last - stopped.oracle_test_error
    return worded(stopped.merge(cost(stopped.regret, stopped.last_regret, level)), WORDS)


@measure("test_error", "estimated_test_error")
def tuning(simulation: xr.Dataset, over: Sequence[str] | None = None, *, level: float = 0.95) -> xr.Dataset:
    """Choose among configurations, each at any iteration, by the estimated test error.

    Parameters
    ----------
    simulation : Dataset
        As for `early_stopping`.
    over : sequence of str, optional
        Grid axes to choose along, by default those that are a user's choice: `AXES`.
    level : float
        Coverage of the intervals.

    Returns
    -------
    Dataset
        Of `select`, and ``blind_regret``: the mean cost of a configuration drawn at random and stopped by its estimate;
        of `cost`: means over replicates of both, and ``saved``, their difference with its interval; and for every
        candidate, stopped by its estimate, ``candidate_estimate`` and ``candidate_test_error``.

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
    chosen = chosen.merge(cost(chosen.regret, chosen.blind_regret, level))
    chosen["candidate_estimate"], chosen["candidate_test_error"] = stopped.criterion, stopped.test_error
    return worded(chosen, WORDS)


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
    best = runs.test_error.where(runs.test_error.notnull(), np.inf).min(over)
    for criterion, delivered in CRITERIA.values():
        deviation = runs[criterion] - runs[delivered]
        rms = np.sqrt((deviation**2).mean("replicate"))
        chosen = select(runs[criterion], runs[delivered], over)
        regret = chosen.test_error - best
        numbers = [name for dim in over if np.issubdtype(chosen[name := f"chosen_{dim}"].dtype, np.number)]
        measured.append(
            xr.Dataset(
                {
                    "rms": rms,
                    "rms_stderr": standard_error(deviation**2) / (2 * rms),
                    "bias": deviation.mean("replicate"),
                    "regret": regret.mean("replicate"),
                    "regret_stderr": standard_error(regret),
                    **{name: chosen[name].mean("replicate") for name in numbers},
                }
            )
        )
    return worded(xr.concat(measured, dim="rule").assign_coords(rule=list(CRITERIA)), WORDS)


def cost(regret: xr.DataArray, otherwise: xr.DataArray, level: float) -> xr.Dataset:
    """Compare the regret of a rule with that of doing without it, in the same runs.

    Parameters
    ----------
    regret, otherwise : DataArray
        Of the rule, and without it, on (..., replicate).
    level : float
        Coverage of the interval.

    Returns
    -------
    Dataset
        On all dimensions but ``replicate``: ``mean_regret`` and ``mean_otherwise`` with ``_stderr``; ``saved``, the
        mean of their difference over replicates, with ``saved_low`` and ``saved_high`` by Student's t.
    """
    difference = otherwise - regret
    reach = xr.apply_ufunc(student_reach, difference.count("replicate").clip(2), level, vectorize=True)
    saved, reach = difference.mean("replicate"), reach * standard_error(difference)
    result = xr.Dataset(
        dict(zip(("saved", "saved_low", "saved_high"), (saved, saved - reach, saved + reach), strict=True))
    )
    for name, one in (("mean_regret", regret), ("mean_otherwise", otherwise)):
        result[name], result[f"{name}_stderr"] = one.mean("replicate"), standard_error(one)
    return result
