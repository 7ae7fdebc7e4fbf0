"""Probabilities of the classifier on real tables, as they come and calibrated, beside those of logistic regression.

``python -m benchmarks.calibration [--splits 3] [--out calibration.json]`` runs what is missing in the file of results
and prints the table of `benchmarks/results/estimators.md`: log loss and Brier score on rows that did not train, of
tables with two classes, and of some whose rarer class is thinned out to a twentieth of the rows. *To the end*: without
early stopping.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import sedyn
from benchmarks.tables import TABLES, Split, split

RARE = 0.05
THINNED = ("pima", "spambase", "german", "cells")
WAYS = ("network", "calibrated", "to the end", "to the end, calibrated", "logistic regression")
END = 200


def thinned(data: Split, seed: int) -> Split:
    """Leave out rows of the rarer class, of those that train and of fresh ones, until it is a twentieth."""
    names, counts = np.unique(data.y, return_counts=True)
    rare, rng = names[counts.argmin()], np.random.default_rng(seed)

    def kept(y: np.ndarray) -> np.ndarray:
        others, own = np.flatnonzero(y != rare), np.flatnonzero(y == rare)
        count = max(2, round(RARE / (1 - RARE) * others.size))
        return np.sort(np.concatenate([others, rng.permutation(own)[:count]]))

    rows, fresh = kept(data.y), kept(data.fresh_y)
    return Split(data.X[rows], data.y[rows], data.fresh_X[fresh], data.fresh_y[fresh])


def measure(data: Split) -> dict[str, Any]:
    """Log loss and Brier score of each way, and the share of the rarer class among fresh rows."""
    model = sedyn.NetworkClassifier(random_state=0).fit(data.X, data.y)
    linear = make_pipeline(StandardScaler(), LogisticRegressionCV(Cs=10, max_iter=1000, scoring="neg_log_loss", cv=5))
    linear.fit(data.X, data.y)
    end = sedyn.NetworkClassifier(random_state=0, steps=END, early_stopping=False).fit(data.X, data.y)
    networks = (model.predict_proba, model.calibrated_proba, end.predict_proba, end.calibrated_proba)
    own = data.fresh_y == model.classes_[1]
    found: dict[str, Any] = {"n": len(data.y), "share": float(min(own.mean(), 1 - own.mean()))}
    for way, probabilities in zip(WAYS, (*networks, linear.predict_proba), strict=True):
        second = np.clip(probabilities(data.fresh_X)[:, 1], 1e-15, 1 - 1e-15)
        logs = -np.log(np.where(own, second, 1 - second))
        found[way] = {"log loss": float(logs.mean()), "Brier": float(np.mean((second - own) ** 2))}
    return found


def run(out: Path, splits: int) -> dict[str, Any]:
    """All that is missing in the file of results, which is written after each split."""
    known = json.loads(out.read_text()) if out.exists() else {}
    for seed in range(splits):
        for name, table in TABLES.items():
            if table.kind != "classes" or f"{name}|{seed}" in known:
                continue
            data = split(table, table.read(), seed)
            if np.unique(data.y).size > 2:
                continue
            with warnings.catch_warnings(), threadpool_limits(1):
                warnings.simplefilter("ignore")
                if name in THINNED:
                    known[f"{name}, thinned|{seed}"] = measure(thinned(data, seed))
                known[f"{name}|{seed}"] = measure(data)
            out.write_text(json.dumps(known))
    return known


def show(known: dict[str, Any]) -> None:
    """The table."""
    names = sorted({key.rpartition("|")[0] for key in known}, key=lambda name: -_mean(known, name, "share"))
    scores = ("log loss", "Brier")
    print("| table | n | rarer class | " + " | ".join(f"{score}: {way}" for score in scores for way in WAYS) + " |")
    print("|---|---:|---:|" + "---:|" * (len(scores) * len(WAYS)))
    for name in names:
        cells = [f"{_mean(known, name, way, score):.3f}" for score in scores for way in WAYS]
        rows = f"{_mean(known, name, 'n'):.0f} | {_mean(known, name, 'share'):.0%}"
        print(f"| {name} | {rows} | {' | '.join(cells)} |")
    for score in scores:
        print(f"\n{score} over logistic regression's, geometric mean; tables on which it is lower:\n")
        for way in WAYS[:-1]:
            ratios = np.array([_mean(known, name, way, score) / _mean(known, name, WAYS[-1], score) for name in names])
            print(f"* {way}: {np.exp(np.log(ratios).mean()):.3f}; {np.sum(ratios < 1)} of {ratios.size}")


def _mean(known: dict[str, Any], name: str, *path: str) -> float:
    """Mean over splits of an entry of a table's results."""
    values = []
    for key, one in known.items():
        if key.rpartition("|")[0] == name:
            for step in path:
                one = one[step]
            values.append(one)
    return float(np.mean(values))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("calibration.json"))
    given = parser.parse_args()
    show(run(given.out, given.splits))
