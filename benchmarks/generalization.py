"""The estimate of the test error from training data alone: what it costs, how close it is, what it is worth.

``python benchmarks/generalization.py`` measures the cost. Named parts measure the rest, in minutes each::

    python benchmarks/generalization.py cost fits consistency holdout tuning real
"""

from __future__ import annotations

import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import xarray as xr
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.metrics import log_loss
from sklearn.preprocessing import PolynomialFeatures
from threadpoolctl import threadpool_limits

import sedyn
from analysis.statistics.generalization_estimate import generalization_estimate
from analysis.statistics.selection import compare
from sedyn.descent import dynamics
from sedyn.descent.inputs import Data
from sedyn.descent.readout import Quadrature, draw_quadrature, labels_of_points, quadrature_scores, readout_words
from sedyn.designs.dense import DenseDesign
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.evaluation import mean_scores
from sedyn.model.label_laws import DrawnLabels
from sedyn.model.labels import labels_of
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.seeds import single_streams
from sedyn.model.update import updates_of

FOLDS = 5  # a fifth of the rows is the holdout, and each fold of the cross-validation


# --- cost ----------------------------------------------------------------------------------------------------------


def cost(repeats: int = 3) -> None:
    """Time and memory of the estimate beside the descent's own."""
    print("n      d      T   width  descent   estimate   ratio   estimate's memory   bytes / (n T q^2)")
    for n, d, steps, width in ((2000, 2000, 30, 4), (4000, 2000, 30, 4), (2000, 2000, 60, 4), (2000, 2000, 30, 8)):
        problem = sedyn.Problem(n=n, d=d, width=width, depth=2, steps=steps, noise=0.5)
        data, _ = draw(problem, np.random.default_rng(0))
        without = partial(_run, problem, data._replace(estimate=None), estimate=False)
        estimating = partial(_run, problem, data, estimate=True)
        alone, both = (min(_seconds(run) for _ in range(repeats)) for run in (without, estimating))
        memory = _peak(estimating) - _peak(without)
        per = memory / (n * steps * width**2)
        extra = both - alone
        print(f"{n:<6d} {d:<6d} {steps:<3d} {width:<5d} {alone:7.3f} s  {extra:7.3f} s {extra / alone:7.2f} "
              f"{memory / 2**20:12.1f} MiB {per:16.1f}", flush=True)  # fmt: skip
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 2000))
    y = np.tanh(X[:, 0]) + 0.5 * rng.standard_normal(2000)
    for spectrum in ("identity", "ledoit_wolf"):
        model = sedyn.NetworkRegressor(steps=30, spectrum=spectrum, random_state=0)
        seconds = _seconds(partial(model.fit, X, y))
        print(f"NetworkRegressor.fit, n = d = 2000, 30 steps, spectrum={spectrum}: {seconds:.2f} s", flush=True)


def cost_of_fits(repeats: int = 15) -> None:
    """Processor time of the estimate that fits have by default, in descents without it, which take turns with it.

    Times are the least. Their ratio is the median over pairs of fits that follow each other, with its quartiles, which
    other work on the machine moves less than a ratio of two that may be minutes apart.
    """
    print("n      width  depth  T    descent    estimate   in descents (quartiles)")
    cells = [(500, 8, 2, steps) for steps in (50, 100, 200, 400)]
    cells += [(n, width, 2, 200) for n in (200, 500, 2000) for width in (2, 4, 8) if (n, width) != (500, 8)]
    cells += [(n, width, 3, 200) for n in (200, 500, 2000) for width in (2, 4, 8) if n == 500 or width == 8]
    for n, width, depth, steps in cells:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, n // 5))
        y = np.tanh(1.5 * X[:, 0]) + 0.5 * rng.standard_normal(n)
        options = {"width": width, "depth": depth, "steps": steps, "weight_decay": 0.0, "early_stopping": False}
        found: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(repeats):
            for estimate in (False, True):
                model = sedyn.NetworkRegressor(estimate=estimate, random_state=0, **options)
                # Not exact leave-one-out, which small tables would have.
                with mock.patch("sedyn.estimators.base.AFFORDABLE_SECONDS", 0.0), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    start = time.process_time()
                    model.fit(X, y)
                found[estimate].append(time.process_time() - start)
        alone, both = np.array(found[False]), np.array(found[True])
        low, middle, high = np.quantile(both / alone - 1, [0.25, 0.5, 0.75])
        print(f"{n:<6d} {width:<6d} {depth:<6d} {steps:<4d} {1e3 * alone.min():6.0f} ms  "
              f"{1e3 * (both.min() - alone.min()):6.0f} ms {middle:8.2f} ({low:.2f} to {high:.2f})",
              flush=True)  # fmt: skip


def _run(problem: sedyn.Problem, data: Data, estimate: bool) -> None:
    for state in descend(problem, data):
        if estimate:
            dynamics.scores(problem, data, state)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak(work: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# --- training on given rows ----------------------------------------------------------------------------------------


def draw(problem: sedyn.Problem, rng: np.random.Generator) -> tuple[Data, np.ndarray]:
    """A Gaussian data set with a first layer to start from, and its signals."""
    n, d = problem.n, problem.d
    signals = rng.standard_normal((problem.signals, d))
    signals *= np.sqrt(d) / np.linalg.norm(signals, axis=1, keepdims=True)
    design = DenseDesign(rng.standard_normal((n, d)) / np.sqrt(d))
    y = labels_of(problem, design.matmul(signals), problem.noise * rng.standard_normal((1, n)))
    start = rng.standard_normal((problem.width, d))
    estimate = BySpectrum.begin(problem, gauss_quadrature(np.ones(d), 1), start)
    return Data(design, np.ones(d), y, start, initial_deep_weights(problem), estimate=estimate), signals


def descend(problem: sedyn.Problem, data: Data) -> Iterator[dynamics.State]:
    """States of a run."""
    return states(dynamics, problem, data, updates_of(problem))


# --- consistency ---------------------------------------------------------------------------------------------------

BASE = sedyn.Problem(n=512, d=256, width=3, depth=3, steps=12, noise=0.3)
VARIANTS: dict[str, dict[str, Any]] = {
    "depth 3, tanh, gaussian": {},
    "depth 2": {"depth": 2},
    "depth 4": {"depth": 4},
    "erf": {"activation": "erf"},
    "gelu": {"activation": "gelu"},
    "rademacher": {"features": "rademacher"},
    "laplace": {"features": "laplace"},
    "sparse(0.1)": {"features": "sparse(0.1)"},
    "student_t(5)": {"features": "student_t(5)"},
    "power_law(0.25)": {"covariance": "power_law(0.25)"},
    "power_law(0.6)": {"covariance": "power_law(0.6)", "learning_rate": 0.4},
    "logistic": {"loss": "logistic", "labels": "binary", "learning_rate": 2.0},
    "huber": {"loss": "huber"},
    "momentum 0.7": {"momentum": 0.7, "learning_rate": 0.4},
    "weight decay 0.1": {"weight_decay": 0.1},
    "SGD, batches of a fifth": {"batch_fraction": 0.2},
    "SGD, shuffled fourths": {"batch_fraction": 0.25, "batching": "shuffle"},
}


def consistent(sizes: Sequence[int] = (256, 512, 1024, 2048), replicates: int = 64) -> None:
    """Exponent in n of the root mean square of estimated minus true test error, one setting at a time."""
    print(f"n/d = {BASE.aspect_ratio}, {replicates} replicates, n = {', '.join(map(str, sizes))}; iterations 1 to T")
    print(f"{'setting':<26s} exponent   95% interval        relative error at the least and largest n")
    measured = []
    for name, changes in VARIANTS.items():
        problems = [replace(BASE, n=n, d=int(n / BASE.aspect_ratio), **changes) for n in sizes]
        runs = xr.concat([sedyn.simulate(problem, replicates, device="cpu") for problem in problems], sized(sizes))
        one = generalization_estimate(runs)
        relative = one.relative_rms.isel(iteration=slice(1, None)).mean("iteration").values
        measured.append(runs[["test_error", "test_error_stderr", "estimated_test_error"]])
        print(f"{name:<26s} {_with_interval(one.exponent, one.exponent_low, one.exponent_high)}    "
              f"{relative[0]:6.2%} {relative[-1]:6.2%}", flush=True)  # fmt: skip
    pooled = generalization_estimate(xr.concat(measured, xr.Variable("setting", list(VARIANTS))))
    print("all", _with_interval(pooled.overall_exponent, pooled.overall_exponent_low, pooled.overall_exponent_high))


def sized(sizes: Sequence[int]) -> xr.Variable:
    return xr.Variable("n", list(sizes))


def _with_interval(value: Any, low: Any, high: Any) -> str:
    return f"{float(value):+.3f}   [{float(low):+.3f}, {float(high):+.3f}]"


# --- against holdout and cross-validation --------------------------------------------------------------------------

STOPPING = sedyn.Problem(n=1000, d=1000, width=4, depth=2, noise=0.5, steps=30, learning_rate=0.8)
CHOICES: dict[str, Sequence[Any]] = {
    "learning_rate": (0.2, 0.8, 2.0),
    "width": (2, 6),
    "depth": (2, 3),
    "weight_decay": (0.0, 0.1),
}


def split_runs(
    problem: sedyn.Problem, replicates: int, choices: Mapping[str, Sequence[Any]] | None = None, seed: int = 0
) -> xr.Dataset:
    """Train every candidate on the same data: on all rows, and on all but each fold.

    Parameters
    ----------
    problem : Problem
        Data, and training but for the choices. Gaussian features.
    replicates : int
        Data sets.
    choices : mapping of str to sequence, optional
        Fields of the problem, and the values that make the candidates.
    seed : int, optional

    Returns
    -------
    Dataset
        On (replicate, choices..., iteration), as
        `analysis.statistics.selection.compare` reads it; the holdout is the last fold.
    """
    choices = choices or {}
    names = ("test_error", "estimated_test_error", "holdout_test_error", "holdout_error", "cross_validation_error")
    shape = (replicates, *map(len, choices.values()), problem.steps + 1)
    arrays = {name: np.empty(shape) for name in names}
    for replicate in range(replicates):
        data, signals = draw(problem, np.random.default_rng([seed, replicate]))
        points = points_of(problem, [seed, replicate, 1])
        for index in np.ndindex(shape[1:-1]):
            picked = {name: values[i] for (name, values), i in zip(choices.items(), index, strict=True)}
            curves = _candidate(replace(problem, **picked), data, signals, points, [seed, replicate, 2])
            for name in names:
                arrays[name][(replicate, *index)] = curves[name]
    dims = ("replicate", *choices, "iteration")
    return xr.Dataset(
        {name: (dims, values) for name, values in arrays.items()},
        coords={name: list(values) for name, values in choices.items()},
    )


def points_of(problem: sedyn.Problem, seed: list[int]) -> Quadrature:
    """Points for the test errors of one data set."""
    return draw_quadrature([problem], readout_words(problem, single_streams(f"benchmark {seed[1:]}", seed[0]).readout))


def _candidate(problem, data, signals, points, seed) -> dict[str, np.ndarray]:
    """Error curves of one candidate on one data set."""
    n, d = problem.n, problem.d
    start = np.random.default_rng(seed).standard_normal((problem.width, d))
    data = data._replace(start=start, deep_weights=initial_deep_weights(problem))
    # A candidate of another width sees as many signals, in other dimensions of the points.
    points = points if points.normals.shape[-2] == problem.width + 1 else points_of(problem, seed)
    labels = labels_of_points([problem], points, (signals @ signals.T / d)[None])

    def error(state: dynamics.State) -> float:
        directions = np.concatenate([signals, state.first_weights])
        deep = tuple(layer[None] for layer in state.deep_weights)
        return float(quadrature_scores(problem, points, labels, (directions @ directions.T / d)[None], deep)[0][0, 0])

    whole = [
        (error(state), dynamics.scores(problem, data, state)["estimated_test_error"])
        for state in descend(problem, data)
    ]
    test_error, estimated = np.array(whole).T
    held_errors = []
    for held in np.array_split(np.arange(n), FOLDS):
        kept = np.setdiff1d(np.arange(n), held)
        matrix, y = data.design.matrix, data.labels
        part = data._replace(design=DenseDesign(matrix[kept]), labels=y[:, kept], estimate=None)
        path = list(descend(replace(problem, n=kept.size), part))
        there = DenseDesign(matrix[held])
        held_errors.append(
            [
                mean_scores(problem, there.matmul(at.first_weights), DrawnLabels(y[:, held]), at.deep_weights)[0]
                for at in path
            ]
        )
    return {
        "test_error": test_error,
        "estimated_test_error": estimated,
        "holdout_test_error": np.array([error(state) for state in path]),
        "holdout_error": np.array(held_errors[-1]),
        "cross_validation_error": np.mean(held_errors, axis=0),
    }


def holdout(sizes: Sequence[int] = (1000, 2000, 4000), replicates: int = 30) -> None:
    """Error of the estimate, of a 20% holdout and of 5-fold cross-validation, and what stopping by them costs."""
    print(
        f"n/d = 1, {replicates} replicates; root mean square of estimated minus true test error of the model delivered"
    )
    for n in sizes:
        runs = split_runs(replace(STOPPING, n=n, d=n), replicates)
        measured = compare(runs)
        every = measured.rms.isel(iteration=slice(1, None))
        least = float((every.sel(rule=["holdout", "holdout, refitted"]) / every.sel(rule="estimate")).min())
        print(f"n = {n}: least ratio of the holdout's error to the estimate's, over iterations 1 to T: {least:.2f}")
        print_rules(measured)


def tuned(n: int = 500, replicates: int = 16) -> None:
    """What choosing learning rate, width, depth, weight decay and iteration by each criterion costs."""
    runs = split_runs(replace(STOPPING, n=n, d=n), replicates, CHOICES)
    print(f"n = d = {n}, {replicates} data sets, candidates {' x '.join(CHOICES)} x iteration, all on the same rows")
    print_rules(compare(runs, [*CHOICES, "iteration"]))


def print_rules(measured: xr.Dataset) -> None:
    print(f"  {'rule':<20s} error t=1   t=T/2    t=T      mean bias   regret (standard error)")
    candidates = [dim for dim in measured.rms.dims if dim not in ("rule", "iteration")]
    typical = measured[["rms", "bias"]].median(candidates)  # a candidate that diverges would be the whole mean
    for rule in measured.rule.values:
        rms, bias = (typical[name].sel(rule=rule).values for name in ("rms", "bias"))
        regret = measured[["regret", "regret_stderr"]].sel(rule=rule)
        print(f"  {rule:<20s} {rms[1]:.4f}  {rms[rms.size // 2]:.4f}  {rms[-1]:.4f}   {bias[1:].mean():+.4f}     "
              f"{float(regret.regret):.4f} ({float(regret.regret_stderr):.4f})", flush=True)  # fmt: skip


# --- real data -----------------------------------------------------------------------------------------------------


# Iterations at which the test error is looked at for the least one.
ITERATIONS = (1, 2, 3, 5, 8, 12, 18, 26, 36, 50)


class RealTable(NamedTuple):
    """Features, responses, the size of a training split, and how it is learned."""

    X: np.ndarray
    y: np.ndarray
    rows: int
    model: Any


def tables() -> Iterator[tuple[str, RealTable]]:
    """The regression and binary tables that scikit-learn ships, with training rows a little more than the features."""
    X, y = load_diabetes(return_X_y=True)
    regressor, classifier = sedyn.NetworkRegressor(learning_rate=0.3), sedyn.NetworkClassifier(learning_rate=0.4)
    yield "diabetes", RealTable(X, y, 30, regressor)
    pairs = PolynomialFeatures(2, include_bias=False).fit_transform(X)
    yield "diabetes, pairwise", RealTable(pairs, y, 130, regressor)
    X, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer", RealTable(X, y, 60, classifier)
    X, y = load_digits(return_X_y=True)
    for one, two in ((3, 8), (1, 8), (3, 9), (4, 9)):
        chosen = (y == one) | (y == two)
        yield f"digits {one}/{two}", RealTable(X[chosen], y[chosen], 130, classifier)


def real(splits: int = 30) -> None:
    """Estimate against the test split at the iteration stopped at, over repeated random splits."""
    print(f"{splits} random splits; errors over the response's variance, or twice the logistic loss; the minimum's "
          "selection is part of the estimate")  # fmt: skip
    print(f"{'table':<20s} rows  d   spectrum      test    estimate  rms    regret   last    iteration")
    for name, table in tables():
        for spectrum in ("ledoit_wolf", "identity"):
            rows = np.array([_split(table, spectrum, split) for split in range(splits)])
            test, estimate, best, last, iteration, columns = rows.T
            rms = np.sqrt(np.mean((estimate - test) ** 2))
            print(f"{name:<20s} {table.rows:<5d} {columns.mean():<3.0f} {spectrum:<12s} {test.mean():7.3f} "
                  f"{estimate.mean():8.3f} {rms:8.3f} {(test - best).mean():7.3f} {(last - best).mean():7.3f} "
                  f"{iteration.mean():7.1f}", flush=True)  # fmt: skip


def _split(table: RealTable, spectrum: str, split: int) -> tuple[float, ...]:
    """One split: test error, its estimate, the least and last test errors, the iteration stopped at, the features."""
    order = np.random.default_rng(split).permutation(table.y.size)
    train, test = order[: table.rows], order[table.rows :]
    model = clone(table.model).set_params(spectrum=spectrum, random_state=split)

    def fitted(**options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # pixels that are blank in all training rows
            return clone(model).set_params(**options).fit(table.X[train], table.y[train])

    stopped = fitted()
    errors = [_error(fitted(steps=steps, early_stopping=False), table, test) for steps in ITERATIONS]
    reached = _error(stopped, table, test)
    scale = _scale(stopped, table)
    estimate = float(stopped.history_.estimated_test_error[stopped.best_iteration_])
    values = (reached, estimate, min([reached, *errors]), errors[-1])
    return (*(value / scale for value in values), stopped.best_iteration_, stopped.kept_features_.size)


def _error(model: Any, table: RealTable, rows: np.ndarray) -> float:
    """Mean squared error, or twice the logistic loss, as in the history."""
    if isinstance(model, sedyn.NetworkRegressor):
        return float(np.mean((model.predict(table.X[rows]) - table.y[rows]) ** 2))
    return 2 * log_loss(table.y[rows], model.predict_proba(table.X[rows]))


def _scale(model: Any, table: RealTable) -> float:
    return float(table.y.var()) if isinstance(model, sedyn.NetworkRegressor) else 1.0


PARTS: dict[str, Callable[[], None]] = {
    "cost": cost,
    "fits": cost_of_fits,
    "consistency": consistent,
    "holdout": holdout,
    "tuning": tuned,
    "real": real,
}


def main(names: Sequence[str]) -> None:
    for name in names:
        print(f"--- {name}", flush=True)
        start = time.perf_counter()
        PARTS[name]()
        print(f"    {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    with threadpool_limits(1):
        main(sys.argv[1:] or ["cost"])
