"""What can be set on the command line of a sweep, as ``--help`` shows it: from conf/ and from `Problem`'s docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields

from sedyn.model.problem import Problem
from sweeps.application.composition import CONFIGURATIONS

__all__ = ["settings_help"]


def settings_help() -> str:
    """List the choices of each group, the keys with their defaults, and the fields of a problem with their meaning."""
    keys = (CONFIGURATIONS / "config.yaml").read_text().partition("\n\n")[2]
    sections = {
        "choices (GROUP=NAME)": _choices(),
        "keys (KEY=VALUE, or GROUP.KEY=VALUE where indented) at their defaults": keys,
        "compute.KEY=VALUE": (CONFIGURATIONS / "compute" / "local.yaml").read_text().partition("\n")[2],
        "problem.FIELD=VALUE, or grid.FIELD=[VALUE,VALUE] for an axis of the grid": _fields_of_a_problem(),
    }
    return "\n".join(f"{title}:\n{_indented(text)}" for title, text in sections.items())


def _choices() -> str:
    groups: dict[str, list[str]] = {}
    for file in sorted(CONFIGURATIONS.rglob("*/*.yaml")):
        groups.setdefault(file.parent.relative_to(CONFIGURATIONS).as_posix(), []).append(file.stem)
    return "\n".join(f"{group}: {', '.join(names)}" for group, names in sorted(groups.items()))


def _fields_of_a_problem() -> str:
    """Take the Parameters of the class's docstring, and write each field's default beside its name."""
    defaults = {field.name: field.default for field in fields(Problem)}
    text = re.search(r"Parameters\n-+\n(.*?)\n\n\S", inspect.getdoc(Problem) or "", flags=re.DOTALL)

    def with_defaults(line: re.Match[str]) -> str:
        return f"{line[0]}, default {', '.join(str(defaults[name]) for name in line[1].split(', '))}"

    plain = text[1].replace("``", "`") if text else ""
    return re.sub(r"^(\w+(?:, \w+)*) : .*$", with_defaults, plain, flags=re.MULTILINE)


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.strip().splitlines())
