"""From a composed configuration to what a sweep computes, where, and what follows; every mistake found on the way."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sedyn.errors import InvalidInput, require_flag, require_known
from sweeps.compute import Compute
from sweeps.plan import PROBLEM_FIELDS, SweepSpec
from sweeps.target import Target
from sweeps.user_modules import import_modules

__all__ = ["Request", "read_request", "register_resolvers"]

TOP_LEVEL = (
    *("problem", "grid", "aspect", "replicates", "target", "block", "seed", "engine", "dtype", "theory"),
    *("laws", "estimate", "imports", "store", "compute", "report", "plan"),
)
THEORY = ("samples", "randomizations")
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
    target : Target, optional
        How precise every cell should be; None gives each its `replicates`.
    report : callable, optional
        Called with the store's location after a finished run.
    plan : bool
        Whether to print the plan and stop.
    """

    spec: SweepSpec
    location: str
    compute: Compute
    imports: tuple[str, ...]
    target: Target | None
    report: Callable[[str], Any] | None
    plan: bool


def register_resolvers() -> None:
    """Make ``${features_at_aspect:n,aspect}`` known to OmegaConf."""
    OmegaConf.register_new_resolver("features_at_aspect", features_at_aspect, replace=True)


def features_at_aspect(n: Any, aspect: Any) -> Any:
    """Compute d = round(n / aspect); None for an n that is no number, which `Problem` then refuses by name."""
    return round(n / aspect) if isinstance(n, int) and isinstance(aspect, int | float) and aspect > 0 else None


def read_request(config: DictConfig, experiment: str | None, overridden: Sequence[str]) -> Request:
    """Check a composed configuration and turn it into a request.

    Parameters
    ----------
    config : DictConfig
        The application's configuration, without Hydra's own.
    experiment : str, optional
        Name of the chosen experiment; it names the store where none is given.
    overridden : sequence of str
        Keys set on the command line. A field set there and swept by the grid is a contradiction.

    Raises
    ------
    InvalidInput
        If a key is unknown or a value is wrong; the message names it and what would work.
    """
    require_known("key", config, TOP_LEVEL)
    for key in TOP_LEVEL:
        if key not in config:
            raise InvalidInput(key, None, "this key is needed; do not delete it")
    imports = _read_imports(config)
    spec = _read_spec(config, overridden)
    target = _read_target(config)
    try:
        compute = Compute.from_mapping(_mapping(config, "compute"))
        store, report, plan = config.store, config.report, config.plan
    except OmegaConfBaseException as error:
        raise _unresolvable(error) from None
    require_flag("plan", plan)
    if store is not None and not (isinstance(store, str) and store.strip()):
        raise InvalidInput("store", store, "a path or URL, or null for stores/<experiment>.zarr")
    location = store or f"stores/{experiment or 'sweep'}.zarr"
    spec = replace(spec, device="cpu" if compute.joins_cluster else compute.local_device())
    if target is not None:
        target.require_start(spec.replicates)
        target.require_values(spec)
    spec.cells  # noqa: B018 - builds and so checks every problem of the grid, which need not wait for the next line
    return Request(spec, location, compute, imports, target, _find_report(report), plan)


def _read_imports(config: DictConfig) -> tuple[str, ...]:
    names = OmegaConf.to_container(config.imports) if isinstance(config.imports, ListConfig) else config.imports
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InvalidInput("imports", names, "a list of modules, as in imports=[my_functions]")
    import_modules(names)
    return tuple(names)


def _read_target(config: DictConfig) -> Target | None:
    values = _mapping(config, "target")
    require_known("target", values, TARGET)
    return None if values.get("stderr") is None else Target(**values)


def _read_spec(config: DictConfig, overridden: Sequence[str]) -> SweepSpec:
    axes = {axis: values for axis, values in _mapping(config, "grid").items() if values is not None}
    require_known("grid", axes, PROBLEM_FIELDS)
    for axis in axes:
        if f"problem.{axis}" in overridden:
            value = OmegaConf.select(config, f"problem.{axis}")
            raise InvalidInput(
                f"problem.{axis}", value, f"the grid sweeps over {axis}; set grid.{axis}=[{value}] instead"
            )
    aspect = config.aspect
    if isinstance(aspect, bool) or not isinstance(aspect, int | float) or not aspect > 0:
        raise InvalidInput("aspect", aspect, "a number > 0: samples per feature, n/d")
    if not isinstance(config.problem, DictConfig):
        raise InvalidInput("problem", config.problem, "a mapping of fields, as in problem.n=1000")
    require_known("problem", config.problem, PROBLEM_FIELDS)
    follows = "d" not in axes and OmegaConf.is_interpolation(config.problem, "d")
    features_at = {}
    if follows:
        sizes = axes.get("n", [config.problem.n])
        if isinstance(sizes, list):
            problem = config.copy()
            for n in sizes:
                OmegaConf.update(problem, "problem.n", n)
                features_at[n] = problem.problem.d
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
        **theory,
    )


def _mapping(config: DictConfig, key: str) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(config[key], resolve=True) if config[key] is not None else None
    except (OmegaConfBaseException, ValueError) as error:
        raise _unresolvable(error) from None
    if not isinstance(values, Mapping):
        raise InvalidInput(key, config[key], f"a mapping, as in {key}.NAME=VALUE")
    return {str(name): value for name, value in values.items()}


def _unresolvable(error: Exception) -> InvalidInput:
    key = getattr(error, "full_key", None) or "configuration"
    return InvalidInput(str(key), "?", str(error).splitlines()[0])


def _find_report(name: Any) -> Callable[[str], Any] | None:
    if name is None:
        return None
    try:
        return pkgutil.resolve_name(str(name))
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput("report", name, f"no such function ({error}); write module.function, or null") from None
