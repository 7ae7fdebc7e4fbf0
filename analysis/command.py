"""The command that makes a store again, from the settings that the store keeps."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from sweeps.application.composition import compose, experiments

__all__ = ["sweep_command"]

_GROUPS = ("problem", "grid", "theory")
_NO_NUMBER = ("block",)
"""Settings that a store keeps though they change no number of it."""


def sweep_command(settings: Mapping[str, Any], name: str) -> str:
    """Write the shortest sweep that makes a store with these settings.

    Parameters
    ----------
    settings : mapping
        What a store keeps of its sweep: problem, axes, aspect, replicates, seed, theory and further top-level keys.
    name : str
        Of the store, without ``.zarr``.

    Returns
    -------
    str
        A command line; every setting that is not as configured by default, or by an experiment of the store's name,
        is a key.

    Examples
    --------
    >>> sweep_command({"axes": {"n": [100, 200]}, "replicates": 4}, "mine")
    "python -m sweeps replicates=4 'grid.n=[100,200]' store=stores/mine.zarr"
    """
    wanted = _keys(settings)
    named = [experiment for experiment in experiments() if experiment.rpartition("/")[2] == name]
    words = min((_words(wanted, _start(experiment), experiment, name) for experiment in ("", *named)), key=len)
    return " ".join(["python", "-m", "sweeps", *map(shlex.quote, words)])


@cache
def _start(experiment: str) -> dict[str, Any]:
    """The keys that an experiment starts from, or a sweep without one; what follows from others is unresolved."""
    composed: Any = OmegaConf.to_container(compose([f"experiment={experiment}"] if experiment else []).config)
    return _flat(composed)


def _keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a store under the names of the command line."""
    renamed = {**{key: value for key, value in settings.items() if key != "axes"}, "grid": settings.get("axes", {})}
    return _flat(renamed)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    return flat | {f"{group}.{key}": value for group in _GROUPS for key, value in (values.get(group) or {}).items()}


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
