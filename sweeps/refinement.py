"""Which axis of a sweep gets more values, where and until when."""

from __future__ import annotations

from dataclasses import dataclass, fields

from sedyn.checks import number, one_of, optional
from sedyn.errors import InvalidInput
from sedyn.model.fields import check_fields, documented, field
from sedyn.model.problem import Problem
from sweeps.plan import SweepSpec

__all__ = ["BOUND", "Refinement"]

BOUND = 1e3
"""A run whose error exceeds that at the start so many times has diverged, and none of its observables says anything."""
_KINDS = {known.name: str(known.type).partition(" ")[0] for known in fields(Problem)}
_NUMBERS = tuple(name for name, kind in _KINDS.items() if kind in ("int", "float") and name not in ("n", "d"))


@documented
@dataclass(frozen=True)
class Refinement:
    """Which axis gets more values, and until when.

    Raises
    ------
    InvalidInput
        If the axis is no number that can be bisected, or a number is out of range.
    """

    axis: str = field(None, optional(one_of(*_NUMBERS)), "Field of the problem; None where nothing is refined.")
    within: float = field(
        0.05,
        number("> 0 and < 1", lambda share: 0 < share < 1),
        "Neighbours of unlike verdicts are that close in the end, as a share of the larger.",
    )

    def __post_init__(self) -> None:
        check_fields(self, "refine.")

    @property
    def whole(self) -> bool:
        """Whether the axis has whole numbers."""
        return _KINDS[self.axis] == "int"

    def require_axis(self, spec: SweepSpec) -> None:
        """Refuse a sweep in which the axis has no two values to begin with."""
        if self.axis not in spec.fields:
            remedy = (
                f"the sweep has no such axis; give it two values that bracket the change, grid.{self.axis}=[LOW,HIGH]"
            )
            raise InvalidInput("refine.axis", self.axis, remedy)
