"""The sweep on a command line: composes the configuration, runs what it asks for, says what happened."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sedyn.errors import InvalidInput
from sweeps.application.command import parser_of
from sweeps.application.composition import compose
from sweeps.application.request import Request, read_request
from sweeps.interruption import stoppable
from sweeps.location import local_path
from sweeps.sessions import SessionLost
from sweeps.terminal import OutputClosed, say, shell_word

if TYPE_CHECKING:
    from sweeps.attempts import Executor
    from sweeps.sessions import Session

__all__ = ["main", "run"]

DONE, FAILED, WRONG_REQUEST = 0, 1, 2
NAMES_SHOWN = 5


@stoppable("what is finished is kept, and the same command goes on from there")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0 done, 1 some tasks failed, 2 the request was wrong, 128 + the number of a signal that ended it.
    """
    try:
        flags = _parser().parse_intermixed_args(arguments)
        if flags.resolve and not flags.cfg:
            raise InvalidInput("--resolve", True, "shows values where --cfg job prints a configuration; give both")
        composed = compose(flags.words, multirun=flags.multirun, folder=_folder(flags.config_dir))
        if flags.cfg:
            print(OmegaConf.to_yaml(composed.config, resolve=flags.resolve), end="")
            return DONE
        return run(read_request(composed))
    # The second where a value follows from one that is not there.
    except (InvalidInput, OmegaConfBaseException) as error:
        say(" ".join(map(str.strip, str(error).splitlines())), error=True)
        return WRONG_REQUEST
    except SessionLost as error:
        say(f"compute: {error}; what is finished is kept, and the same command goes on from there", error=True)
        return FAILED


class _Parser(argparse.ArgumentParser):
    def format_help(self) -> str:
        from sweeps.application.settings_help import settings_help

        return f"{super().format_help()}\n{settings_help()}"

    def error(self, message: str) -> NoReturn:
        raise InvalidInput("flags", message, "write KEY=VALUE without dashes; --help lists what can be set")


def _parser() -> argparse.ArgumentParser:
    parser = parser_of("sweep", _Parser)
    parser.add_argument("words", metavar="KEY=VALUE", nargs="*", help="what to compute, where, and where it goes")
    parser.add_argument("--multirun", "-m", action="store_true", help="make problem.FIELD=VALUE,VALUE an axis")
    parser.add_argument("--cfg", "-c", choices=["job"], help="print the composed configuration, and stop")
    parser.add_argument("--resolve", action="store_true", help="with --cfg: put values where they follow from others")
    parser.add_argument("--config-dir", "-cd", metavar="FOLDER", help="with experiments and other choices of your own")
    return parser


def _folder(name: str | None) -> Path | None:
    if name is not None and not Path(name).is_dir():
        raise InvalidInput("--config-dir", name, "no such folder; name one with experiment/NAME.yaml in it")
    if name is not None and "${" in str(Path(name).resolve()):
        raise InvalidInput("--config-dir", name, "what follows ${ is a reference in a configuration; rename the folder")
    return None if name is None else Path(name)


def run(request: Request) -> int:
    """Run a checked request: plan, or compute what is missing and report.

    Raises
    ------
    InvalidInput
        If the machine or the store cannot serve the request.
    """
    return _plan(request) if request.plan else _compute(request)


def _plan(request: Request) -> int:
    # What computes loads zarr, xarray and scipy, which a wrong request need not wait for, nor for the rest a plan.
    from sweeps.forecast import forecast

    asked = request.spec, request.compute, request.target, request.location, request.code, request.judge
    for line in forecast(*asked, request.refinement):
        say(line)
    say(f"store: {request.location}")
    return DONE


def _compute(request: Request) -> int:
    from sweeps.sessions import Session

    with ExitStack() as places:  # where tasks run: they end while a report is made
        session = None
        path = local_path(request.location)
        if request.compute.starts_ray and path is not None and not os.path.lexists(path):
            # All is missing: Ray starts while what plans and writes is loaded.
            session = places.enter_context(closing(Session(request.compute)))
        return _compute_at(request, places, session)


def _compute_at(request: Request, places: ExitStack, session: Session | None) -> int:
    from sweeps.bisection import RefinedTasks
    from sweeps.cost import largest_memory
    from sweeps.driver import FixedTasks, Summary, TaskSource, run_tasks
    from sweeps.executors import make_executor
    from sweeps.precision import PreciseTasks
    from sweeps.progress import make_progress
    from sweeps.provenance import git_commit
    from sweeps.schedule import missing_tasks
    from sweeps.store import Store, find_damage, is_of_code, mend, only_driver
    from sweeps.verdict import VerdictTasks
    from sweeps.worker import WorkerSetup

    spec, compute, device = request.spec, request.compute, request.spec.device
    search_path = tuple(os.path.abspath(folder) for folder in sys.path) if request.imports else ()
    summary = Summary(0, [], 0.0)
    with ExitStack() as stack:
        lease = stack.enter_context(only_driver(request.location))
        setup = WorkerSetup(request.location, device, request.imports, git_commit(), request.code.files, search_path)
        setup = setup._replace(owner=lease.owner, registered=request.code.registered)
        if compute.joins_cluster:  # and may be refused, before there is a store
            executor = make_executor(compute, setup, largest_memory(spec))
            stack.enter_context(_ending(executor, places))
        try:
            found = Store.look(request.location, spec)
            # Where nothing is missing other code may look and report.
            whole = found is not None and not is_of_code(found.settings, request.code)
            whole = whole and request.target is None and request.refinement is None
            whole = whole and not missing_tasks(found, spec, compute.task_device)
            store = Store.prepare(request.location, spec, None if whole else request.code, lease.owner)
            if store.restored:
                say(f"{_some(store.restored)}: damaged, and written anew", error=True)
            damage = find_damage(store, content=local_path(request.location) is not None)  # else it has far to travel
            mend(store, damage)
            if damage.faults:
                say(f"{len(damage.faults)} results were cut short or damaged, and are computed again", error=True)
            source: TaskSource
            if request.refinement is not None:
                source = RefinedTasks(store, spec, request.refinement, compute.task_device)
            elif request.target is None:
                source = FixedTasks(missing_tasks(store, spec, compute.task_device))
            elif request.judge is None:
                source = PreciseTasks(store, spec, request.target, compute.task_device)
            else:
                source = VerdictTasks(store, spec, request.target, request.judge, compute.task_device)
            tasks = source.tasks
            if tasks:
                if whole:  # it seemed so, before the damage was found
                    store = Store.prepare(request.location, spec, request.code, lease.owner)
                if compute.executor != "inline":
                    _prepare_report(request)
                if not compute.joins_cluster:
                    executor = make_executor(compute, setup, largest_memory(spec), session)
                    stack.enter_context(_ending(executor, places))
                with make_progress(tasks) as progress:
                    summary = run_tasks(source, store, executor, progress, request.max_failures, lease)
        except Exception as error:
            if not _is_of_storage(error, behind_url=local_path(request.location) is None):
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            say(f"store={request.location!r} cannot be written: {reason}; what is finished is kept", error=True)
            return FAILED
    failures = summary.failures
    if more := len(failures) - summary.announced:
        say(f"and {more} more failed; `sedyn status {shell_word(request.location)}` counts each reason", error=True)
    if summary.stopped:
        say(f"stopped after max_failures={request.max_failures}; the same command goes on with the rest", error=True)
    reported = _report(request)
    if source.reached:
        say(source.reached)
    done = f"{summary.done} tasks done" if tasks else "nothing was missing"
    say(f"{done}, {len(failures)} failed, {summary.seconds:.1f} s: {request.location}")
    say(f"open it with: {store.opening_line}")
    return DONE if reported and not failures else FAILED


@contextmanager
def _ending(executor: Executor, later: ExitStack) -> Iterator[None]:
    """Stop at the end what an executor started, and leave it to `later` to wait until it has ended if all went well."""
    try:
        yield
    except BaseException:
        executor.close()
        raise
    later.callback(executor.close)
    executor.end()


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _is_of_storage(error: Exception, *, behind_url: bool) -> bool:
    """Whether it is the store that failed: clients of storage behind a URL raise exceptions of their own."""
    known = ("builtins", "sedyn", "sweeps", "numpy", "zarr", "xarray")
    foreign = type(error).__module__.partition(".")[0] not in known
    return isinstance(error, OSError) or (behind_url and foreign and not isinstance(error, InvalidInput | OutputClosed))


def _prepare_report(request: Request) -> None:
    """Have a report load what it takes while workers start, by its attribute `prepare` if it has one.

    Whatever fails there fails again when the report is called.
    """
    prepare = getattr(request.report, "prepare", None)
    if prepare is None:
        return

    def load() -> None:
        with suppress(Exception):
            prepare()

    threading.Thread(target=load, name="report", daemon=True).start()


def _report(request: Request) -> bool:
    """Report what there is, and tell whether that went well; results are kept in any case."""
    if request.report is None:
        return True
    try:
        request.report(request.location)
    except OutputClosed:
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        say(f"report: {type(error).__name__}: {reason}; the store is as it should be", error=True)
        return False
    return True
