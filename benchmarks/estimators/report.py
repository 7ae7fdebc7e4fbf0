"""The tables of the comparison, from its file of results."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.estimators.comparison import GAUSSIAN, MODELS, Judged

__all__ = ["Mean", "Summary", "groups", "show", "summary"]

OURS = "ours"
DEFAULTS = "network with its defaults"
OF_ITS_OWN = (DEFAULTS, "ridge", "scikit-learn's MLP")
"""Models that no other way judges."""
Known = dict[str, dict[str, Any]]


class Mean(NamedTuple):
    """An average, and its standard error over data sets: all splits of a table are one of them."""

    value: float
    stderr: float

    @classmethod
    def of(cls, values: dict[str, float]) -> Mean:
        """Average over data sets what each key, ``name|seed``, has."""
        parts: dict[str, list[float]] = {}
        for key, value in values.items():
            parts.setdefault(key if key.startswith("n = ") else key.rpartition("|")[0], []).append(value)
        each = np.array([np.mean(part) for part in parts.values()])
        spread = each.std(ddof=1) / np.sqrt(each.size) if each.size > 1 else np.nan
        return cls(float(np.mean(list(values.values()))) if values else np.nan, float(spread))

    @property
    def root(self) -> Mean:
        """Of a mean of squares."""
        value = float(np.sqrt(self.value))
        return Mean(value, self.stderr / (2 * value) if value else 0.0)

    def __str__(self) -> str:
        return "" if np.isnan(self.value) else f"{self.value:.3f} ± {self.stderr:.3f}"


class Summary(NamedTuple):
    """How good a way is, in a group of data sets.

    Attributes
    ----------
    sets : int
        That it judged.
    error, error_of_ours : Mean
        Root mean square of log(found / true), and ours of the same model on the same data sets.
    bias : Mean
        Mean of it.
    stopping : Mean
        True error where it stops, over the least of any iteration, less 1.
    choosing : Mean
        True error of the model that it chooses, where it stops, over the least of any model and iteration, less 1.
    beside : float
        Geometric mean of true errors of what it chooses, over those of what ours chooses; of a model that no other way
        judges, over those of our estimators with their defaults.
    cost : float
        Median of seconds, over those of a descent that knows nothing.
    """

    sets: int
    error: Mean
    error_of_ours: Mean
    bias: Mean
    stopping: Mean
    choosing: Mean
    beside: float
    cost: float


def groups(known: Known) -> dict[str, Known]:
    """Data sets that are summarized together."""
    named = {f"n = {n}": f"n = {n}|" for n in GAUSSIAN}
    found = {name: {key: one for key, one in known.items() if key.startswith(start)} for name, start in named.items()}
    return found | {"tables": {key: one for key, one in known.items() if not key.startswith("n = ")}}


def summary(known: Known, model: str, way: str) -> Summary:
    """Sum up what a way said of a model.

    Parameters
    ----------
    known : dict
        The group's results.
    model, way : str
    """
    here = {key: one[model] for key, one in known.items() if model in one and way in one[model]["ways"]}

    def each(value: Callable[[str, Judged], float]) -> dict[str, float]:
        found = {key: value(key, Judged(*one["ways"][way])) for key, one in here.items()}
        return {key: value for key, value in found.items() if np.isfinite(value)}

    errors = each(lambda _, judged: _off(judged))
    own = model if model in MODELS else "network"
    ours = {key: _off(Judged(*known[key][own]["ways"][OURS])) for key in errors}
    regrets = each(lambda key, judged: judged.true / here[key]["least"] - 1)
    of_all = {} if model in OF_ITS_OWN else known
    picks = {key: pick for key, one in of_all.items() if (pick := _chosen(one, way)) is not None}
    leasts = {key: min(known[key][name]["least"] for name in MODELS) for key in known}
    if model in OF_ITS_OWN:
        beside = each(lambda key, judged: np.log(judged.true / Judged(*known[key][DEFAULTS]["ways"][OURS]).true))
    else:
        beside = {key: np.log(pick.true / _chosen(known[key], OURS).true) for key, pick in picks.items()}
    descents = {key: known[key][own]["descent"] for key in here}
    return Summary(
        len(here),
        _rms(errors),
        _rms(ours),
        Mean.of(errors),
        Mean.of(regrets),
        Mean.of({key: pick.true / leasts[key] - 1 for key, pick in picks.items()}),
        float(np.exp(np.mean(list(beside.values())))) if beside else np.nan,
        float(np.median(list(each(lambda key, judged: judged.seconds / descents[key]).values()))),
    )


def _off(judged: Judged) -> float:
    """log(found / true); not finite where nothing was found."""
    return float(np.log(judged.found / judged.true)) if judged.found > 0 else np.nan


def _rms(errors: dict[str, float]) -> Mean:
    return Mean.of({key: error**2 for key, error in errors.items()}).root


def _chosen(one: dict[str, Any], way: str) -> Judged | None:
    """What a way said of the model that it chooses, if it judged all."""
    judged = [Judged(*one[name]["ways"][way]) for name in MODELS if way in one[name]["ways"]]
    return min(judged, key=lambda judged: judged.found) if len(judged) == len(MODELS) else None


def _rows(known: Known) -> Iterable[tuple[str, str]]:
    """Models and ways that judged any data set, those of the network first."""
    for model in ("network", "linear", *OF_ITS_OWN):
        ways = {way: None for one in known.values() if model in one for way in one[model]["ways"]}
        yield from ((model, way) for way in sorted(ways, key=lambda way: not way.startswith(OURS)))  # ours first


def show(known: Known) -> None:
    """Print a table of each group, as `benchmarks/results/estimate.md` has them, and the short one of the README."""
    parts = {name: own for name, own in groups(known).items() if own}
    for name, own in parts.items():
        print(f"\n{name}\n")
        print("| model | way | sets | rms | ours there | bias | stopping | choosing | error | cost |")
        print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
        for model, way in _rows(own):
            found = summary(own, model, way)
            cells = [str(cell) for cell in (*found[1:4], *_regrets(model, found))]
            beside = "" if np.isnan(found.beside) else f"{found.beside:.3f}"
            print(f"| {model} | {way} | {found.sets} | {' | '.join(cells)} | {beside} | {found.cost:.1f} |")
    print("\n| way | rms of log(found / true): " + " | ".join(parts) + " | regret of stopping: tables "
          "| of choosing: tables | cost: n = 800 | tables |")  # fmt: skip
    print("|---|" + "---:|" * (len(parts) + 4))
    for model, way in _rows(parts["tables"]):
        if model == "linear" and way not in ("r-hat", "r-tilde"):
            continue
        label = f"{model}, {way}" if model in OF_ITS_OWN else way
        of = {name: summary(own, model, way) for name, own in parts.items() if (model, way) in {*_rows(own)}}
        rms = [f"{of[name].error.value:.2f}" if name in of else "" for name in parts]
        regrets = ["" if np.isnan(each.value) else f"{each.value:.3f}" for each in _regrets(model, of["tables"])]
        costs = [f"{of[name].cost:.0f}" if name in of else "" for name in ("n = 800", "tables")]
        print(f"| {label} | {' | '.join((*rms, *regrets, *costs)).replace('nan', '')} |")


def _regrets(model: str, found: Summary) -> tuple[Mean, Mean]:
    """Of stopping and of choosing; of one model with one number there is no regret to speak of."""
    nothing = Mean(np.nan, np.nan)
    return (found.stopping if model == "ridge" else nothing, nothing) if model in OF_ITS_OWN else found[4:6]
