"""The estimators on real tables: the model against linear ones, its estimate against other ways to know a test error.

``python -m benchmarks.estimate [--splits 3] [--first 0] [--out results.json]`` runs what is missing in the file of
results, table by table, and prints the tables of `benchmarks/results`. The panel is `benchmarks/tables.py`. With
``--comparison`` it does the same with published ways to know a test error beside ours, see
`benchmarks.estimators.comparison`; with ``--panel`` at other rates, widths and depths, see
`benchmarks.estimators.panel`.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.linear_model import LogisticRegressionCV, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import sedyn
from benchmarks.estimators import comparison, panel, panel_report, report
from benchmarks.scores import error_of, errors_of
from benchmarks.tables import TABLES, Split, Table, split

CLASSES_OF_ASPECT = ((0, 0.9), (0.9, 3), (3, np.inf))
FOLDS = 5
COVERAGE, NORMAL = 0.9, 1.645
"""Of stated errors, and the standard errors that it is of a normal law."""


def model_of(table: Table) -> Any:
    """The network with its defaults."""
    return (sedyn.NetworkRegressor if table.kind == "regression" else sedyn.NetworkClassifier)(random_state=0)


def linear_of(table: Table) -> Any:
    """The linear model of choice, its penalty by cross-validation."""
    if table.kind == "regression":
        return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 4, 29)))
    return make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=10, max_iter=1000, scoring="neg_log_loss", cv=5))


def validated(table: Table, data: Split, model: Any) -> dict[str, float]:
    """What a holdout and cross-validation say of the model that was chosen: as many steps, other rows."""
    fixed = clone(model).set_params(steps=max(1, model.best_iteration_), early_stopping=False)
    X, y, kind = data.X, data.y, table.kind
    stratify = None if kind == "regression" else y
    kept, held = train_test_split(np.arange(len(y)), test_size=0.2, random_state=0, stratify=stratify)
    folds = (KFold if kind == "regression" else StratifiedKFold)(FOLDS, shuffle=True, random_state=0)

    def held_out(kept: np.ndarray, held: np.ndarray) -> float:
        return error_of(clone(fixed).fit(X[kept], y[kept]), X[held], y[held], kind)

    start = time.perf_counter()
    holdout, first = held_out(kept, held), time.perf_counter() - start
    errors = [held_out(*rows) * len(rows[1]) for rows in folds.split(X, y)]
    return {
        "holdout": holdout,
        "holdout_seconds": first,
        "folds": sum(errors) / len(y),
        "folds_seconds": time.perf_counter() - start - first,
    }


def measure(table: Table, data: Split) -> dict[str, float]:
    """One split of one table."""
    start = time.perf_counter()
    model = model_of(table).fit(data.X, data.y)
    seconds = time.perf_counter() - start
    linear = linear_of(table).fit(data.X, data.y)
    fresh = data.fresh_X, data.fresh_y, table.kind
    each = errors_of(model, *fresh)
    found = {
        "n": len(data.y),
        "d": int(model.kept_features_.size),
        "seconds": seconds,
        "steps": model.problem_.steps,
        "best": model.best_iteration_,
        "error": float(each.mean()),
        "scatter": float(each.std(ddof=1) / np.sqrt(each.size)),
        "linear": error_of(linear, *fresh),
        "estimate": model.estimated_test_error_,
        "stderr": model.estimated_test_error_stderr_,
        "warned": len(model.history_.attrs["warnings"]),
    }
    return found | validated(table, data, model)


def run(out: Path, splits: range) -> dict[str, dict[str, float]]:
    """All that is missing in the file of results, which is written after each split."""
    known = json.loads(out.read_text()) if out.exists() else {}
    for seed in splits:
        for name, table in TABLES.items():
            if (key := f"{name}|{seed}") not in known:
                with warnings.catch_warnings(), threadpool_limits(1):
                    warnings.simplefilter("ignore")
                    known[key] = measure(table, split(table, table.read(), seed))
                out.write_text(json.dumps(known))
    return known


def show(known: dict[str, dict[str, float]]) -> None:
    """The tables."""
    ratios, off = {}, {"estimate": [], "holdout": [], "folds": []}
    print("| table | n | d | error / linear | estimate / true | 20 % holdout / true | 5-fold / true |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in TABLES:
        own = [found for key, found in known.items() if key.rpartition("|")[0] == name]
        if not own:
            continue

        def mean(top: str, bottom: str, own: list = own) -> float:
            return float(np.exp(np.mean([np.log(found[top] / found[bottom]) for found in own])))

        ratios[name] = mean("error", "linear")
        parts = " | ".join(f"{mean(way, 'error'):.2f}" for way in off)
        print(f"| {name} | {own[0]['n']} | {own[0]['d']} | {ratios[name]:.2f} | {parts} |")
    values = np.array(list(ratios.values()))
    print(f"\nerror over the linear model's: geometric mean {np.exp(np.log(values).mean()):.3f}, "
          f"largest {values.max():.2f}, lower on {np.sum(values < 1)} of {values.size} tables\n")  # fmt: skip
    away, stderr, scatter = np.array(
        [(found["estimate"] - found["error"], found["stderr"], found["scatter"]) for found in known.values()]
    ).T
    covers = [np.mean(np.abs(away) < NORMAL * np.hypot(stderr, other)) for other in (scatter, 0.0)]
    print(f"stated errors cover in {covers[0]:.3f} at {COVERAGE}, with the scatter of fresh rows added to them; "
          f"without it in {covers[1]:.3f}\n")  # fmt: skip
    print("| n/d | splits | rms of log(found / true): estimate | 20 % holdout | 5-fold | seconds: fit | 5-fold |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for low, high in CLASSES_OF_ASPECT:
        own = [found for found in known.values() if low <= found["n"] / found["d"] < high]
        rms = [np.sqrt(np.mean([np.log(found[way] / found["error"]) ** 2 for found in own])) for way in off]
        seconds = [np.mean([found[name] for found in own]) for name in ("seconds", "folds_seconds")]
        cells = " | ".join(f"{value:.2f}" for value in (*rms, *seconds))
        print(f"| {low} to {high} | {len(own)} | {cells} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="number of the first split; without --comparison")
    parser.add_argument("--panel", action="store_true", help="other rates, widths, depths and shapes of a table")
    parser.add_argument(
        "--below", type=float, default=np.inf, help="in it, only splits with a ratio n/d less than this"
    )
    parser.add_argument("--comparison", action="store_true", help="published estimators beside ours")
    parser.add_argument("--again", action="store_true", help="in it, only what our own estimate makes is measured anew")
    parser.add_argument("--out", type=Path, help="file of results; {estimate,comparison,panel}.json if not given")
    given = parser.parse_args()
    splits = range(given.first, given.first + given.splits)
    if given.comparison:
        report.show(comparison.run(given.out or Path("comparison.json"), given.splits, again=given.again))
    elif given.panel:
        panel_report.show(panel.run(given.out or Path("panel.json"), splits, given.below))
    else:
        show(run(given.out or Path("estimate.json"), splits))
