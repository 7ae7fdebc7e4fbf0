"""Versions of what computes a result, for the record."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]


@cache
def versions() -> dict[str, str]:
    """Versions of sedyn and of the libraries its numbers depend on, as attributes ``<name>_version``."""
    found = {}
    for name in ("sedyn", "numpy", "scipy"):
        try:
            found[f"{name}_version"] = version(name)
        except PackageNotFoundError:
            found[f"{name}_version"] = "not installed"
    return found
