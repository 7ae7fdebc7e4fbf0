"""Where a store is: a path on this machine, or a URL."""

from __future__ import annotations

from pathlib import Path

__all__ = ["local_path"]

_SCHEMES_OF_FILES = ("file://", "local://")


def local_path(location: str) -> Path | None:
    """Turn a location into a path; None if it is a URL of another storage."""
    for scheme in _SCHEMES_OF_FILES:
        location = location.removeprefix(scheme)
    return None if "://" in location else Path(location)
