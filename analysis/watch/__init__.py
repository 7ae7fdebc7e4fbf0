"""One look at a sweep while it runs: in a terminal, on a page of this machine, in a notebook."""

from analysis.watch.command import main
from analysis.watch.widget import Watch

__all__ = ["Watch", "main"]
