"""The command that makes a store again, from the settings that the store keeps."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

__all__ = ["sweep_command"]

CONFIGURATIONS = Path(__file__).resolve().parents[2] / "conf"
_GROUPS = ("problem", "grid", "theory")
_DEFAULTS = {"problem": "default", "grid": "single"}
_NO_NUMBER = ("block",)
"""Settings that a store keeps though they change no number of it."""


def sweep_command(settings: Mapping[str, Any], name: str, configurations: Path = CONFIGURATIONS) -> str:
    """Write the shortest sweep that makes a store with these settings.

    Parameters
    ----------
    settings : mapping
        What a store keeps of its sweep: problem, axes, aspect, replicates, seed, theory and further top-level keys.
    name : str
        Of the store, without ``.zarr``.
    configurations : path
        The configuration groups: the defaults, and the experiments that shorten the command.

    Returns
    -------
    str
        A command line; every setting that is not as configured by default, or by the experiment named, is a key.

    Examples
    --------
    >>> sweep_command({"axes": {"n": [100, 200]}, "replicates": 4}, "mine")
    "python -m sweeps 'grid.n=[100,200]' replicates=4 store=stores/mine.zarr"
    """
    wanted = _keys(settings)
    candidates = _candidates(configurations).items()
    words = min((_words(wanted, defaults, experiment, name) for experiment, defaults in candidates), key=len)
    return " ".join(["python", "-m", "sweeps", *map(shlex.quote, words)])


@cache
def _candidates(configurations: Path) -> dict[str, dict[str, Any]]:
    """The keys that each experiment starts from, and under an empty name those of a sweep without one."""
    experiments = configurations / "experiment"
    files = {file.relative_to(experiments).with_suffix("").as_posix() for file in experiments.rglob("*.yaml")}
    base: Any = OmegaConf.load(configurations / "config.yaml")
    base = OmegaConf.merge(base, {group: _part(configurations, f"{group}/{name}") for group, name in _DEFAULTS.items()})
    return {"": _unresolved(base)} | {
        name: _unresolved(OmegaConf.merge(base, _part(configurations, f"experiment/{name}"))) for name in sorted(files)
    }


def _keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a store under the names of the command line."""
    renamed = {**{key: value for key, value in settings.items() if key != "axes"}, "grid": settings.get("axes", {})}
    return _flat(renamed)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    return flat | {f"{group}.{key}": value for group in _GROUPS for key, value in (values.get(group) or {}).items()}


def _unresolved(config: Any) -> dict[str, Any]:
    """The keys that a sweep would start from; values that follow from others stay unresolved."""
    composed: Any = OmegaConf.to_container(config)
    return _flat(composed)


def _part(folder: Path, name: str) -> Any:
    """One file of a group, merged over those that its list of defaults names: a file, or another choice of a group."""
    part: Any = OmegaConf.load(folder / f"{name}.yaml")
    below: Any = OmegaConf.create()
    for entry in part.pop("defaults", []):
        if entry == "_self_":
            continue
        if isinstance(entry, str):
            path = entry.removeprefix("/") if entry.startswith("/") else f"{name.rpartition('/')[0]}/{entry}"
            below = OmegaConf.merge(below, _part(folder, path))
        else:
            for group, choice in entry.items():
                group = group.removeprefix("override ").removeprefix("/")
                below = OmegaConf.merge(below, {group: _part(folder, f"{group}/{choice}")})
    return OmegaConf.merge(below, part)


def _words(wanted: Mapping[str, Any], defaults: Mapping[str, Any], experiment: str, name: str) -> list[str]:
    words = [f"experiment={experiment}"] if experiment else []
    for key, value in defaults.items():
        if key.startswith("grid.") and value is not None and key not in wanted:
            words.append(f"{key}=null")
        elif key in wanted and key not in _NO_NUMBER and wanted[key] is not None and wanted[key] != value:
            words.append(f"{key}={_text(wanted[key])}")
    if name != (experiment.rpartition("/")[2] or "sweep"):
        words.append(f"store=stores/{name}.zarr")
    return words


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return f"'{text}'" if "(" in text else text  # without quotes, Hydra calls a function
