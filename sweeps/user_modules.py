"""Modules of a user's own, which register functions that configurations name."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from sedyn.errors import InvalidInput

__all__ = ["import_modules"]


def import_modules(names: Sequence[str]) -> None:
    """Import modules for what they register.

    Raises
    ------
    InvalidInput
        If one cannot be imported.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # one that ends the process would do so without a word
            reason = f"cannot be imported ({type(error).__name__}: {error}".splitlines()[0]
            raise InvalidInput("imports", name, f"{reason}); is its folder on PYTHONPATH?") from None
