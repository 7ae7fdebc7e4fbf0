"""What the arguments of measures are held to: one meaning, and one check, for a name wherever it stands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sedyn.checks import (
    FLAG,
    NOT_NEGATIVE,
    SEED,
    Check,
    checked,
    dataset,
    listed,
    mapping,
    number,
    one_of,
    optional,
    text,
    whole,
)

__all__ = ["ARGUMENTS", "measure"]

P = ParamSpec("P")
R = TypeVar("R")

_A_GROUP = "a group of a store, as analysis.store.open_store returns them"
ARGUMENTS: dict[str, Check] = {
    "simulation": dataset(_A_GROUP, "replicate", "iteration"),
    "theory": dataset(_A_GROUP, "iteration"),
    "measured": dataset("what the measure of this question returns", "observable"),
    "predicted": dataset("what sedyn.fluctuations returns", "iteration", "iteration_"),
    "observable": one_of("train_error", "test_error", "estimated_test_error"),
    "observables": optional(listed(text, "a list of names of variables")),
    "axes": listed(text, "a list of names of dimensions"),
    "over": optional(listed(text, "a list of names of dimensions")),
    "draws": whole(1, 10**6),
    "windows": whole(1, 1000),
    "level": number("in (0, 1)", lambda level: 0 < level < 1),
    "solver_tolerance": NOT_NEGATIVE,
    "seed": SEED,
    "without_readout": FLAG,
    "score": one_of("test_error", "test_error_rate"),
    "title": text,
    "options": mapping,
}


def measure(*needs: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make the decorator of a public measure, or of a figure of one: its arguments are checked before any work.

    Parameters
    ----------
    *needs : str
        Dimensions and variables that the simulation must have.

    Returns
    -------
    callable
        The decorator.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        names = inspect.signature(function).parameters
        return checked(**{name: ARGUMENTS[name] for name in names} | own)(function)

    own = {"simulation": dataset(_A_GROUP, "replicate", "iteration", *needs)} if needs else {}
    return decorate
