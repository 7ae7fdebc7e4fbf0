"""The right to drive a store behind a URL: an object of each driver beside the store, renewed while the driver lives.

A driver writes its claim first and looks for the claims of others then; it holds the store if there are none. Of two
drivers at least the one that wrote last sees the other, so two never hold it together: what this takes of a storage is
that a list shows what was written before, not that it creates objects exclusively, which some servers ignore.

Age is told by the storage's own clock, as the difference between the times of two of its objects. A driver that cannot
renew its claim gives up before others may take the store, which it tells by its own clock's seconds alone.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sedyn.errors import InvalidInput
from sweeps.store.patience import Patience, ask_once, options_of

__all__ = ["Claim", "StoreTaken"]

BEAT_SECONDS = 5.0  # between renewals
RETRY_SECONDS = 1.0  # after one that failed
PATIENCE_SECONDS = 5.0  # with one exchange
WITHDRAWAL_SECONDS = 30.0  # at most, for an exchange that is on its way and the last one
LEASE_SECONDS = 50.0  # without a renewal, a driver gives up
STALE_SECONDS = 60.0  # and others may take the store; the difference is for what is on its way
TRIES = 5  # to be first, among drivers that start in the same moment
PAUSE_SECONDS = 0.5
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # goes on while the machine sleeps


class StoreTaken(OSError):
    """A driver has lost the right to write a store: nothing more of its work may reach it."""


class Claim:
    """One driver's claim on a store.

    Parameters
    ----------
    location : str
        URL of the store.

    Attributes
    ----------
    owner : str
        Names the driver.
    remark : str
        What others see who look at the store, from the next renewal on.

    Raises
    ------
    InvalidInput
        If nothing serves such a URL.
    """

    def __init__(self, location: str) -> None:
        try:
            import fsspec

            self._files, path = fsspec.core.url_to_fs(location, **options_of(location))
            ask_once(self._files)
        except (ImportError, ValueError) as error:
            raise InvalidInput("store", location, f"cannot be reached ({error}); name another path or URL") from None
        self.owner = uuid.uuid4().hex
        self.remark = ""
        self._folder = f"{path.rstrip('/')}.claims"
        self._own = f"{self._folder}/{self.owner}"
        self._renewed = -float("inf")  # the claim is no older than this, by this machine's clock; once lapsed it stays
        self._gone = False
        self._patience = Patience(PATIENCE_SECONDS)
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._live, daemon=True)

    def take(self) -> None:
        """Become the driver of the store, and stay it until `withdraw`.

        Raises
        ------
        FileExistsError
            If another driver holds it.
        OSError
            If the storage cannot be written.
        """
        for _ in range(TRIES):
            self._renewed = _seconds()
            self._write(held=False)
            others = self._others()
            living = self._living(others)
            if not living:
                self._write(held=True)
                for stale in others:
                    self._ask(self._files.rm_file, stale)
                self.require()  # this may have taken long
                self._heart.start()
                return
            held = any(map(self._is_held, living))
            self._remove()
            if held:
                break
            time.sleep(random.uniform(0.2, 1) * PAUSE_SECONDS)
        raise FileExistsError(self._folder)

    def require(self) -> None:
        """Make sure that no other driver may have the store.

        Raises
        ------
        StoreTaken
            If one may.
        """
        if self._gone:
            raise StoreTaken("another driver has taken the store over")
        if self._has_lapsed():
            silent = _seconds() - self._renewed
            raise StoreTaken(f"its lock could not be renewed for {silent:.0f} s, and another driver may take it over")

    def withdraw(self) -> None:
        """Give the store back. A storage that does not answer keeps the claim until it is stale."""
        self._ended.set()
        if self._heart.ident is None:
            self._give_back()
        else:
            self._heart.join(WITHDRAWAL_SECONDS)

    def remark_of_another(self) -> str | None:
        """Read the remark of a driver that holds the store, as far as this machine's clock tells; None without one."""
        now = datetime.now(UTC)
        for name, written in self._others().items():
            if abs((now - _aware(written)).total_seconds()) < STALE_SECONDS:
                return str(self._content(name).get("remark", ""))
        return None

    def _live(self) -> None:
        """Renew the claim while the driver has the store, and remove it then.

        One thread does both: a renewal that is on its way when the driver ends would bring the claim back.
        """
        self._beat()
        self._ended.wait()
        self._give_back()

    def _give_back(self) -> None:
        if self._patience.answered:
            with contextlib.suppress(OSError):
                self._remove()

    def _beat(self) -> None:
        pause = BEAT_SECONDS
        while not self._ended.wait(pause) and not self._has_lapsed():
            try:
                if self._time(self._own) is None:
                    self._gone = True
                    return
                self._write(held=True)
                pause = BEAT_SECONDS
            except OSError:  # `require` counts the seconds
                pause = RETRY_SECONDS

    def _write(self, *, held: bool) -> None:
        start = _seconds()
        content = json.dumps({"held": held, "remark": self.remark}).encode()
        self._patience.ask(lambda: self._files.pipe_file(self._own, content))
        if not self._has_lapsed():  # else another driver may have been let in before this arrived
            self._renewed = start

    def _has_lapsed(self) -> bool:
        return _seconds() - self._renewed > LEASE_SECONDS

    def _remove(self) -> None:
        self._ask(self._files.rm_file, self._own)

    def _others(self) -> dict[str, datetime]:
        """List the claims of others, with the storage's time of each."""
        names = self._ask(self._list) or []
        own = self._own.rpartition("/")[-1]
        found = {name: self._time(name) for name in names if name.rpartition("/")[-1] != own}
        return {name: time for name, time in found.items() if time is not None}

    def _living(self, others: dict[str, datetime]) -> list[str]:
        now = self._time(self._own)
        if now is None:
            raise StoreTaken("its lock is gone")
        return [name for name, time in others.items() if (now - time).total_seconds() < STALE_SECONDS]

    def _list(self) -> list[str]:
        self._files.invalidate_cache()
        return self._files.ls(self._folder, detail=False)

    def _time(self, name: str) -> datetime | None:
        def modified() -> datetime:
            self._files.invalidate_cache()
            return self._files.modified(name)

        return self._ask(modified)

    def _is_held(self, name: str) -> bool:
        return self._content(name).get("held", True)  # else some other program's; no driver in its start

    def _content(self, name: str) -> dict[str, Any]:
        """Read what a claim says; as one that holds nothing if it is gone meanwhile."""
        content = self._ask(self._files.cat_file, name)
        try:
            found = {"held": False} if content is None else json.loads(content)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _ask(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """Call what asks the storage; None if the object is not there."""
        try:
            return self._patience.ask(lambda: call(*arguments))
        except FileNotFoundError:
            return None


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _seconds() -> float:
    return time.clock_gettime(_CLOCK)
