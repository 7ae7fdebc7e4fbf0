"""Where a store is: a path on this machine, or a URL."""

from __future__ import annotations

from pathlib import Path

__all__ = ["local_path"]

_FILE = "file://"


def local_path(location: str) -> Path | None:
    """Turn a location into a path; None if it is a URL of another storage."""
    location = location.removeprefix(_FILE)
    return None if "://" in location else Path(location)
