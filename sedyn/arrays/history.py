"""Arrays by iteration, to which one is appended at a time and of which none ever changes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Shaped

__all__ = ["History"]


class History:
    """Arrays by iteration; appending gives a longer history and leaves this one as it was.

    A history and those appended to it share room that is made ahead for all iterations, so that appending copies
    nothing of the past. The next place in the room is for whoever appends first: who appends to the same history
    again, as another branch of a run does, gets room of its own. Made by `History.empty`.
    """

    def __init__(self, room: _Room, count: int) -> None:
        self._room, self._count = room, count

    @classmethod
    def empty(
        cls, capacity: int, shape: tuple[int, ...], like: Shaped[Array, "..."], leading: tuple[int, ...] = ()
    ) -> History:
        """Make room for iterations, of which there are none yet.

        Parameters
        ----------
        capacity : int
            Iterations that there is room for.
        shape : tuple of int
            Of the array of one iteration, without the axes in front.
        like : array, any shape
            Gives library, dtype and device.
        leading : tuple of int, optional
            Sizes of the axes in front, which are replicates that are run together.

        Returns
        -------
        History
        """
        whole, xp = (*leading, capacity, *shape), array_namespace(like)
        return cls(_Room(partial(xp.empty, whole, dtype=like.dtype, device=like.device), len(leading)), 0)

    def __len__(self) -> int:
        return self._count

    @property
    def values(self) -> Shaped[Array, "..."]:
        """All arrays, shape (..., iterations, *shape); not to be written to."""
        return self._room.array[self._room.place(slice(0, self._count))]

    def append(self, value: Shaped[Array, "..."]) -> History:
        """Add the array of the next iteration.

        Parameters
        ----------
        value : array, shape (..., *shape)
            Where it is shorter than `shape`, the rest is zero.

        Returns
        -------
        History
            One iteration longer.
        """
        room = self._room if self._room.taken == self._count else self._room.copy(self._count)
        corner = value.shape[room.axis :]
        if corner != room.array.shape[room.axis + 1 :]:
            room.array[room.place(self._count)] = 0
        room.array[room.place(self._count, *map(slice, corner))] = value
        room.taken += 1
        return History(room, room.taken)


class _Room:
    """An array with room for all iterations along an axis, made when it is needed, and how many of them are taken."""

    def __init__(self, make: Callable[[], Array], axis: int, taken: int = 0) -> None:
        self._make, self.axis, self.taken = make, axis, taken

    @cached_property
    def array(self) -> Array:
        """The array."""
        return self._make()

    def place(self, *indices: int | slice) -> tuple:
        """Index of the array from indices of its axes, the iterations first."""
        return (*(slice(None),) * self.axis, *indices, ...)

    def copy(self, taken: int) -> _Room:
        """Room like this one, with the same first arrays and no others."""
        array, filled = array_namespace(self.array).empty_like(self.array), self.place(slice(0, taken))
        array[filled] = self.array[filled]
        return _Room(lambda: array, self.axis, taken)
