"""Choosing by a criterion, and what that costs: the estimate of the test error, a holdout, cross-validation.

Every function takes runs as a sweep stores them (group ``simulation``) and returns a dataset; none trains anything.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr
from scipy import stats

__all__ = ["AXES", "CRITERIA", "compare", "cost", "select", "with_words"]

CRITERIA = {
    "estimate": ("estimated_test_error", "test_error"),
    "holdout": ("holdout_error", "holdout_test_error"),
    "holdout, refitted": ("holdout_error", "test_error"),
    "cross-validation": ("cross_validation_error", "test_error"),
}
"""What `compare` compares: the stored name a choice is made by, and the test error of the model then delivered."""

AXES = ("learning_rate", "width", "depth", "weight_decay", "momentum", "activation", "batch_fraction")
"""Grid axes that are a user's choice, unlike the data they meet."""


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
            "last_regret": "regret of going on to the last iteration",
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
    return with_words(xr.concat(measured, dim="rule").assign_coords(rule=list(CRITERIA)))


def _stderr(values: xr.DataArray) -> xr.DataArray:
    """Standard error of the mean over replicates."""
    return values.std("replicate", ddof=1) / np.sqrt(values.count("replicate"))


def cost(regret: xr.DataArray, otherwise: xr.DataArray, level: float) -> xr.Dataset:
    """Compare the regret of a rule with that of doing without it, in the same runs.

    Parameters
    ----------
    regret, otherwise : DataArray
        Of the rule, and without it; all dimensions but ``replicate`` are kept.
    level : float
        Coverage of the interval.

    Returns
    -------
    Dataset
        ``mean_regret`` and ``mean_otherwise`` with ``_stderr``; ``saved``, the mean of their difference over
        replicates, with ``saved_low`` and ``saved_high`` by Student's t.
    """
    difference = otherwise - regret
    count = difference.count("replicate")
    reach = stats.t.ppf((1 + level) / 2, (count - 1).clip(1)) * _stderr(difference)
    saved = difference.mean("replicate")
    return xr.Dataset(
        {
            "mean_regret": regret.mean("replicate"),
            "mean_regret_stderr": _stderr(regret),
            "mean_otherwise": otherwise.mean("replicate"),
            "mean_otherwise_stderr": _stderr(otherwise),
            "saved": saved,
            "saved_low": saved - reach,
            "saved_high": saved + reach,
        }
    )


_WORDS = {
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


def with_words(result: xr.Dataset) -> xr.Dataset:
    """Describe the variables of a choice by their ``long_name``."""
    for name, words in _WORDS.items():
        if name in result:
            result[name].attrs = {"long_name": words}
    return result
