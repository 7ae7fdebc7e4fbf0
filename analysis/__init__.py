"""What the numbers mean: measures on stored datasets, figures, and the report.

Rooms, each of which imports those before it only: `store` opens a sweep's store, `statistics` measures, `answers` is
what an answer is made of, `questions` has one file for each, `report` asks them all, `power` measures how often they
answer rightly, and `watch` looks at a sweep that runs.
"""

import sys

if sys.platform == "win32":
    try:
        import sedyn  # noqa: F401 - says where it runs
    except ImportError as error:
        raise SystemExit(str(error)) from None

from importlib import import_module
from typing import Any

__all__ = ["learning_curves", "rates", "rates_figure"]

_HOMES = {
    "learning_curves": "analysis.report.figures",
    "rates": "analysis.statistics.rates",
    "rates_figure": "analysis.questions.rates",
}


def __getattr__(name: str) -> Any:
    # Who measures does not wait for what draws.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
