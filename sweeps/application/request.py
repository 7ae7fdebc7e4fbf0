"""From a composed configuration to what a sweep computes, where, and what follows; every mistake found on the way."""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf

from sedyn.checks import SEED, function_of, number, optional, path, whole
from sedyn.errors import LARGEST, InvalidInput, require_flag, require_known, require_one_of
from sweeps.application.composition import Composed
from sweeps.application.rows import design, product_of, table, union, zipped
from sweeps.compute import Compute
from sweeps.location import local_path
from sweeps.plan import SweepSpec, require_fields
from sweeps.refinement import Refinement
from sweeps.registered import code_with, registered_in, require_for_workers
from sweeps.sources import Code
from sweeps.target import Judge, Target
from sweeps.user_modules import import_modules

__all__ = ["Request", "read_request"]

TOP_LEVEL = (
    *("problem", "grid", "zip", "grids", "cells", "ranges", "design", "refine", "aspect", "replicates", "target"),
    *("block", "seed", "engine", "dtype", "theory", "laws", "estimate", "halves", "fluctuations", "imports", "code"),
    *("store", "compute", "max_failures", "report", "plan"),
)
THEORY = ("samples", "randomizations")
_MAX_FAILURES = optional(whole(1, condition="a whole number >= 1, or null"))
TARGET = ("observable", "stderr", "max_replicates", "verdict", "max_seconds", "judge")
DESIGN, REFINE = ("points", "method"), ("axis", "within")


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
        How precise every cell should be, or that findings should be decided; None gives each its `replicates`.
    refinement : Refinement, optional
        Which axis gets more values where the verdict changes.
    judge : callable, optional
        Says where the findings on the store stand, if they should be decided.
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
    refinement: Refinement | None
    judge: Judge | None
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
    refinement = _read_refinement(config)
    spec = _read_spec(config, overridden, refinement)
    target = _read_target(config)
    if target is not None and refinement is not None:
        raise InvalidInput(
            "refine.axis", refinement.axis, "a sweep has a target or refines an axis; run one after the other"
        )
    compute = Compute.from_mapping(_mapping(config, "compute"))
    max_failures = _MAX_FAILURES("max_failures", config.max_failures)
    plan = require_flag("plan", config.plan, condition="true or false")
    location = _store_at("store", f"stores/{experiment or 'sweep'}.zarr" if config.store is None else config.store)
    spec = replace(spec, device="cpu" if compute.joins_cluster else compute.local_device())
    if target is not None:
        target.require_start(spec.replicates)
        target.require_values(spec)
    spec.cells  # noqa: B018 - builds and so checks every problem of the grid, which need not wait for the next line
    code, report = _read_code(config, imports, spec, compute), _find_function("report", config.report)
    judged = target is not None and target.verdict
    judge = _find_function("target.judge", config.target.judge) if judged else None
    if judged and judge is None:
        raise InvalidInput("target.judge", None, "verdicts need a judge; write module.function")
    return Request(spec, location, compute, imports, code, target, refinement, judge, max_failures, report, plan)


def _read_imports(config: DictConfig) -> tuple[str, ...]:
    names = OmegaConf.to_container(config.imports) if isinstance(config.imports, ListConfig) else config.imports
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidInput("imports", names, "a list of modules, as in imports=[my_functions]")
    import_modules(names)
    return tuple(names)


def _read_code(config: DictConfig, imports: Sequence[str], spec: SweepSpec, compute: Compute) -> Code:
    require_one_of("code", config.code, ("same", "any"))
    registered = registered_in(spec)
    if compute.executor != "inline":
        require_for_workers(imports, registered)
    return code_with(imports, registered, replaces=config.code == "any")


def _read_target(config: DictConfig) -> Target | None:
    values = _mapping(config, "target")
    require_known("target", values, TARGET)
    target = Target(**{name: value for name, value in values.items() if name != "judge"})
    return target if target.verdict or target.stderr is not None else None


def _read_refinement(config: DictConfig) -> Refinement | None:
    values = _mapping(config, "refine")
    require_known("refine", values, REFINE)
    refinement = Refinement(**values)
    return None if refinement.axis is None else refinement


def _read_spec(config: DictConfig, overridden: Collection[str], refinement: Refinement | None) -> SweepSpec:
    axes = _lists(config, "grid")
    if not isinstance(config.problem, DictConfig):
        raise InvalidInput("problem", config.problem, "a mapping of fields, as in problem.n=1000")
    require_fields("problem", config.problem)
    key, rows = _read_rows(config)
    unused = {**dict.fromkeys(_named_in_all(config) if key == "grids" else (rows[0] if rows else ())), **axes}
    for field in unused:
        if f"problem.{field}" in overridden:
            value = OmegaConf.select(config, f"problem.{field}")
            remedy = f"{key} has a value of it for every cell; leave it out"
            if field in axes:
                remedy = f"the grid sweeps over {field}; set grid.{field}=[{value}] instead"
            raise InvalidInput(f"problem.{field}", value, remedy)
    follows = OmegaConf.is_interpolation(config.problem, "d") and not any("d" in varying for varying in (axes, *rows))
    if not follows and "aspect" in overridden:
        raise InvalidInput("aspect", config.aspect, "d is given, so nothing follows this ratio; leave out aspect, or d")
    if isinstance(config.aspect, ListConfig):
        axes, rows = _at_aspects(config, axes, rows)
        follows = False
    else:
        number("> 0: samples per feature, n/d", lambda ratio: ratio > 0)("aspect", config.aspect)
    if refinement is not None:  # cells that come later are on no grid
        grid = {name: values for name, values in axes.items() if isinstance(values, list) and values}
        rows = [{**row, **cell} for row in rows or [{}] for cell in product_of(grid)] if grid else rows
        axes = {name: values for name, values in axes.items() if name not in grid}
    sizes = axes.get("n", [row["n"] for row in rows if "n" in row] or [config.problem.n])
    features_at = {}
    if follows and isinstance(sizes, list):
        # `Problem` refuses the others.
        features_at = {n: _features(config, n, config.aspect) for n in sizes if isinstance(n, int)}
    theory = _mapping(config, "theory")
    require_known("theory", theory, THEORY)
    varying = {*axes, *(rows[0] if rows else ()), *(("d",) if follows else ())}
    spec = SweepSpec(
        base={name: value for name, value in _mapping(config, "problem").items() if name not in varying},
        axes=axes,
        rows=rows or None,
        features_at=features_at,
        aspect=config.aspect if follows else None,
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
    if refinement is not None:
        refinement.require_axis(spec)
    return spec


def _lists(config: DictConfig, key: str) -> dict[str, Any]:
    given = {name: values for name, values in _mapping(config, key).items() if values is not None}
    require_fields(key, given)
    return given


def _read_rows(config: DictConfig) -> tuple[str, list[dict[str, Any]]]:
    """Read what varies together, under the one key that says so."""
    given: dict[str, Any] = {"zip": _lists(config, "zip"), "ranges": _lists(config, "ranges")}
    for key in ("grids", "cells"):
        value = config[key]
        given[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    said = [key for key, value in given.items() if value is not None and value != {}]
    if len(said) > 1:
        raise InvalidInput(said[1], given[said[1]], f"{said[0]} says already what varies together; give one of the two")
    how = _mapping(config, "design")
    require_known("design", how, DESIGN)
    if "ranges" not in said and how["points"] is not None:
        raise InvalidInput(
            "design.points", how["points"], "there is nothing to fill; name ranges, ranges.noise=[0.1,1]"
        )
    key = said[0] if said else ""
    ways = {
        "zip": lambda: zipped(given["zip"]),
        "ranges": lambda: design(given["ranges"], **how, seed=SEED("seed", config.seed)),
        "grids": lambda: union(given["grids"], _constants(config)),
        "cells": lambda: table(given["cells"]),
    }
    return key, ways[key]() if key else []


def _named_in_all(config: DictConfig) -> set[str]:
    """Fields that every one of several grids names."""
    return set.intersection(*(set(map(str, grid)) for grid in config.grids))


def _constants(config: DictConfig) -> dict[str, Any]:
    """The fields of the problem, without a d that follows n."""
    follows = OmegaConf.is_interpolation(config.problem, "d")
    return {name: value for name, value in _mapping(config, "problem").items() if not (follows and name == "d")}


def _at_aspects(
    config: DictConfig, axes: dict[str, Any], rows: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Make rows of several d for each n: d varies with n, and by itself."""
    aspects = OmegaConf.to_container(config.aspect, resolve=True)
    if not isinstance(aspects, list) or not aspects:
        raise InvalidInput("aspect", aspects, "a number > 0, or a list of them")
    sizes = [{"n": n} for n in axes["n"]] if isinstance(axes.get("n"), list) else [{}]
    found = []
    for row in ({**row, **size} for row in rows or [{}] for size in sizes):
        n = row.get("n", config.problem.n)
        if isinstance(n, int):  # `Problem` refuses the others
            found += [{**row, "d": _features(config, n, aspect)} for aspect in aspects]
        else:
            found.append({**row, "d": 1})
    return {axis: values for axis, values in axes.items() if axis != "n"}, found


def _features(config: DictConfig, n: int, aspect: Any) -> Any:
    """Find d at a size and a ratio; None for a size that `Problem` refuses."""
    number("> 0: samples per feature, n/d", lambda ratio: ratio > 0)("aspect", aspect)
    there = config.copy()
    OmegaConf.update(there, "problem.n", n)
    OmegaConf.update(there, "aspect", aspect)
    d = there.problem.d
    if 1 <= n <= LARGEST and not d:
        many = "no" if d == 0 else "too many"
        raise InvalidInput("aspect", aspect, f"at n={n} it gives {many} features; name one nearer to 1")
    return d


def _mapping(config: DictConfig, key: str) -> dict[str, Any]:
    if not isinstance(config[key], DictConfig):
        raise InvalidInput(key, config[key], f"a mapping, as in {key}.NAME=VALUE")
    values: Any = OmegaConf.to_container(config[key], resolve=True, throw_on_missing=True)
    return {str(name): value for name, value in values.items()}


def _store_at(field: str, value: Any) -> str:
    """Check where a store goes: a folder that has a name, on a path that can be, or a URL."""
    location = path(field, value)
    local = local_path(location)
    if local is not None:
        if local.name in ("", "..") or str(local).strip() != str(local):
            raise InvalidInput(field, value, "a path that ends in a name, as in stores/NAME.zarr")
        try:
            os.stat(local)
        except FileNotFoundError:
            pass  # it will be made
        except OSError as error:
            raise InvalidInput(field, value, f"cannot be made there ({error.strerror}); name another path") from None
    return location


def _find_function(key: str, name: Any) -> Callable[[str], Any] | None:
    """Find a function of a store's path by its name."""
    if name is None:
        return None
    try:
        found = pkgutil.resolve_name(str(name))
    except (Exception, SystemExit) as error:  # a user's module may fail in any way
        raise InvalidInput(key, name, f"no such function ({error}); write module.function, or null") from None
    try:
        return function_of(1)(key, found)
    except InvalidInput:
        kind = type(found).__name__
        raise InvalidInput(key, name, f"a function of the store's path, not a {kind} that takes another") from None
