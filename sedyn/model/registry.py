"""What a name in a problem stands for: built-in entries of one kind, and those that users register."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from sedyn.checks import identifier
from sedyn.errors import InvalidInput

__all__ = ["Registry"]

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry], Generic[Entry]):
    """Named entries of one kind, open to users, refusing an unknown name with the known ones.

    Parameters
    ----------
    kind : str
        The `Problem` field the names belong to; it opens every error message.
    entries : dict
        What is known from the start.

    Attributes
    ----------
    built_in : tuple of str
        The names that are known from the start.
    """

    def __init__(self, kind: str, entries: dict[str, Entry]) -> None:
        self.kind, self.built_in = kind, tuple(entries)
        self._entries = dict(entries)
        self._checks: list[Callable[[str, Entry], object]] = []

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise InvalidInput.unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def register(self, name: str, entry: Entry) -> None:
        """Add an entry under a new name; a name once taken keeps its meaning.

        Parameters
        ----------
        name : str
        entry : Entry

        Raises
        ------
        InvalidInput
            If the name is no identifier or is taken, or the entry fails a check, see `require`.
        """
        identifier(self.kind, name)
        if name in self._entries:
            raise InvalidInput(self.kind, name, "this name is taken; choose another")
        for check in self._checks:
            check(name, entry)
        self._entries[name] = entry

    def require(self, check: Callable[[str, Entry], object]) -> None:
        """Hold every entry to a check: those that are there now, and those to come when they are registered.

        Parameters
        ----------
        check : callable
            Of a name and its entry; raises `InvalidInput` where they do not pass.
        """
        for name, entry in self.items():
            check(name, entry)
        self._checks.append(check)
