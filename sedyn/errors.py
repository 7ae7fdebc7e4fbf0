"""The one exception for a request that cannot be met, worded for the person who made it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

__all__ = ["InvalidInput", "require_known"]


class InvalidInput(ValueError):
    """A request that cannot be met, told in one line: the field, its value, and what would work.

    Command lines print the message alone and exit with status 2; no work has started when it is raised.

    Parameters
    ----------
    field : str
        Name of the offending field, as the user writes it.
    value : object
        The value that was given.
    remedy : str
        What would work, completing the sentence "``field=value``: ...".
    """

    def __init__(self, field: str, value: object, remedy: str) -> None:
        super().__init__(f"{field}={value!r}: {remedy}")
        self.field, self.value, self.remedy = field, value, remedy

    def __reduce__(self) -> tuple:
        # Exceptions with several arguments need this to survive the trip back from a worker process.
        return type(self), (self.field, self.value, self.remedy)

    @classmethod
    def unknown(cls, field: str, value: object, known: Iterable[str]) -> InvalidInput:
        """Build the message for a name that is not among `known`, with the nearest known one first."""
        known = list(known)
        near = difflib.get_close_matches(str(value), known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return cls(field, value, f"{hint}known: {', '.join(known)}")


def require_known(field: str, names: Iterable[object], known: Collection[str]) -> None:
    """Refuse the first of some names that is not known.

    Raises
    ------
    InvalidInput
        Naming the nearest known one.
    """
    for name in names:
        if name not in known:
            raise InvalidInput.unknown(field, name, known)
