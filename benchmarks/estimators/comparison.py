"""The comparison: ways to know a test error from the rows that train, on Gaussian data and on real tables.

All ways but ridge regression and scikit-learn's networks judge the same descents, those of the estimators with a fixed
number of steps, at every iteration: `Descent`. A way stops where what it says is least, and chooses the model for which
that is least. What it says there over what is true, on rows that trained nothing, is its error; what is true there over
the least that is true at any iteration, or of any model, its regret.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf
from threadpoolctl import threadpool_limits

import sedyn
from benchmarks.estimators.descent import Descent
from benchmarks.estimators.held_out import folds, holdout
from benchmarks.estimators.iterative_approximate import iterative_approximate
from benchmarks.estimators.memory_perturbation import memory_perturbation
from benchmarks.estimators.multilayer_perceptron import early_stopped
from benchmarks.estimators.ridge import ridge_paths
from benchmarks.estimators.tan_bellec import r_hat, r_tilde
from benchmarks.scores import error_of
from benchmarks.tables import TABLES, Split, split
from sedyn.estimators import base

__all__ = ["MODELS", "Judged", "Rows", "all_rows", "judge", "run"]

STEPS = 50
PLAIN = {"weight_decay": 0.0, "random_state": 0}
"""Options of all models: descent from outputs that are zero."""
MODELS: dict[str, dict[str, int]] = {
    "linear": {"depth": 1},
    "network": {"width": 2, "depth": 2},
    "deep network": {"width": 2, "depth": 3},
}
"""Chosen among; errors and regrets of stopping are of the second, and of the first for ways that know linear models."""
GAUSSIAN = {200: 12, 400: 6, 800: 3}
"""Numbers of samples, twice those of features, and how many data sets of each."""
OURS = ("ours", "leave-one-out")
"""What the names of ways begin with that are options of our estimators."""
FRESH = 4000
MOST_ROWS = 300
"""Of a table that train, so that leaving each out in turn, with its gradients or its retraining, takes seconds."""


class Rows(NamedTuple):
    """Rows that differ from each other, and what is known of how they were made.

    Attributes
    ----------
    kind : {'regression', 'classes'}
    data : Split
    independent : bool
        Whether features are known to be independent.
    """

    kind: str
    data: Split
    independent: bool

    @property
    def estimator(self) -> type:
        """Ours for this kind of targets."""
        return sedyn.NetworkRegressor if self.kind == "regression" else sedyn.NetworkClassifier


class Judged(NamedTuple):
    """What one way said of one model.

    Attributes
    ----------
    found : float
        At the iteration that it stops at.
    true : float
        There.
    seconds : float
        Of a processor, that knowing it took, the model's own training included.
    """

    found: float
    true: float
    seconds: float


def gaussian(n: int, seed: int) -> Split:
    """A single-index model with noise, half as many features as samples."""
    rng = np.random.default_rng([seed, n])
    X = rng.standard_normal((n + FRESH, n // 2))
    y = np.tanh(2 * X[:, 0]) + 0.3 * rng.standard_normal(len(X))
    return Split(X[:n], y[:n], X[n:], y[n:])


def distinct(data: Split) -> Split:
    """Each row that trains once, of the first ones: no way that is compared here means copies to count."""
    data = data._replace(X=data.X[:MOST_ROWS], y=data.y[:MOST_ROWS])
    rows = np.column_stack([data.X, np.unique(data.y, return_inverse=True)[1]])
    kept = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return data._replace(X=data.X[kept], y=data.y[kept])


def all_rows(splits: int, tables: dict = TABLES) -> Iterator[tuple[str, int, Callable[[], Rows]]]:
    """Name, seed and maker of all data sets, the first split of each table first."""
    for n, repeats in GAUSSIAN.items():
        for seed in range(repeats):
            yield f"n = {n}", seed, lambda n=n, seed=seed: Rows("regression", gaussian(n, seed), True)
    for seed in range(splits):
        for name, table in tables.items():
            yield (
                name,
                seed,
                lambda table=table, seed=seed: Rows(table.kind, distinct(split(table, table.read(), seed)), False),
            )


def judge(
    rows: Rows, options: dict[str, int], steps: int = STEPS, known: dict[str, Judged] | None = None
) -> dict[str, Any]:
    """Let every way judge one model on one data set.

    Parameters
    ----------
    rows : Rows
    options : dict
        Of the model.
    steps : int, optional
    known : dict, optional
        What ways said that need not be asked again.

    Returns
    -------
    dict
        ``least``, the least true error of any iteration; ``descent``, the seconds of a fit that knows nothing; and
        ``ways``, a `Judged` each.
    """
    model = rows.estimator(**options, **PLAIN, steps=steps)
    X, y, fresh_X, fresh_y = rows.data
    _, seconds = timed(lambda: clone(model).set_params(estimate=False, early_stopping=False).fit(X, y))
    descent = Descent.of(model, X, y)
    true = descent.errors(descent.iterates(), fresh_X, fresh_y)
    ways = dict(known or {})
    for name, way in ways_of(descent, rows).items():
        if name in ways:
            continue
        found, took = timed(way)
        found = np.where(np.isfinite(found), found, np.inf)
        best = int(found.argmin())
        # a fit's own estimate comes with the fit; all others take a fit besides
        ways[name] = Judged(float(found[best]), float(true[best]), took + seconds * (not name.startswith("ours")))
    return {"least": float(true.min()), "descent": seconds, "ways": ways}


def ways_of(descent: Descent, rows: Rows) -> dict[str, Callable[[], np.ndarray]]:
    """Ways that know the model, by name: each gives what it says at every iteration."""
    X, y, *_ = rows.data

    def ours(**options: Any) -> np.ndarray:
        fitted = type(descent.model)(**{**descent.model.get_params(), "estimate": True, **options}).fit(X, y)
        return fitted.history_.estimated_test_error.values

    def one_run() -> np.ndarray:
        with mock.patch.object(base, "AFFORDABLE_SECONDS", 0.0):
            return ours(early_stopping=True)

    ways = {
        "ours": lambda: ours(early_stopping=True),
        "ours, one run": one_run,
        "leave-one-out": lambda: ours(estimate="exact", early_stopping=True),
        "20 % holdout": lambda: holdout(descent, X, y),
        "5-fold": lambda: folds(descent, X, y),
        "iterative approximate": lambda: iterative_approximate(descent),
    }
    if descent.problem.outputs == 1:
        ways["memory perturbation"] = lambda: memory_perturbation(descent)
    if descent.problem.depth == 1 and rows.kind == "regression":
        ways["r-hat"] = lambda: risk(descent, r_hat)
        sigma = np.eye(descent.problem.d) if rows.independent else ledoit_wolf(descent.features)[0]
        ways["r-tilde"] = lambda: risk(descent, lambda *known: r_tilde(*known, sigma))
    return ways


def risk(descent: Descent, estimate: Callable[..., np.ndarray]) -> np.ndarray:
    """An estimate of Tan and Bellec along a descent with squared loss."""
    residuals = np.stack(
        [(descent.labels - descent.outputs(weights, descent.features))[0] for weights in descent.iterates()]
    )
    slopes = np.ones_like(residuals)
    return descent.squared_scale * estimate(descent.features, residuals, slopes, residuals, descent.updates)


def others(rows: Rows, seed: int) -> dict[str, Any]:
    """Models with a way that they come with, ours with its defaults among them: as of `judge`, of one way each."""
    X, y, fresh_X, fresh_y = rows.data
    fitted, seconds = timed(lambda: rows.estimator(random_state=0).fit(X, y))
    true = error_of(fitted, fresh_X, fresh_y, rows.kind)
    way = Judged(fitted.estimated_test_error_, true, seconds)
    found = {"network with its defaults": {"least": true, "ways": {"ours": way}}}
    classes = rows.kind == "classes"
    stopped, seconds = timed(lambda: early_stopped(X, y, fresh_X, fresh_y, classes=classes, seed=seed))
    found["scikit-learn's MLP"] = {"least": stopped.true, "ways": {"early stopping": Judged(*stopped, seconds)}}
    if not classes:
        (said, true), seconds = timed(lambda: ridge_paths(X, y, fresh_X, fresh_y))
        best = int(said.argmin())
        way = Judged(float(said[best]), float(true[best]), seconds)
        found["ridge"] = {"least": float(true.min()), "ways": {"generalized cross-validation": way}}
    return found


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the processor's seconds that it takes."""
    start = time.process_time()
    return work(), time.process_time() - start


def run(out: Path, splits: int, *, again: bool = False) -> dict[str, dict[str, Any]]:
    """All that is missing in the file of results, which is written after each data set.

    Parameters
    ----------
    out : Path
    splits : int
        Of each table.
    again : bool, optional
        Whether to ask those ways again that our own estimate makes, and keep what the others said: they judge descents
        that do not change with it.
    """
    known = json.loads(out.read_text()) if out.exists() else {}
    old = {key: known.pop(key) for key in [*known]} if again else {}
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")
        for options in MODELS.values():  # what is compiled on first use is not what anything costs
            judge(Rows("regression", gaussian(20, 0), True), options, steps=2)
        for name, seed, make in all_rows(splits):
            if (key := f"{name}|{seed}") in known:
                continue
            rows = make()
            found = others(rows, seed)
            for model, options in MODELS.items():
                ways = old[key][model]["ways"] if key in old else {}
                kept = {way: judged for way, judged in ways.items() if not way.startswith(OURS)}
                found[model] = judge(rows, options, known=kept)
            known[key] = found
            out.write_text(json.dumps(old | known))
    return known
