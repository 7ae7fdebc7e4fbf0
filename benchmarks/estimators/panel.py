"""The panel: estimates at other rates, widths, depths and shapes of a table than those of the defaults.

A split of a table is fitted at three learning rates by one network of four, until the estimate has turned, as the
defaults do; which network, and how many samples there are for each feature, changes from split to split, so that four
splits of all tables have every network on every table. Features and samples are drawn at random to make the shape, 300
samples at most. A cell is judged twice: where the estimate is least, which is what a user gets, and at the last step
that was tried, which is 150 or more beyond it unless steps ran out.

Exact leave-one-out sees the same samples: what an estimate is off from it is the estimate's own error. The truth is
known on finitely many fresh samples, and leave-one-out itself is off from it by the chance of those that train.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

import sedyn
from benchmarks.scores import error_of, errors_of
from benchmarks.tables import TABLES, Split, Table, split
from sedyn.descent.leave_one_out import seconds_for
from sedyn.estimators import base

__all__ = ["NETWORKS", "RATES", "Cell", "cells_of", "data_of", "measure", "run"]

OPTIONS: dict[str, Any] = {"random_state": 0}
"""Of every network; all else, steps too, is as the defaults have it."""
RATES = {"auto": 1.0, "auto / 3": 1 / 3, "auto x 2": 2.0}
NETWORKS = ({"width": 2, "depth": 2}, {"width": 8, "depth": 3}, {"width": 8, "depth": 2}, {"width": 2, "depth": 3})
ASPECT_RATIOS = (0.5, 1.0, 2.0, 4.0, 8.0)
FEWEST, MOST = 40, 300
"""Samples that train."""
MOST_FRESH = 2000
FOLDS = 5
AFFORDABLE_SECONDS = 8.0
"""What exact leave-one-out may take, as it is predicted, to be run beside an estimate that does without."""


class Cell(NamedTuple):
    """A network on a split of a table.

    Attributes
    ----------
    rate : str
        One of `RATES`.
    network : dict
        One of `NETWORKS`.
    """

    rate: str
    network: dict[str, int]

    def __str__(self) -> str:
        return f"{self.rate}, width {self.network['width']}, depth {self.network['depth']}"


def cells_of(number: int, seed: int) -> Iterator[Cell]:
    """Cells of a split of the table of this number, the automatic rate first."""
    network = NETWORKS[(number // len(ASPECT_RATIOS) + seed) % len(NETWORKS)]
    return (Cell(rate, network) for rate in RATES)


def data_of(table: Table, number: int, seed: int) -> Split:
    """Some samples of some features, as many for each as this split of the table of this number has."""
    X, y = table.read()
    rng = np.random.default_rng([seed, 20])
    most = min(MOST, len(y) * 3 // 4)
    aspect_ratio = ASPECT_RATIOS[(number + seed) % len(ASPECT_RATIOS)]
    count = min(X.shape[1], max(1, round(most / aspect_ratio)))
    kept = np.sort(rng.choice(X.shape[1], count, replace=False))
    shaped = table._replace(aspect_ratio=min(most, max(FEWEST, aspect_ratio * count)) / count)
    found = split(shaped, (X[:, kept], y), seed)
    return found._replace(fresh_X=found.fresh_X[:MOST_FRESH], fresh_y=found.fresh_y[:MOST_FRESH])


class _Fitted(NamedTuple):
    model: Any
    seconds: float

    @classmethod
    def of(cls, model: Any, data: Split, *, one_run: bool = False, **options: Any) -> _Fitted:
        model, before = clone(model).set_params(**options), base.AFFORDABLE_SECONDS
        start = time.process_time()
        with mock.patch.object(base, "AFFORDABLE_SECONDS", 0.0 if one_run else before):
            model.fit(data.X, data.y)
        return cls(model, time.process_time() - start)

    def said(self, data: Split, kind: str, path: np.ndarray | None) -> dict[str, Any]:
        """What it says of its own test error, what is true, and what leave-one-out says of the same iteration."""
        model = self.model
        each = errors_of(model, data.fresh_X, data.fresh_y, kind)
        return {
            "found": model.estimated_test_error_,
            "stderr": model.estimated_test_error_stderr_,
            "gained": model.selection_bias_,
            "exact": model.history_.attrs["estimate"] == "exact",
            "iteration": model.best_iteration_,
            "left_out": float("nan") if path is None else float(path[model.best_iteration_]),
            "true": float(each.mean()),
            "scatter": float(each.std(ddof=1) / np.sqrt(each.size)),
            "of_one_row": float(each.max() / each.sum()),
            "warnings": model.history_.attrs["warnings"],
            "seconds": self.seconds,
        }


def measure(table: Table, data: Split, network: dict[str, int], rate: float | str) -> tuple[dict[str, Any], float]:
    """What is said and true of one cell, where it stops and at its last step, and the rate that it was trained with.

    Parameters
    ----------
    table : Table
    data : Split
    network : dict
        Of `NETWORKS`.
    rate : float or 'auto'
    """
    kind = sedyn.NetworkRegressor if table.kind == "regression" else sedyn.NetworkClassifier
    model = kind(**network, **OPTIONS, learning_rate=rate)
    ways = {"one run": _Fitted.of(model, data, one_run=True)}
    ways["ours"] = _Fitted.of(model, data) if _takes_exact(model, data) else ways["one run"]
    problem, steps = max(
        ((one.model.problem_, one.model.problem_.steps) for one in ways.values()), key=lambda one: one[1]
    )
    through = {"steps": steps, "early_stopping": False}
    plain = _Fitted.of(model, data, estimate=False, **through)
    ends, exact, path = {"one run": _Fitted.of(model, data, one_run=True, **through)}, None, None
    if seconds_for(problem) < AFFORDABLE_SECONDS:
        exact = _Fitted.of(model, data, estimate="exact", **through)
        path = exact.model.history_.estimated_test_error.values
    ends["ours"] = ends["one run"]
    if ways["ours"] is not ways["one run"]:
        ends["ours"] = exact or _Fitted.of(model, data, **through)
    found: dict[str, Any] = {"n": problem.n, "d": problem.d, "seconds": plain.seconds, "steps": steps}
    for where, fitted in (("stop", ways), ("end", ends)):
        folds, seconds = _folds(table, data, fitted["ours"].model)
        found[where] = {name: one.said(data, table.kind, path) for name, one in fitted.items()}
        found[where] |= {"folds": folds, "folds_seconds": seconds}
    return found, problem.learning_rate


def _takes_exact(model: Any, data: Split) -> bool:
    """Whether the estimator with its defaults would run leave-one-out here."""
    few = clone(model).set_params(max_steps=1, steps=1, early_stopping=False)
    return few.fit(data.X, data.y).history_.attrs["estimate"] == "exact"


def _folds(table: Table, data: Split, model: Any) -> tuple[float, float]:
    """What 5-fold cross-validation says of as many steps, and the seconds that it takes."""
    fixed = clone(model).set_params(steps=max(1, model.best_iteration_), early_stopping=False, estimate=False)
    parts = (KFold if table.kind == "regression" else StratifiedKFold)(FOLDS, shuffle=True, random_state=0)
    start, total = time.process_time(), 0.0
    for kept, held in parts.split(data.X, data.y):
        fitted = clone(fixed).fit(data.X[kept], data.y[kept])
        total += held.size * error_of(fitted, data.X[held], data.y[held], table.kind)
    return total / len(data.y), time.process_time() - start


def run(out: Path, splits: range, below: float = np.inf) -> dict[str, dict[str, Any]]:
    """All that is missing in the file of results, which is written after each split of a table.

    Parameters
    ----------
    out : Path
    splits : range
        Of each table.
    below : float, optional
        Ratio n/d that a split of a table has less than, or is left out.
    """
    known = json.loads(out.read_text()) if out.exists() else {}
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        for seed in splits:
            for number, (name, table) in enumerate(TABLES.items()):
                cells = {f"{name}|{seed}|{cell}": cell for cell in cells_of(number, seed)}
                if all(key in known for key in cells):
                    continue
                data, automatic = data_of(table, number, seed), float("nan")
                if len(data.X) >= below * data.X.shape[1]:
                    continue
                for key, cell in cells.items():
                    rate = "auto" if cell.rate == "auto" else automatic * RATES[cell.rate]
                    known[key], taken = measure(table, data, cell.network, rate)
                    automatic = taken if cell.rate == "auto" else automatic
                out.write_text(json.dumps(known))
    return known
