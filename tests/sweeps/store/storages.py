"""Storages behind a URL that do not behave, in this process: they go away, and have a clock of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem


class UnsteadyFileSystem(MemoryFileSystem):
    """Memory that can be away, or whose clock can be wrong; it creates what is there already, as some servers do."""

    protocol = "unsteady"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    away = False
    behind = timedelta(0)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return MemoryFileSystem._strip_protocol(str(path).removeprefix("unsteady://"))

    def _answer(self) -> None:
        if type(self).away:
            raise ConnectionResetError("away")

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Write, whatever the mode says."""
        self._answer()
        path = self._strip_protocol(path)
        self.store[path] = MemoryFile(self, path, value)
        self.store[path].modified = datetime.now(UTC) - type(self).behind

    def cat_file(self, path: str, *arguments: Any, **options: Any) -> bytes:
        """Read."""
        self._answer()
        return super().cat_file(path, *arguments, **options)

    def ls(self, path: str, *arguments: Any, **options: Any) -> list[Any]:
        """List."""
        self._answer()
        return super().ls(path, *arguments, **options)

    def exists(self, path: str, **options: Any) -> bool:
        """Tell whether an object is there."""
        self._answer()
        return super().exists(path, **options)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Describe an object."""
        self._answer()
        return super().info(path, **options)

    def rm(self, path: str, *arguments: Any, **options: Any) -> None:
        """Delete what lies below."""
        self._answer()
        super().rm(path, *arguments, **options)

    def modified(self, path: str) -> datetime:
        """Tell the time of an object."""
        self._answer()
        return super().modified(path)

    def rm_file(self, path: str) -> None:
        """Delete."""
        self._answer()
        super().rm_file(path)

    @classmethod
    @contextmanager
    def outage(cls) -> Iterator[None]:
        """Answer nothing."""
        cls.away = True
        try:
            yield
        finally:
            cls.away = False


fsspec.register_implementation("unsteady", UnsteadyFileSystem, clobber=True)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> type[UnsteadyFileSystem]:
    """Start with an empty storage that behaves."""
    monkeypatch.setattr(UnsteadyFileSystem, "store", {})
    monkeypatch.setattr(UnsteadyFileSystem, "away", False)
    monkeypatch.setattr(UnsteadyFileSystem, "behind", timedelta(0))
    return UnsteadyFileSystem
