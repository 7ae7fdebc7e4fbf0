"""What the jobs of a ``--multirun`` have in common and in which keys they differ."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from sedyn.errors import InvalidInput
from sweeps.plan import PROBLEM_FIELDS

__all__ = ["problem_field", "swept_axes"]


def swept_axes(jobs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Find the keys in which jobs differ and the values of each.

    Parameters
    ----------
    jobs : sequence of dict
        For each job, every key set on the command line and its value.

    Raises
    ------
    InvalidInput
        If such a key is no field of the problem, or the jobs are not all combinations of the values.
    """
    axes: dict[str, list[Any]] = {}
    for key in jobs[0]:
        values: list[Any] = []
        for job in jobs:
            if job[key] not in values:
                values.append(job[key])
        if len(values) > 1:
            if problem_field(key) is None:
                remedy = "--multirun sweeps over problem fields, as in problem.noise=0.1,0.5; run the others one by one"
                raise InvalidInput(key, ",".join(map(str, values)), remedy)
            axes[key] = values
    wanted = set(itertools.product(*(map(repr, values) for values in axes.values())))
    given = {tuple(repr(job[key]) for key in axes) for job in jobs}
    if given != wanted:
        missing = sorted(wanted - given)[0]
        remedy = (
            f"{', '.join(axes)} do not form a grid: job {', '.join(missing)} is missing; sweep over all combinations"
        )
        raise InvalidInput("--multirun", len(jobs), remedy)
    return axes


def problem_field(key: str) -> str | None:
    """Name the `Problem` field that a key on the command line sets, if it sets one."""
    parent, _, name = key.lstrip("+").rpartition(".")
    return name if parent == "problem" and name in PROBLEM_FIELDS else None
