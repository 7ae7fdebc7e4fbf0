"""The same look in a notebook."""

from __future__ import annotations

import time
from pathlib import Path

from analysis.watch.snapshot import Watcher
from analysis.watch.view import html
from sedyn.checks import POSITIVE, path

__all__ = ["Watch"]


class Watch:
    """A store that a notebook shows as it is now, each time it is shown.

    Parameters
    ----------
    location : path or URL
        The store.

    Raises
    ------
    InvalidInput
        If there is none.
    """

    def __init__(self, location: str | Path) -> None:
        self._watcher = Watcher(path("location", location))

    def _repr_html_(self) -> str:
        return html(self._watcher.look())

    def refresh(self, seconds: float = 2.0) -> None:
        """Show it, again and again, until the sweep has ended.

        Parameters
        ----------
        seconds : float
            Between two looks.
        """
        pause = POSITIVE("seconds", seconds)
        from IPython.display import HTML, display

        snapshot = self._watcher.look()
        shown = display(HTML(html(snapshot)), display_id=True)
        while snapshot.running:
            time.sleep(pause)
            snapshot = self._watcher.look()
            shown.update(HTML(html(snapshot)))
