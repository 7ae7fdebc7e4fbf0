"""The command line: ``python -m sweeps``. Composes the configuration with Hydra, runs the sweep, says what happened."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import hydra
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sedyn.errors import InvalidInput
from sweeps.compute import Compute
from sweeps.plan import PROBLEM_FIELDS
from sweeps.request import TARGET, THEORY, TOP_LEVEL, Request, read_request, register_resolvers
from sweeps.target import Target

__all__ = ["main"]

DONE, FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
CONFIGURATIONS = Path(__file__).resolve().parent.parent / "conf"
PLUGINS = str(Path(__file__).resolve().parent / "plugins")
FAILURES_SHOWN = 5
MULTIRUN = ("--multirun", "-m")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments without the program's name; those of the process by default.

    Returns
    -------
    int
        Exit status: 0 done, 1 some tasks failed, 2 the request was wrong, 130 stopped by Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    arguments.sort(key=lambda argument: argument not in MULTIRUN)  # argparse wants it before the keys
    status = DONE
    failure: Exception | None = None

    def application(config: DictConfig) -> None:
        nonlocal status, failure
        settings = HydraConfig.get()
        overridden = [key.lstrip("+").partition("=")[0] for key in settings.overrides.task]
        try:
            status = run(read_request(config, settings.runtime.choices.get("experiment"), overridden))
        except Exception as error:
            failure = error  # past Hydra, which would print its own account of it

    try:
        with _hydra_settings(arguments):
            hydra.main(version_base="1.3", config_path=str(CONFIGURATIONS), config_name="config")(application)()
            if failure is not None:
                raise failure
    except InvalidInput as error:
        return _refuse(str(error))
    except (HydraException, OmegaConfBaseException) as error:
        return _refuse(_one_line(error))
    except KeyboardInterrupt:
        print("stopped; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:
        # Hydra's own commands (--help, --version, wrong flags) end this way.
        return stop.code if isinstance(stop.code, int) else DONE
    return status


def run(request: Request) -> int:
    """Run a checked request: plan, or compute what is missing and report.

    Raises
    ------
    InvalidInput
        If the machine or the store cannot serve the request.
    """
    spec, compute = request.spec, request.compute
    device = spec.device
    # What follows loads zarr, xarray and scipy, which a wrong request need not wait for, nor for the rest a plan.
    if request.plan:
        from sweeps.forecast import forecast

        for line in forecast(spec, compute, request.target, request.location):
            print(line)
        print(f"store: {request.location}")
        return DONE
    from sweeps.cost import largest_memory
    from sweeps.driver import FixedTasks, Summary, run_tasks
    from sweeps.executors import make_executor
    from sweeps.precision import PreciseTasks
    from sweeps.progress import make_progress
    from sweeps.provenance import git_commit
    from sweeps.schedule import missing_tasks
    from sweeps.store import Store, local_path, mend, only_driver
    from sweeps.worker import WorkerSetup

    search_path = tuple(os.path.abspath(folder) for folder in sys.path) if request.imports else ()
    setup = WorkerSetup(request.location, device, request.imports, git_commit(), search_path)
    summary = Summary(0, [], 0.0)
    with ExitStack() as stack:
        if compute.joins_cluster:  # and may be refused, before there is a store
            executor = stack.enter_context(closing(make_executor(compute, setup, largest_memory(spec))))
        stack.enter_context(only_driver(request.location))
        try:
            store = Store.prepare(request.location, spec)
            if local_path(request.location) and (lost := mend(store)):
                print(f"{lost} results were cut short, as by a power cut, and are computed again", file=sys.stderr)
            precise = None if request.target is None else PreciseTasks(store, spec, request.target)
            planned_for = "gpu" if compute.device == "gpu" else device  # also on a cluster, which alone knows
            tasks = missing_tasks(store, spec, planned_for) if precise is None else precise.tasks
            if tasks:
                if not compute.joins_cluster:
                    executor = stack.enter_context(closing(make_executor(compute, setup, largest_memory(spec))))
                with make_progress(tasks) as progress:
                    summary = run_tasks(precise or FixedTasks(tasks), store, executor, progress)
        except OSError as error:
            message = f"store={request.location!r} cannot be written: {error}; what is finished is kept"
            print(message, file=sys.stderr)
            return FAILED
    failures = summary.failures
    for failure in failures[:FAILURES_SHOWN]:
        print(f"failed: {failure.task}: {failure.error}", file=sys.stderr)
    if len(failures) > FAILURES_SHOWN:
        print(f"and {len(failures) - FAILURES_SHOWN} more; status/simulation_error has them all", file=sys.stderr)
    if request.report is not None:
        request.report(request.location)
    if request.target is not None and precise is not None:
        print(_precision_reached(precise.errors, request.target))
    done = f"{summary.done} tasks done" if tasks else "nothing was missing"
    print(f"{done}, {len(failures)} failed, {summary.seconds:.1f} s: {request.location}")
    print(f"open it with: {store.opening_line}")
    return FAILED if failures else DONE


def _precision_reached(errors: list[float], target: Target) -> str:
    met = sum(error <= target.stderr for error in errors)
    return (
        f"target met in {met} of {len(errors)} cells; largest standard error of {target.observable}: "
        f"{max(errors):.3g} (target {target.stderr:g}, at most {target.max_replicates} replicates)"
    )


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return WRONG_REQUEST


@contextmanager
def _hydra_settings(arguments: list[str]) -> Iterator[None]:
    """Let Hydra raise its errors instead of printing them, and write what it must write where it is deleted."""
    register_resolvers()
    if PLUGINS not in sys.path:
        sys.path.append(PLUGINS)
    mode = RunMode.MULTIRUN if {*arguments} & {*MULTIRUN} else RunMode.RUN
    with tempfile.TemporaryDirectory(prefix="sweeps-") as scratch:
        OmegaConf.register_new_resolver("scratch_folder", lambda: scratch, replace=True)
        with (
            patch.object(sys, "argv", ["sweeps", *arguments]),
            patch.dict(os.environ, {"HYDRA_FULL_ERROR": "1"}),
            patch.object(argparse.ArgumentParser, "error", _refuse_flag),
            # Hydra would compose everything twice: first to see if a file, and not a flag, asks for --multirun.
            patch.object(Hydra, "get_mode", lambda *_, **__: mode),
            patch.object(Hydra, "compose_config", _composed),
        ):
            yield


_compose = Hydra.compose_config


def _composed(composer: Hydra, *, run_mode: RunMode, **how: Any) -> DictConfig:
    """Compose a configuration, which must not ask for another mode than the command line."""
    config = _compose(composer, run_mode=run_mode, **how)
    if config.hydra.mode not in (None, run_mode):
        remedy = "leave it out; the flag --multirun asks for a multirun"
        raise InvalidInput("hydra.mode", config.hydra.mode.name, remedy)
    return config


def _refuse_flag(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    raise InvalidInput("flags", message, "write KEY=VALUE without dashes; --help lists what can be set")


def _one_line(error: Exception) -> str:
    """Say what was wrong with a command line in this program's words."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        reason = " ".join(line for line in str(error.message).splitlines() if not line.startswith(("See ", "Error ")))
        return str(
            InvalidInput(
                "override", error.override, f"{reason}; write KEY=VALUE, in quotes if it has special characters"
            )
        )
    if unknown := re.search(r"Could not override '([^']+)'", text):
        return str(_unknown_key(unknown[1]))
    if missing := re.search(r"Could not find '(\w+)/([^']+)'", text):
        group, name = missing.groups()
        return str(InvalidInput.unknown(group, name, _choices(group)))
    if group_error := re.search(r"Could not override '(\w+)'\. No match in the defaults list", text):
        return str(_unknown_key(group_error[1]))
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _unknown_key(key: str) -> InvalidInput:
    key = key.lstrip("+~")
    parent, _, name = key.rpartition(".")
    known = {
        **{"problem": PROBLEM_FIELDS, "grid": PROBLEM_FIELDS, "theory": THEORY, "target": TARGET},
        "compute": tuple(field.name for field in fields(Compute)),
    }
    if parent in known:
        return InvalidInput.unknown(parent, name, known[parent])
    return InvalidInput.unknown("key", key, (*TOP_LEVEL, "experiment"))


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGURATIONS / group).glob("*.yaml"))
