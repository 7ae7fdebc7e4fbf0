"""From a composed configuration to what a sweep computes, where, and what follows; every mistake found on the way."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from sedyn.checks import function_of, number, optional, path, whole
from sedyn.errors import LARGEST, InvalidInput, require_flag, require_known, require_one_of
from sweeps.application.composition import Composed
from sweeps.compute import Compute
from sweeps.plan import PROBLEM_FIELDS, SweepSpec
from sweeps.sources import Code, code_of
from sweeps.target import Target
from sweeps.user_modules import import_modules

__all__ = ["Request", "read_request"]

TOP_LEVEL = (
    *("problem", "grid", "aspect", "replicates", "target", "block", "seed", "engine", "dtype", "theory"),
    *("laws", "estimate", "halves", "fluctuations", "imports", "code", "store", "compute", "max_failures", "report"),
    "plan",
)
THEORY = ("samples", "randomizations")
_MAX_FAILURES = optional(whole(1, condition="a whole number >= 1, or null"))
TARGET = ("observable", "stderr", "max_replicates")


@dataclass(frozen=True)
class Request:
    """Everything a run of the application needs.

    Parameters
    ----------
    spec : SweepSpec
        What to compute.
    location : str
        Path or URL of the store.
    compute : Compute
        Where to compute.
    imports : tuple of str
        Modules that every worker imports first.
    code : Code
        What computes, and whether it may replace other code.
    target : Target, optional
        How precise every cell should be; None gives each its `replicates`.
    max_failures : int, optional
        Failures after which no task is begun any more.
    report : callable, optional
        Called with the store's location after a finished run.
    plan : bool
        Whether to print the plan and stop.
    """

    spec: SweepSpec
    location: str
    compute: Compute
    imports: tuple[str, ...]
    code: Code
    target: Target | None
    max_failures: int | None
    report: Callable[[str], Any] | None
    plan: bool


def read_request(composed: Composed) -> Request:
    """Check a composed configuration and turn it into a request.

    Raises
    ------
    InvalidInput
        If a key is unknown or a value is wrong, or if a field is set on the command line and swept by the grid; the
        message names it and what would work.
    OmegaConfBaseException
        If a value follows from one that is not there.
    """
    config, experiment, overridden = composed
    require_known("key", config, TOP_LEVEL)
    for key in TOP_LEVEL:
        if key not in config:
            raise InvalidInput(key, None, "this key is needed; do not delete it")
    imports = _read_imports(config)
    spec = _read_spec(config, overridden)
    target = _read_target(config)
    compute = Compute.from_mapping(_mapping(config, "compute"))
    max_failures = _MAX_FAILURES("max_failures", config.max_failures)
    plan = require_flag("plan", config.plan, condition="true or false")
    location = _store_at("store", f"stores/{experiment or 'sweep'}.zarr" if config.store is None else config.store)
    spec = replace(spec, device="cpu" if compute.joins_cluster else compute.local_device())
    if target is not None:
        target.require_start(spec.replicates)
        target.require_values(spec)
    spec.cells  # noqa: B018 - builds and so checks every problem of the grid, which need not wait for the next line
    code, report = _read_code(config, imports), _find_report(config.report)
    return Request(spec, location, compute, imports, code, target, max_failures, report, plan)


def _read_imports(config: DictConfig) -> tuple[str, ...]:
    names = OmegaConf.to_container(config.imports) if isinstance(config.imports, ListConfig) else config.imports
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidInput("imports", names, "a list of modules, as in imports=[my_functions]")
    import_modules(names)
    return tuple(names)


def _read_code(config: DictConfig, imports: Sequence[str]) -> Code:
    require_one_of("code", config.code, ("same", "any"))
    return code_of(imports, replaces=config.code == "any")


def _read_target(config: DictConfig) -> Target | None:
    values = _mapping(config, "target")
    require_known("target", values, TARGET)
    target = Target(**values)
    return None if target.stderr is None else target


def _read_spec(config: DictConfig, overridden: Collection[str]) -> SweepSpec:
    axes = {axis: values for axis, values in _mapping(config, "grid").items() if values is not None}
    require_known("grid", axes, PROBLEM_FIELDS)
    for axis in axes:
        if f"problem.{axis}" in overridden:
            value = OmegaConf.select(config, f"problem.{axis}")
            raise InvalidInput(
                f"problem.{axis}", value, f"the grid sweeps over {axis}; set grid.{axis}=[{value}] instead"
            )
    aspect = config.aspect
    number("> 0: samples per feature, n/d", lambda ratio: ratio > 0)("aspect", aspect)
    if not isinstance(config.problem, DictConfig):
        raise InvalidInput("problem", config.problem, "a mapping of fields, as in problem.n=1000")
    require_known("problem", config.problem, PROBLEM_FIELDS)
    follows = "d" not in axes and OmegaConf.is_interpolation(config.problem, "d")
    features_at = {}
    if follows:
        sizes = axes.get("n", [config.problem.n])
        if isinstance(sizes, list):
            problem = config.copy()
            for n in (size for size in sizes if isinstance(size, int)):  # `Problem` refuses the others
                OmegaConf.update(problem, "problem.n", n)
                features_at[n] = d = problem.problem.d
                if 1 <= n <= LARGEST and not d:
                    many = "no" if d == 0 else "too many"
                    raise InvalidInput("aspect", aspect, f"at n={n} it gives {many} features; name one nearer to 1")
    elif "aspect" in overridden:
        raise InvalidInput("aspect", aspect, "d is given, so nothing follows this ratio; leave out aspect, or d")
    theory = _mapping(config, "theory")
    require_known("theory", theory, THEORY)
    return SweepSpec(
        base={
            name: value
            for name, value in _mapping(config, "problem").items()
            if name not in axes and not (follows and name == "d")
        },
        axes=axes,
        features_at=features_at,
        aspect=aspect if follows else None,
        replicates=config.replicates,
        block=config.block,
        seed=config.seed,
        engine=config.engine,
        dtype=config.dtype,
        laws=config.laws,
        estimate=config.estimate,
        halves=config.halves,
        fluctuations=config.fluctuations,
        **theory,
    )


def _mapping(config: DictConfig, key: str) -> dict[str, Any]:
    if not isinstance(config[key], DictConfig):
        raise InvalidInput(key, config[key], f"a mapping, as in {key}.NAME=VALUE")
    values: Any = OmegaConf.to_container(config[key], resolve=True, throw_on_missing=True)
    return {str(name): value for name, value in values.items()}


def _store_at(field: str, value: Any) -> str:
    """Check where a store goes: a folder that has a name, on a path that can be, or a URL."""
    location = path(field, value)
    local = location.removeprefix("file://")
    if "://" not in local:
        if Path(local).name in ("", "..") or local.strip() != local:
            raise InvalidInput(field, value, "a path that ends in a name, as in stores/NAME.zarr")
        try:
            os.stat(local)
        except FileNotFoundError:
            pass  # it will be made
        except OSError as error:
            raise InvalidInput(field, value, f"cannot be made there ({error.strerror}); name another path") from None
    return location


def _find_report(name: Any) -> Callable[[str], Any] | None:
    if name is None:
        return None
    try:
        found = pkgutil.resolve_name(str(name))
    except (Exception, SystemExit) as error:  # a user's module may fail in any way
        raise InvalidInput("report", name, f"no such function ({error}); write module.function, or null") from None
    try:
        return function_of(1)("report", found)
    except InvalidInput:
        kind = type(found).__name__
        raise InvalidInput("report", name, f"a function of the store's path, not a {kind} that takes another") from None
