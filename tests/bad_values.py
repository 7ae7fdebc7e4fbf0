"""Values that no argument should take without a look, and what is bad for which kind of argument."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

HUGE = 10**400


class Hostile:
    """An object whose every comparison fails, and which cannot even be written."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        raise RuntimeError("not to be written")


class Endless:
    """An iterable without end."""

    def __iter__(self) -> Iterator[int]:
        return itertools.count()


NO_VALUE: list[Any] = [
    object(),
    Hostile(),
    b"20",
    {"a": 1},
    {"a"},
    3 + 4j,
    Ellipsis,
    np.array([[1.0, 2.0]]),
    np.array("2020-01-01", dtype="datetime64[D]"),
    type,
    print,
    [[]],
]
"""Nothing that takes a number, a name, a flag or several of them takes these."""

NO_NUMBER = [*NO_VALUE, "1", "", "nope", True, False, np.True_, math.nan, math.inf, -math.inf, HUGE, -HUGE, [1], (1, 2)]
NO_NUMBER += [Fraction(HUGE, 1), np.float64("nan"), range(3), Endless(), np.zeros(3), np.array([True])]
NO_WHOLE = [*NO_NUMBER, 1.0, 2.5, np.float64(3.0), Fraction(3, 2), -1, 10**30]
NO_NAME = [
    *NO_VALUE,
    3,
    0.5,
    "nope",
    "",
    "TANH",
    "tanh ",
    "tanh\n",
    "tanh(1)",
    True,
    math.nan,
    HUGE,
    ["tanh", 1],
    "ü" * 10**5,
]
NO_FLAG = [*NO_VALUE, "false", "true", 0, 1, 1.0, "", [True], np.array([True]), np.int64(1), HUGE, math.nan]
NO_FUNCTION = [value for value in NO_NUMBER if not callable(value)] + [lambda: 0, lambda a, b, c, d: a, "sin", 0]
