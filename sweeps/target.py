"""How precise the cells of a sweep should be."""

from __future__ import annotations

from dataclasses import dataclass

from sedyn.checks import POSITIVE, one_of, optional, whole
from sedyn.descent.simulation import MOST_REPLICATES
from sedyn.errors import InvalidInput
from sedyn.estimate.protocol import no_estimate_because
from sedyn.model.fields import check_fields, documented, field
from sedyn.model.observables import PARTS, parts_of, simulated
from sweeps.plan import ESTIMATE, SweepSpec

__all__ = ["Target"]


@documented
@dataclass(frozen=True)
class Target:
    """How precise every cell should be.

    Raises
    ------
    InvalidInput
        If the observable is unknown or a number is out of range.
    """

    observable: str = field("test_error", one_of(*simulated(PARTS)), "Name of a variable of the group `simulation`.")
    stderr: float = field(
        None,
        optional(POSITIVE),
        "Largest allowed standard error of its mean over replicates, among all iterations and entries; None where no "
        "precision is asked for.",
    )
    max_replicates: int = field(512, whole(2, MOST_REPLICATES), "Where a cell stops in any case.")

    def __post_init__(self) -> None:
        check_fields(self, "target.")

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
