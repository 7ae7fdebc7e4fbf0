"""The command that makes a store again, from the settings that the store keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from sweeps.application.composition import compose, experiments, quoted
from sweeps.store import CELL, TARGET, WANTED, columns, is_asked
from sweeps.terminal import shell_word

__all__ = ["path_word", "sweep_command"]

_GROUPS = ("problem", "grid", "zip", "theory")
_SINGLE = ("aspect", "replicates", "seed", "engine", "dtype", "estimate", "halves", "fluctuations", "laws")
"""Top-level keys that say what a store holds. No other key is taken from a store: it may be a stranger's, and `report`,
`imports` or `store` say what is run and where it goes."""
_TARGET = ("stderr", "observable", "max_replicates", "verdict", "max_seconds")
_PLAIN = re.compile(r"[\w.+/-]*")


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
    return " ".join(["python", "-m", "sweeps", *map(shell_word, words)])


@cache
def _start(experiment: str) -> dict[str, Any]:
    """The keys that an experiment starts from, or a sweep without one; what follows from others is unresolved."""
    composed: Any = OmegaConf.to_container(compose([f"experiment={experiment}"] if experiment else []).config)
    return _flat(composed)


def _keys(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a store under the names of the command line."""
    varying = _varying(settings) if "axes" in settings else {}
    plain = {**{key: value for key, value in settings.items() if key != "axes"}, **varying}
    plain["target"] = target = settings.get(TARGET)
    if target:
        plain["replicates"] = target["replicates"]
    elif wanted := settings.get(WANTED):  # of before it said: it began with as many as the cell that has the fewest
        plain |= {"replicates": min(count for _, count in wanted), "target": {"verdict": True}}
    return _flat(plain)


def _varying(settings: Mapping[str, Any]) -> dict[str, dict[str, list[Any]]]:
    """A grid, and what varies together; where the grid has places that nobody asked for, all that varies."""
    known, asked = columns(settings), is_asked(settings)
    if asked.all():
        zipped = {name: values for name, (axis, values) in known.items() if axis == CELL}
        return {"grid": {name: values for name, (axis, values) in known.items() if axis != CELL}, "zip": zipped}
    places = dict(zip(settings["axes"], np.nonzero(asked), strict=True))
    return {"zip": {name: [values[k] for k in places[axis]] for name, (axis, values) in known.items()}}


def path_word(path: str) -> str:
    """Write a path as one word of a shell that is no option."""
    return shell_word(f"./{path}" if path.startswith("-") else path)


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    flat = {key: values[key] for key in _SINGLE if key in values and not isinstance(values[key], Mapping)}
    target = values.get("target") or {}
    flat |= {f"target.{key}": target[key] for key in _TARGET if key in target}
    return flat | {f"{group}.{key}": value for group in _GROUPS for key, value in (values.get(group) or {}).items()}


def _words(wanted: Mapping[str, Any], defaults: Mapping[str, Any], experiment: str, name: str) -> list[str]:
    words = [f"experiment={experiment}"] if experiment else []
    for key, value in defaults.items():
        if key.startswith("grid.") and value is not None and key not in wanted:
            words.append(f"{key}=null")
        elif key in wanted and wanted[key] is not None and wanted[key] != value:
            words.append(f"{key}={_text(wanted[key])}")
    if name != (experiment.rpartition("/")[2] or "sweep"):
        words.append(f"store={_text(f'stores/{name}.zarr')}")
    return words


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    if not isinstance(value, str) or _PLAIN.fullmatch(text):
        return text
    return quoted(text).replace("${", r"\${")  # else Hydra would call a function, make a list or look a reference up
