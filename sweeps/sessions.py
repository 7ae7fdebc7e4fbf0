"""Ray sessions: one of this machine's own, which nobody else can enter, or a cluster that was there and is joined.

A thread owns the session, from its start to its end: Ray's processes end with the thread that started them, its answers
to signals stay out of the main thread, and whoever waits for it can be interrupted, or see that it will not come.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sedyn.errors import InvalidInput
from sweeps.compute import Compute, worker_count
from sweeps.interruption import abandon, answer_again

__all__ = ["Session", "SessionLost"]

OBJECT_STORE_BYTES = 100 * 2**20  # tasks and outcomes are small; results go straight to the Zarr store
START_SECONDS = 120.0  # of a session on a machine that is busy with other things
JOIN_SECONDS = 30.0
ANSWER_SECONDS = 5.0  # for a cluster's head to take a call
CLOSE_SECONDS = 10.0
POLL_SECONDS = 0.05
CHECK_SECONDS = 0.5, 5.0  # between looks at this machine's own processes, or calls on a cluster's head
KILL_ROUNDS = 3
REMOVALS = 20
SILENT_CALLS = 4  # that a head leaves without answer; then it is lost. Ray itself ends this process after a minute

# A path of a socket may have no more characters; Ray's are its folder's and these, and a process's number.
SOCKET_PATH = 103
IN_SESSION = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
ESSENTIAL = ("gcs_server", "raylet")  # processes without which there is no session
# What starts the others that Ray has on every head: its page, what prints the workers' logs, what asks a cloud for more
# machines. They serve nobody in a session of this machine's own, and take longer than all the rest of its start.
SPECTATORS = ("start_api_server", "start_log_monitor", "start_monitor")

_TOKEN = secrets.token_hex(32)
# Ray reads these when it is imported. A user's own choice stands where nothing depends on it.
# While Ray waits for its head, no other thread of Python runs, so it must not wait long.
_ANYWHERE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_gcs_server_port_wait_time_s": "20",
    "RAY_py_gcs_connect_timeout_s": "10",
}
# As on systems where Ray knows no cluster: every process then listens on the loopback interface alone. And whoever
# calls one must know this token, which is in no file and in no other process's environment.
_HERE = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": _TOKEN}


class SessionLost(RuntimeError):
    """Ray ended while it was needed; the message is one line."""


class Session:
    """Ray, from its start on this machine, or the joining of a cluster, to its end.

    It starts while its maker does other things; whoever asks for `ray` waits until it is there.

    Parameters
    ----------
    compute : Compute
        What was asked for.

    Raises
    ------
    InvalidInput
        If no cluster answers, or Ray has no place for its files here.
    """

    def __init__(self, compute: Compute) -> None:
        self._address = self._asked = compute.address
        self._scratch: Path | None = None
        self._others: set[Any] = set()  # processes that are none of its own
        self._processes: dict[int, str] = {}
        self._orderly = False  # whether its end waits for nothing that is lost
        self._called, self._silent = time.monotonic(), 0
        self._imported, self._ready, self._end = threading.Event(), threading.Event(), threading.Event()
        self._limit = time.monotonic() + (START_SECONDS if compute.address is None else JOIN_SECONDS)
        self._error: BaseException | None = None
        self._owner: threading.Thread | None = None
        self._ray: Any = None
        if "ray" in sys.modules and sys.modules["ray"].is_initialized():
            self._ray = sys.modules["ray"]  # of whoever called; it is his to end
            return
        options = {"log_to_driver": False, "logging_level": "ERROR"}
        for name, value in _ANYWHERE.items():
            os.environ.setdefault(name, value)
        if self._address is None:
            self._scratch = _make_scratch()
            os.environ.update(_HERE)
            options |= {
                "address": "local",  # else Ray would join whatever cluster it finds on this machine
                "num_cpus": worker_count(compute),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "_temp_dir": str(self._scratch / "r"),
            }
        try:
            if self._scratch is None:
                import ray

                self._address = _found(ray, compute)
                options["address"] = compute.address  # for "auto" Ray also takes the token that the cluster left
            self._owner = threading.Thread(target=self._own, args=(options,), name="ray", daemon=True)
            self._owner.start()
        except BaseException:
            self.close()
            raise

    def _own(self, options: dict[str, Any]) -> None:
        try:
            import ray

            self._ray = ray
            if self._scratch is not None:
                _take_environment()
                import psutil  # Ray's own, which it puts on the path

                self._others = set(psutil.Process().children(recursive=True))
            # Ray would print what it hears of its processes, twenty lines each; what matters here is said in one.
            ray._private.worker.listen_error_messages = lambda *arguments: None
            self._imported.set()
            if self._end.is_set():
                return
            with contextlib.nullcontext() if self._scratch is None else _without_spectators():
                ray.init(**options)
        except BaseException as error:
            self._error = error
            return
        finally:
            self._imported.set()
            self._ready.set()
        self._end.wait()
        with contextlib.suppress(Exception):  # of a session that is lost
            self._ray.shutdown()

    @property
    def ray(self) -> Any:
        """Ray, as soon as the session is there.

        Raises
        ------
        InvalidInput
            If a cluster does not answer.
        SessionLost
            If Ray does not start, or a process of its ends in its start.
        """
        if self._owner is None:
            return self._ray
        while not self._ready.wait(POLL_SECONDS):
            answer_again()  # Ray's own to SIGTERM is a trace of its C++
            if ended := self._ended():
                raise SessionLost(f"Ray's process {ended} ended in its start{self._last_words(ended)}")
            if time.monotonic() > self._limit:
                self._error = TimeoutError("it does not answer in time")
                break
        answer_again()
        if self._error is None:
            return self._ray
        reason = (str(self._error).strip().splitlines() or [type(self._error).__name__])[0]
        if self._scratch is not None:
            raise SessionLost(f"Ray does not start: {reason}") from None
        remedy = f"no Ray cluster answers ({reason}); start one, or use compute=local"
        raise InvalidInput("compute.address", self._asked, remedy) from None

    def check(self) -> None:
        """See that the session is still there.

        Raises
        ------
        SessionLost
            If it is not.
        """
        if self._owner is None or time.monotonic() - self._called < CHECK_SECONDS[self._scratch is None]:
            return
        self._called = time.monotonic()
        if ended := self._ended():
            raise SessionLost(f"Ray's process {ended} has ended{self._last_words(ended)}")
        self._silent = 0 if self.answers() else self._silent + 1
        if self._silent >= SILENT_CALLS:
            raise SessionLost(f"the cluster's head at {self._address} does not answer any more")

    def answers(self) -> bool:
        """Whether Ray can be asked for something now; to ask a head that is gone ends this process after a minute."""
        if self._owner is None:
            return True
        return not self._ended() if self._scratch is not None else _listens(str(self._address))

    def _ended(self) -> str | None:
        """Name an essential process of a session of this machine's own that has ended."""
        if self._scratch is None or not self._imported.is_set():
            return None
        import psutil

        for process in psutil.Process().children():
            with contextlib.suppress(psutil.Error):
                if process.name() in ESSENTIAL:  # one process has at most one session
                    self._processes[process.pid] = process.name()
        for number, name in self._processes.items():
            try:
                if psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
                    continue
            except psutil.NoSuchProcess:
                pass
            return name
        return None

    def _last_words(self, name: str) -> str:
        words = ""
        for log in (self._scratch or Path()).glob(f"r/session_2*/logs/{name}.err"):
            words = next((line for line in reversed(log.read_text(errors="replace").splitlines()) if line.strip()), "")
        return f": {words.strip()}" if words else " without a word, as if killed for lack of memory"

    def end(self) -> None:
        """Begin to end the session, or to leave the cluster; `close` waits for that."""
        if not self._end.is_set():
            self._orderly = self._ready.is_set() and self.answers()
            self._end.set()

    def close(self) -> None:
        """End the session, or leave the cluster."""
        if self._owner is not None:
            self.end()
            self._imported.wait(CLOSE_SECONDS)  # which nothing can cut short
            if self._orderly:
                self._owner.join(CLOSE_SECONDS)
            if self._owner.is_alive():  # it waits for what does not come, and so would the end of this process
                abandon(self._remove_scratch)
                self._kill()
        self._remove_scratch()

    def _remove_scratch(self) -> None:
        """Remove the folder of a session, to which an owner that was abandoned may still add."""
        for _ in range(REMOVALS):
            if self._scratch is None or not self._scratch.exists():
                return
            shutil.rmtree(self._scratch, ignore_errors=True)

    def _kill(self) -> None:
        """End the processes of a session of this machine's own that cannot be asked to, and those they leave behind."""
        if self._scratch is None:
            return
        import psutil

        family: set[Any] = set()
        quiet = 0
        while quiet < KILL_ROUNDS:  # the owner may be starting another one
            quiet += 1
            family.update(child for child in psutil.Process().children(recursive=True) if child not in self._others)
            for process in {*family, *psutil.process_iter()}:
                with contextlib.suppress(psutil.Error):
                    known = process in family or process.environ().get("RAY_AUTH_TOKEN") == _TOKEN
                    if known and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                        process.kill()
                        quiet = 0
            time.sleep(POLL_SECONDS)


def _make_scratch() -> Path:
    """Make a folder for a session's files and sockets that no other user may enter."""
    asked = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or ""
    reason = ""
    for place in dict.fromkeys(filter(None, (asked, "/tmp", "/var/tmp"))):
        try:
            folder = Path(tempfile.mkdtemp(prefix="sedyn-", dir=os.path.abspath(place)))
        except OSError as error:
            reason = reason or f"{error.strerror}"
            continue
        if len(str(folder / "r")) + IN_SESSION <= SOCKET_PATH:
            return folder
        folder.rmdir()
        reason = reason or "its name is too long for the names of sockets"
    remedy = (
        f"no place for Ray's files ({reason}); name a folder of a short name that can be written, or compute=inline"
    )
    raise InvalidInput("TMPDIR", asked or "/tmp", remedy)


@contextlib.contextmanager
def _without_spectators() -> Iterator[None]:
    """Let Ray start without `SPECTATORS`, which it has no option for; a Ray without one of them starts as it does."""
    from ray._private.node import Node

    def start_nothing(node: Any, **options: Any) -> None:
        node._webui_url = ""  # as where a page is not wanted

    kept = {name: getattr(Node, name) for name in SPECTATORS if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, start_nothing)
    try:
        yield
    finally:
        for name, start in kept.items():
            setattr(Node, name, start)


def _take_environment() -> None:
    """Let a Ray that was imported before have the environment of a session of this machine's own."""
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = False
    with contextlib.suppress(ImportError, AttributeError):  # of a Ray before tokens
        from ray import _raylet as compiled

        compiled.Config.initialize("")  # type: ignore[attr-defined]
        compiled.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]


def _found(ray: Any, compute: Compute) -> str:
    """Find a cluster that takes calls.

    Raises
    ------
    InvalidInput
        Within seconds; to try to join what is not there takes Ray a quarter of an hour.
    """
    address = compute.address or ""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or ray._private.utils.read_ray_address() or ""
        if not address:
            remedy = "no Ray cluster runs on this machine; name one as HOST:PORT, start one, or use compute=local"
            raise InvalidInput("compute.address", compute.address, remedy)
    elif ":" not in address:
        raise InvalidInput("compute.address", address, "auto, or HOST:PORT of a running Ray cluster")
    if not _listens(address) or not _takes_calls(address):
        at = "" if address == compute.address else f" at {address}"
        remedy = f"no Ray cluster answers{at}; start one with `ray start --head`, or use compute=local"
        raise InvalidInput("compute.address", compute.address, remedy)
    return address


def _listens(address: str) -> bool:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, ValueError):
        return False
    return True


def _takes_calls(address: str) -> bool:
    """Whether what listens speaks Ray's protocol; with certificates only Ray itself can tell."""
    if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
        return True
    import grpc

    channel = grpc.insecure_channel(address.rpartition("://")[2])
    try:
        grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
    except grpc.FutureTimeoutError:
        return False
    finally:
        channel.close()
    return True
