"""What a shell completes after ``sedyn``: commands, keys of a sweep, names of experiments, paths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from omegaconf import OmegaConf

from sedyn.model.problem import Problem
from sweeps.application.composition import CONFIGURATIONS, experiments

__all__ = ["completion"]

_SCRIPT = """_sedyn() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="" key=""
    ((COMP_CWORD > 0)) && before="${{COMP_WORDS[COMP_CWORD - 1]}}"
    ((COMP_CWORD > 1)) && key="${{COMP_WORDS[COMP_CWORD - 2]}}"
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    elif [[ "${{COMP_WORDS[1]}}" != sweep ]]; then
        COMPREPLY=($(compgen -f -- "$word"))
    elif [[ "$word" == "=" && "$before" == experiment ]]; then
        COMPREPLY=($(compgen -W "{experiments}"))
    elif [[ "$before" == "=" && "$key" == experiment ]]; then
        COMPREPLY=($(compgen -W "{experiments}" -- "$word"))
    elif [[ "$before" != "=" && "$word" != "=" ]]; then
        COMPREPLY=($(compgen -W "{keys}" -- "$word"))
        compopt -o nospace 2> /dev/null
    fi
}}
complete -o filenames -F _sedyn sedyn"""


def completion(commands: Iterable[str]) -> str:
    """Write the script that bash reads, and zsh after ``bashcompinit``.

    Parameters
    ----------
    commands : iterable of str
        Names of the commands.

    Returns
    -------
    str
    """
    return _SCRIPT.format(
        commands=" ".join(commands), experiments=" ".join(experiments()), keys=" ".join(f"{key}=" for key in _keys())
    )


def _keys() -> list[str]:
    configured: Any = OmegaConf.to_container(OmegaConf.load(CONFIGURATIONS / "config.yaml"))
    del configured["defaults"]
    keys = ["experiment", "compute"]
    for key, value in configured.items():
        keys += [f"{key}.{name}" for name in value] if isinstance(value, dict) else [key]
    groups = ("problem", "grid", "zip", "ranges")
    return [*keys, *(f"{group}.{field.name}" for group in groups for field in fields(Problem))]
