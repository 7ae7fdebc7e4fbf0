"""A Zarr store behind a URL, asked patiently: an outage of half a minute delays what is written and fails nothing."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator
from typing import Any

from zarr.storage import FsspecStore

from sweeps.store.conditions import NO_VERSION, Changed, conditions_of, knows_conditions
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

    @property
    def knows_conditions(self) -> bool:
        """Whether its client writes on a condition; the storage may ignore that, see `keeps_conditions`."""
        return knows_conditions(self.fs.plain)

    async def keeps_conditions(self, key: str, data: bytes) -> bool:
        """Find out whether the storage keeps conditions: it is asked to replace a version that never was.

        Parameters
        ----------
        key : str
            Of the object that is asked for.
        data : bytes
            What it becomes if the storage does not.
        """
        try:
            await self.fs.conditions.replace(f"{self.path}/{key}", data, NO_VERSION)
        except Changed:
            return True
        except NotImplementedError:
            pass
        return False

    async def version(self, key: str) -> Any:
        """Tell the version of an object as it is now; None where it is not there, or nobody keeps versions.

        Parameters
        ----------
        key : str
        """
        return await self.fs.conditions.version(f"{self.path}/{key}")

    async def replace(self, key: str, data: bytes, version: Any) -> bool:
        """Write an object if it is still what it was, as far as the storage keeps conditions.

        Parameters
        ----------
        key : str
        data : bytes
        version : object
            What it was.

        Returns
        -------
        bool
            Whether it is there now; else somebody else has written meanwhile.
        """
        path = f"{self.path}/{key}"
        try:
            await self.fs.conditions.replace(path, data, version)
        except Changed:  # also where an earlier try did it, and its answer was lost
            try:
                return await self.fs._cat_file(path) == data
            except FileNotFoundError:
                return False
        except NotImplementedError:
            await self.fs._pipe_file(path, data)
        return True


class _PatientFiles:
    """A client of a storage whose every coroutine is tried again while the storage does not answer.

    Attributes
    ----------
    plain : object
        The client.
    conditions : object
        How it writes on a condition, as patiently.
    """

    def __init__(self, files: Any, patience: Patience | None = None) -> None:
        self.plain, self._patience = files, patience or Patience(PATIENCE_SECONDS)

    @property
    def conditions(self) -> Any:
        return _PatientFiles(conditions_of(self.plain), self._patience)

    def __getattr__(self, name: str) -> Any:
        if name == "plain" or name.startswith("__"):  # asked for by copies and pickles, before there are any files
            raise AttributeError(name)
        found = getattr(self.plain, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @functools.wraps(found)
        async def ask(*arguments: Any, **options: Any) -> Any:
            return await self._patience.ask_async(lambda: found(*arguments, **options))

        return ask
