"""What a store of which no report can be made is answered with."""

from __future__ import annotations

from sedyn.errors import InvalidInput

__all__ = ["NothingToReport"]


class NothingToReport(InvalidInput):
    """A store that is missing, is no store of this project, or has nothing finished; the message is one line."""
