"""How precise the cells of a sweep should be, and who says which of its findings are open."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, NamedTuple

from sedyn.checks import FLAG, POSITIVE, one_of, optional, whole
from sedyn.descent.simulation import MOST_REPLICATES
from sedyn.errors import InvalidInput
from sedyn.estimate.protocol import no_estimate_because
from sedyn.model.fields import check_fields, documented, field
from sedyn.model.observables import PARTS, parts_of, simulated
from sweeps.plan import ESTIMATE, SweepSpec

__all__ = ["Judge", "Open", "Standing", "Target"]


class Open(NamedTuple):
    """A finding that is not decided, and what would decide it.

    Attributes
    ----------
    finding : str
        Its subject, as a reader writes it.
    runs : float
        Times as many replicates that would, if its numbers stay as they are; NaN where replicates alone do not, or that
        is not known.
    cells : mapping of str to value
        Values of grid axes that it is about; of an axis that is not named, all.
    leverage : mapping of int to float
        For each n, the variance of its number for one of a replicate there: that of its number is the sum of these over
        the replicates, up to a factor.
    samples : float
        Times as many samples of theory that would, where its own error is in the way; NaN elsewhere.
    """

    finding: str
    runs: float = float("nan")
    cells: Mapping[str, Any] = {}
    leverage: Mapping[int, float] = {}
    samples: float = float("nan")


class Standing(NamedTuple):
    """How many findings on a store are decided, and those that are not."""

    decided: int
    open: Sequence[Open]

    def __str__(self) -> str:
        return f"{len(self.open)} of {self.decided + len(self.open)} findings open"


Judge = Callable[[str], Standing]
"""From the path or URL of a store to where its findings stand."""


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
    verdict: bool = field(
        False, partial(FLAG, condition="true or false"), "Whether every finding on the store should be decided."
    )
    max_seconds: float = field(
        None,
        optional(POSITIVE),
        "Computing time, of all cores together, judging included, after which findings stay open; None where there is "
        "no limit.",
    )

    def __post_init__(self) -> None:
        check_fields(self, "target.")
        if self.verdict and self.stderr is not None:
            remedy = "verdicts decide how many replicates there are; leave out target.stderr, or target.verdict"
            raise InvalidInput("target.stderr", self.stderr, remedy)
        if self.max_seconds is not None and not self.verdict:
            remedy = "limits the search for verdicts; set target.verdict=true too"
            raise InvalidInput("target.max_seconds", self.max_seconds, remedy)

    def asked(self, replicates: int) -> dict[str, Any]:
        """Write down what is asked for, with the replicates of the first round."""
        return {"replicates": replicates, **asdict(self)}

    def require_start(self, replicates: int) -> None:
        """Refuse a first round from which no error can be had, or which is larger than the cap."""
        if not 2 <= replicates <= self.max_replicates:
            remedy = f"a target needs 2 to target.max_replicates={self.max_replicates} replicates to start with"
            raise InvalidInput("replicates", replicates, remedy)

    def require_values(self, spec: SweepSpec) -> None:
        """Refuse an observable that some cell will not have: its error would be that of no value, and met at once."""
        if self.verdict:
            return
        for cell in spec.table.kinds:
            if self.observable not in (known := simulated(parts_of(cell.problem))):
                raise InvalidInput("target.observable", self.observable, f"no such variable here: {', '.join(known)}")
        if not self.observable.startswith(ESTIMATE):
            return
        if not spec.estimate:
            raise InvalidInput("target.observable", self.observable, "the runs have none; set estimate=true")
        for cell in spec.table.kinds:
            if reason := no_estimate_because(cell.problem):
                raise InvalidInput("target.observable", self.observable, reason)
