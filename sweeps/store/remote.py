"""A Zarr store behind a URL, asked patiently: an outage of half a minute delays what is written and fails nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from zarr.abc.store import ByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import FsspecStore, WrapperStore

from sweeps.store.patience import FIRST_SECONDS, ask_async

__all__ = ["RemoteStore"]

PATIENCE_SECONDS = 60.0  # as long as another driver keeps away, see `sweeps.store.claims`

T = TypeVar("T")


class RemoteStore(WrapperStore[FsspecStore]):
    """A store behind a URL; every exchange is repeated while the storage does not answer.

    Parameters
    ----------
    store : FsspecStore
    """

    def __init__(self, store: FsspecStore) -> None:
        super().__init__(store)
        self._answered = False

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        answer = await ask_async(call, PATIENCE_SECONDS if self._answered else FIRST_SECONDS)
        self._answered = True
        return answer

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read an object, or a part of it."""
        return await self._ask(lambda: self._store.get(key, prototype, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of objects."""
        ranges = list(key_ranges)
        return await self._ask(lambda: self._store.get_partial_values(prototype, ranges))

    async def exists(self, key: str) -> bool:
        """Tell whether an object is there."""
        return await self._ask(lambda: self._store.exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        """Write an object."""
        await self._ask(lambda: self._store.set(key, value))

    async def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        await self._ask(lambda: self._store.delete(key))

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
        files, folder = self._store.fs, f"{self._store.path}/{prefix}".rstrip("/")

        async def entries() -> list[dict[str, Any]]:
            files.invalidate_cache()  # others write too
            try:
                return await files._ls(folder, detail=True)
            except FileNotFoundError:
                return []

        found = await self._ask(entries)
        named = ((entry["name"].strip("/"), entry["size"] or 0) for entry in found)
        return [(name.rpartition("/")[-1], size) for name, size in named if name != folder.strip("/")]
