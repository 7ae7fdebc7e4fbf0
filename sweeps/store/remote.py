"""A Zarr store behind a URL, asked patiently: an outage of half a minute delays what is written and fails nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator
from typing import Any

from zarr.storage import FsspecStore

from sweeps.store.patience import Patience, ask_once, options_of

__all__ = ["RemoteStore"]

PATIENCE_SECONDS = 60.0  # as long as another driver keeps away, see `sweeps.store.claims`


class RemoteStore(FsspecStore):
    """A store behind a URL; every exchange is repeated while the storage does not answer."""

    @classmethod
    def at(cls, location: str) -> RemoteStore:
        """Reach a store; nothing is asked yet.

        Parameters
        ----------
        location : str
            URL.

        Raises
        ------
        ImportError, ValueError
            If nothing serves such a URL.
        """
        found = FsspecStore.from_url(location, storage_options=options_of(location))
        ask_once(found.fs)
        patient: Any = _PatientFiles(found.fs)
        return cls(patient, path=found.path)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """List the names directly below a prefix."""
        for name, _ in await self.list_sizes(prefix):
            yield name

    async def list_sizes(self, prefix: str) -> list[tuple[str, int]]:
        """List the names directly below a prefix as they are now, with their sizes, in a single exchange.

        Parameters
        ----------
        prefix : str

        Returns
        -------
        list of (str, int)
        """
        folder = f"{self.path}/{prefix}".rstrip("/")
        self.fs.invalidate_cache()  # others write too
        try:
            found = await self.fs._ls(folder, detail=True)
        except FileNotFoundError:
            return []
        named = ((entry["name"].strip("/"), entry["size"] or 0) for entry in found)
        return [(name.rpartition("/")[-1], size) for name, size in named if name != folder.strip("/")]


class _PatientFiles:
    """A client of a storage whose every coroutine is tried again while the storage does not answer."""

    def __init__(self, files: Any) -> None:
        self._files, self._patience = files, Patience(PATIENCE_SECONDS)

    def __getattr__(self, name: str) -> Any:
        if name == "_files" or name.startswith("__"):  # asked for by copies and pickles, before there are any files
            raise AttributeError(name)
        found = getattr(self._files, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @functools.wraps(found)
        async def ask(*arguments: Any, **options: Any) -> Any:
            return await self._patience.ask_async(lambda: found(*arguments, **options))

        return ask
