"""When two values of a field are one: numbers that differ by rounding alone are."""

from __future__ import annotations

from typing import Any

__all__ = ["key_of", "plain"]

DIGITS = 12  # that are told apart; sums such as 0.1 + 0.1 + 0.1 differ from 0.3 in the seventeenth


def plain(value: float) -> float:
    """Write off what rounding added to a number that was computed.

    Examples
    --------
    >>> plain(0.1 + 0.1 + 0.1)
    0.3
    """
    return float(f"{value:.{DIGITS}g}")


def key_of(value: Any) -> Any:
    """Make what is equal for values that are one, and different for others; of several values one by one.

    Examples
    --------
    >>> key_of(0.1 + 0.1 + 0.1) == key_of(0.3), key_of("tanh") == key_of("erf")
    (True, False)
    """
    if isinstance(value, list | tuple):
        return tuple(map(key_of, value))
    return plain(value) if isinstance(value, float) else value
