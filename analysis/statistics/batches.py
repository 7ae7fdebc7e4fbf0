"""One axis from the full batch to small ones, at rates of an epoch (docs/theory.md#epoch-time).

With the number of steps in which training goes through the data batches get small, and theory has a limit: the online
limit for one pass (docs/theory.md#online), for batches drawn anew one that is known by its neighbours only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import xarray as xr

from analysis.statistics.arguments import measure
from analysis.statistics.datasets import features_of, larger_half, worded
from analysis.statistics.intervals import Interval
from analysis.statistics.laws import normal_quantile
from analysis.statistics.power_law import Exponents
from analysis.statistics.rates_along import rates_along
from sedyn import Problem, online_limit
from sedyn.model.problem import DEFAULTS

__all__ = ["LEAST_RESOLVED", "OBSERVABLES", "batches", "epochs_of"]

OBSERVABLES = ("train_error", "test_error")
DECIDING = "test_error"
# A difference of two theories is one of batches where it is beyond so many standard errors of the solvers.
RESOLVED = 3.0
LEAST_RESOLVED = 3
# Points and randomizations of the online limit, which needs far fewer than theory: no sample is chosen.
LIMIT = {"samples": 2**13, "randomizations": 4}

_WORDS = {
    "gap": "difference of theory from its reference",
    "resolved": "whether the solver's error is small beside the difference",
    "gap_exponent": "exponent of the number of steps in the difference of theory from its reference",
    "run_distance": "distance of a run from its theory at the largest n",
    "final": "theory after the last step",
    "final_run": "mean of runs after the last step, at the largest n",
    "online": "online limit, at the end",
}


class _Curve(NamedTuple):
    """Theory at shares of an epoch that all have in common, and the solver's standard error; shape (times,)."""

    values: np.ndarray
    errors: np.ndarray


def epochs_of(simulation: xr.Dataset) -> str | None:
    """Ask for a store whose problems count in epochs; says what lacks, or None."""
    return "no epochs: learning rates are of a step" if simulation.attrs.get("epochs") is None else None


@measure("steps", "n")
def batches(simulation: xr.Dataset, theory: xr.Dataset, *, draws: int = 1000, seed: int = 0) -> xr.Dataset:
    """Measure how runs approach theory at every size of batches, and theory its limit as batches get small.

    Parameters
    ----------
    simulation, theory : Dataset
        The groups of a store with the axes ``steps`` and ``n``, and perhaps ``batching``, of problems with ``epochs``.
    draws, seed : int
        Of the bootstrap, as for `analysis.statistics.rates`.

    Returns
    -------
    Dataset
        The variables of `analysis.statistics.rates` without iterations, on (batching, steps, ...). On (batching,
        steps): ``gap``, the root-mean-square difference over an epoch of theory's test error from its reference:
        from the online limit for one pass, from the theory of twice as many steps for others; its ``_stderr``; and
        whether it is ``resolved``. On (batching,) the exponent of the steps in the gaps that are, ``gap_exponent``
        with its interval, NaN for fewer than 3, in the ways of `analysis.statistics.power_law.Exponents`; the
        larger half of the steps begins at ``gap_larger_from``. On (observable, batching, steps) the ``run_distance``,
        and the ``final`` errors of theory and runs with their standard errors; and ``online``, NaN without one pass.
    """
    simulation, theory = (_with_batching(group) for group in (simulation, theory))
    last = theory[DECIDING].isel(n=-1)
    known = {
        batching: _curves(theory.isel(n=-1).sel(batching=batching)) for batching in theory.batching.values.tolist()
    }
    limit = _online(simulation, theory) if "one_pass" in known else None
    parts = []
    for batching, curves in known.items():
        references = _references(curves, None if batching != "one_pass" else limit)
        gaps = {steps: _gap(curves[steps], reference) for steps, reference in references.items()}
        parts.append(_law(last.steps.values.tolist(), gaps))
    law = xr.concat(parts, xr.Variable("batching", list(known)))
    runs = [_runs(simulation, theory, int(steps), draws, seed) for steps in theory.steps.values]
    result = xr.concat(runs, xr.Variable("steps", theory.steps.values), combine_attrs="override").merge(law)
    online = np.nan if limit is None else limit.values[-1]
    result = result.assign_coords(batching=np.array(list(known), dtype=object))
    return worded(result.assign(online=online).transpose("batching", "steps", "observable", ...), _WORDS)


def _with_batching(group: xr.Dataset) -> xr.Dataset:
    return group if "batching" in group.dims else group.expand_dims(batching=[group.attrs["batching"]])


def _curves(theory: xr.Dataset) -> dict[int, _Curve]:
    """By steps, of those that are whole multiples of the fewest beyond one step: these have times in common."""
    numbers = [int(steps) for steps in theory.steps.values if steps > 1]
    if not numbers:
        return {}
    fewest = min(numbers)

    def curve(steps: int) -> _Curve:
        places = {"iteration": np.arange(1, fewest + 1) * (steps // fewest)}
        here = theory.sel(steps=steps).isel(places)
        return _Curve(here[DECIDING].values, here[f"{DECIDING}_stderr"].values)

    return {steps: curve(steps) for steps in numbers if steps % fewest == 0}


def _online(simulation: xr.Dataset, theory: xr.Dataset) -> _Curve:
    """The online limit of the store's problem, at the times of its curves."""
    fewest = min(int(steps) for steps in theory.steps.values if steps > 1)
    known = {name: theory.attrs[name] for name in DEFAULTS if name in theory.attrs}
    sizes = {"n": int(simulation.n.values[-1]), "d": int(features_of(simulation.isel(n=-1)))}
    problem = Problem.from_mapping({**known, **sizes, "steps": fewest, "batching": "one_pass"})
    limit = online_limit(problem, **LIMIT).isel(iteration=slice(1, None))
    return _Curve(limit[DECIDING].values, limit[f"{DECIDING}_stderr"].values)


def _references(curves: dict[int, _Curve], limit: _Curve | None) -> dict[int, _Curve]:
    if limit is not None:
        return dict.fromkeys(curves, limit)
    return {steps: curves[2 * steps] for steps in curves if 2 * steps in curves}


def _gap(curve: _Curve, reference: _Curve) -> tuple[float, float]:
    """Root-mean-square difference and its standard error; what the solvers' errors add to the square is taken off."""
    variance = np.mean(curve.errors**2 + reference.errors**2)
    square = np.mean((curve.values - reference.values) ** 2) - variance
    return float(np.sqrt(max(square, 0.0))), float(np.sqrt(variance))


def _law(steps: list[int], gaps: dict[int, tuple[float, float]]) -> xr.Dataset:
    """Gaps and the exponent of the steps in them, by weighted least squares of logarithms."""
    gap, error = (np.array([gaps.get(number, (np.nan, np.nan))[part] for number in steps]) for part in (0, 1))
    resolved = gap > RESOLVED * error
    number, spread = np.array(steps, float)[resolved], error[resolved] / gap[resolved]
    late = np.arange(len(number)) >= larger_half(len(number))
    line = np.stack([np.log(number), np.ones(len(number))], 1)
    once, root, both = (
        np.column_stack([line, *(number**power for power in powers)]) for powers in ([-1.0], [-0.5], [-1.0, -0.5])
    )
    every = np.ones(len(number), bool)
    fits = ((line, every), (line, late), (once, every), (root, every), (both, every))
    whole, larger, corrected, rooted, twice = (
        _slope(columns[used], gap[resolved][used], spread[used]) for columns, used in fits
    )
    # What a line misses is in its interval already; between two fits to the same numbers it is their difference.
    moved = corrected.value - whole.value
    reach = np.sqrt(max((corrected.high - corrected.value) ** 2 - (whole.high - whole.value) ** 2, 0.0))
    exponents = Exponents(whole, larger, corrected, rooted, twice, Interval(moved, moved - reach, moved + reach), 1.0)
    return xr.Dataset(
        {"gap": ("steps", gap), "gap_stderr": ("steps", error), "resolved": ("steps", resolved)},
        coords={"steps": steps},
    ).assign(exponents.variables("gap_exponent") | {"gap_larger_from": number[late].min(initial=np.inf)})


def _slope(columns: np.ndarray, gap: np.ndarray, spread: np.ndarray) -> Interval:
    """First coefficient of a weighted fit to the logarithm; NaN with fewer points than have an exponent."""
    if len(gap) < max(LEAST_RESOLVED, columns.shape[1]):
        return Interval(np.nan, np.nan, np.nan)
    weighted, y = columns / spread[:, None], np.log(gap) / spread
    covariance = np.linalg.inv(weighted.T @ weighted)
    found = covariance @ weighted.T @ y
    misfit = np.sum((y - weighted @ found) ** 2) / max(len(gap) - columns.shape[1], 1)
    # The line is one of small batches only: what it misses elsewhere is an error too.
    reach = normal_quantile(0.975) * np.sqrt(max(misfit, 1.0) * covariance[0, 0])
    return Interval(found[0], found[0] - reach, found[0] + reach)


def _runs(simulation: xr.Dataset, theory: xr.Dataset, steps: int, draws: int, seed: int) -> xr.Dataset:
    """How runs of so many steps approach their theory, and where both end."""
    here, there = (
        group.sel(steps=steps, drop=True).isel(iteration=slice(0, steps + 1)) for group in (simulation, theory)
    )
    found = rates_along(here, there, ["batching"], observables=OBSERVABLES, draws=draws, seed=seed)
    ends = {}
    for name in OBSERVABLES:
        end, predicted = here[name].isel(n=-1, iteration=-1), there.isel(n=-1, iteration=-1)
        ends[name] = {
            "final": predicted[name],
            "final_stderr": predicted[f"{name}_stderr"],
            "final_run": end.mean("replicate"),
            "final_run_stderr": end.std("replicate", ddof=1) / np.sqrt(end.sizes["replicate"]),
        }
    joined = {
        what: xr.concat(
            [ends[name][what].drop_vars(("n", "d", "iteration"), errors="ignore") for name in OBSERVABLES],
            found.observable,
        )
        for what in ends[DECIDING]
    }
    distance = np.sqrt((found.distance.isel(n=-1, drop=True) ** 2).mean("iteration"))
    return found.drop_dims("iteration").assign(run_distance=distance, **joined)
