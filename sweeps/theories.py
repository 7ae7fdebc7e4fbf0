"""Theory solutions that a worker's simulations are compared with, kept while there is room."""

from __future__ import annotations

from collections import OrderedDict

import xarray as xr

import sedyn
from sedyn.model.problem import Problem
from sweeps.plan import TheorySettings

__all__ = ["Theories"]

BUDGET = 2**29  # bytes; solutions keep their samples


class Theories:
    """Solves each theory when it is first asked for, and forgets those not asked for the longest.

    A solution depends on the problem and these settings alone, so results do not depend on what is kept.

    Parameters
    ----------
    device : str
        ``cpu`` or ``gpu``.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._kept: OrderedDict[tuple[str, TheorySettings], xr.Dataset] = OrderedDict()

    def of(self, problem: Problem, settings: TheorySettings) -> xr.Dataset:
        """Solve the theory of a problem, or take it from what is kept.

        Parameters
        ----------
        problem : Problem
        settings : TheorySettings

        Returns
        -------
        Dataset
            With samples of its laws, see `sedyn.state_evolution`.
        """
        key = problem.theory_key, settings
        if key not in self._kept:
            self._kept[key] = sedyn.state_evolution(
                problem, **settings._asdict(), include=("samples",), device=self._device
            )
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(theory.nbytes for theory in self._kept.values()) > BUDGET:
            self._kept.popitem(last=False)
        return self._kept[key]
