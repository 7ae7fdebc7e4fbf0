"""How precise the cells of a sweep should be."""

from __future__ import annotations

from dataclasses import dataclass

from sedyn.descent.estimate import no_estimate_because
from sedyn.errors import InvalidInput, require_number, require_one_of, require_whole
from sedyn.model.observables import PARTS, parts_of, simulated
from sweeps.plan import ESTIMATE, SweepSpec

__all__ = ["Target"]


@dataclass(frozen=True)
class Target:
    """How precise every cell should be.

    Parameters
    ----------
    observable : str
        Name of a variable of the group `simulation`.
    stderr : float
        Largest allowed standard error of its mean over replicates, among all iterations and entries.
    max_replicates : int
        Where a cell stops in any case.

    Raises
    ------
    InvalidInput
        If the observable is unknown or a number is out of range.
    """

    observable: str
    stderr: float
    max_replicates: int

    def __post_init__(self) -> None:
        require_one_of("target.observable", self.observable, simulated(PARTS))
        require_number("target.stderr", self.stderr, "a number > 0", lambda stderr: stderr > 0)
        object.__setattr__(self, "max_replicates", require_whole("target.max_replicates", self.max_replicates, 2))

    def require_start(self, replicates: int) -> None:
        """Refuse a first round from which no error can be had, or which is larger than the cap."""
        if not 2 <= replicates <= self.max_replicates:
            remedy = f"a target needs 2 to target.max_replicates={self.max_replicates} replicates to start with"
            raise InvalidInput("replicates", replicates, remedy)

    def require_values(self, spec: SweepSpec) -> None:
        """Refuse an observable that some cell will not have: its error would be that of no value, and met at once."""
        for cell in spec.cells:
            if self.observable not in (known := simulated(parts_of(cell.problem))):
                raise InvalidInput("target.observable", self.observable, f"no such variable here: {', '.join(known)}")
        if not self.observable.startswith(ESTIMATE):
            return
        if not spec.estimate:
            raise InvalidInput("target.observable", self.observable, "the runs have none; set estimate=true")
        for cell in spec.cells:
            if reason := no_estimate_because(cell.problem):
                raise InvalidInput("target.observable", self.observable, reason)
