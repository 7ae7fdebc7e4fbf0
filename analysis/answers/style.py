"""How every figure of the project looks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter
from PIL import Image

from analysis.statistics.bias import root_and_limit
from analysis.statistics.intervals import Interval

__all__ = [
    "COLOURS",
    "GREY",
    "GUIDE",
    "SOLVER",
    "Panels",
    "iterations_on_axis",
    "key",
    "keys",
    "panel_grid",
    "plain",
    "png",
    "points",
    "root_or_limit",
    "shown_cells",
    "sizes_on_axis",
    "styles",
]

# Okabe and Ito's palette, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#8a8a8a"
GUIDE: dict[str, Any] = {"color": "black", "lw": 1.2, "ls": (0, (1, 2)), "zorder": 1}
"""Look of what a figure claims: a power of n, a null level, a nominal level."""
SOLVER: dict[str, Any] = {"color": GREY, "lw": 1.2, "ls": "--", "zorder": 1}
"""Look of errors that no run has a part in."""
MOST_PANELS = 12
PALETTE = 64  # colours of a rendered figure
_MARKERS = "osD^vP"


class Panels:
    """A figure of equal panels.

    Parameters
    ----------
    count, columns : int
        Panels, and how many stand in a row at most.
    width, height : float
        Inches of one panel.
    sharex, sharey : bool or 'row'
        Whether all panels, or those of a row, share the axis.
    legend : float
        Inches left for a legend below the panels.

    Attributes
    ----------
    figure : Figure
    rows : list of list of Axes
        The panels in use, row by row.
    """

    def __init__(
        self,
        count: int,
        columns: int = 2,
        *,
        width: float = 4.2,
        height: float = 3.3,
        sharex: bool | Literal["row"] = True,
        sharey: bool | Literal["row"] = False,
        legend: float = 0.6,
    ) -> None:
        columns = max(1, min(columns, count))
        lines = max(1, -(-count // columns))
        size = (0.8 + width * columns, 0.7 + legend + height * lines)
        self.figure = Figure(figsize=size, layout="constrained")
        axes = self.figure.subplots(lines, columns, sharex=sharex, sharey=sharey, squeeze=False)
        for ax in axes.flat[count:]:
            ax.set_visible(False)
        self.rows = [list(axes[line, : min(columns, count - line * columns)]) for line in range(lines)]
        for ax in self.lowest:  # above an empty place too, where a shared axis would have no labels
            ax.tick_params(labelbottom=True)

    @property
    def axes(self) -> list[Axes]:
        """The panels in use, one after another."""
        return [ax for row in self.rows for ax in row]

    @property
    def lowest(self) -> list[Axes]:
        """The last panel of each column."""
        columns = range(len(self.rows[0]))
        return [[row[column] for row in self.rows if column < len(row)][-1] for column in columns]

    def finish(
        self, title: str, x: str, y: str, handles: Sequence[Artist], *, columns: int, left_out: int = 0
    ) -> Figure:
        """Write what stands around the panels.

        Parameters
        ----------
        title : str
            What the figure shows.
        x, y : str
            Names of the axes, below the lowest panels and beside the first of each row.
        handles : sequence of Artist
            Entries of the legend, below all panels.
        columns : int
            Columns of the legend.
        left_out : int
            Cells of the grid that the figure does not draw.

        Returns
        -------
        Figure
        """
        for ax in self.lowest:
            ax.set_xlabel(x)
        for row in self.rows:
            row[0].set_ylabel(y)
        note = f" ({left_out} more cells not drawn)" if left_out else ""
        self.figure.suptitle(title + note, fontsize=12, x=0.01, ha="left", weight="bold")
        self.figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)
        return self.figure


def plain(ax: Axes, title: str = "") -> None:
    """Take away what carries no information, draw a light grid, and name the panel.

    Parameters
    ----------
    ax : Axes
        The panel.
    title : str
        Its name.
    """
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, which="major", color="#e6e6e6", lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9)
    ax.set_title(title, fontsize=9 if "\n" in title else 10)


def sizes_on_axis(ax: Axes, n: np.ndarray) -> None:
    """Make the x axis logarithmic and label the sizes that were run; thinned out when there are many.

    Parameters
    ----------
    ax : Axes
        The panel; its y axis is already linear or logarithmic, as it will be.
    n : ndarray, shape (sizes,)
        The sizes.
    """
    ax.set_xscale("log")
    step = -(-len(n) // 6)
    ax.set_xticks([], minor=True)
    ax.set_xticks(n[::step], labels=[f"{int(size):,}" for size in n[::step]])
    if ax.get_yscale() == "log":
        ax.yaxis.set_minor_formatter(NullFormatter())


def iterations_on_axis(ax: Axes) -> None:
    """Label whole iterations only."""
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def points(ax: Axes, x: Any, y: Any, error: Any, colour: str, marker: str, **look: Any) -> None:
    """Draw points with error bars and no line.

    Parameters
    ----------
    ax : Axes
        The panel.
    x, y : array-like, shape (points,)
        The points.
    error : array-like, shape (points,) or (2, points)
        Bars to either side, or below and above.
    colour, marker : str
        From `styles`.
    **look
        Of `Axes.errorbar`, instead of what all figures have.
    """
    common: dict[str, Any] = {"ms": 4.5, "lw": 0, "elinewidth": 1, "zorder": 3}
    ax.errorbar(x, y, error, color=colour, marker=marker, **common | look)


def root_or_limit(ax: Axes, x: np.ndarray, square: Interval, colour: str) -> None:
    """Draw the root of a square that may be negative: with its interval, or where that reaches zero its upper end.

    Parameters
    ----------
    ax : Axes
        The panel.
    x : ndarray, shape (points,)
        Where.
    square : Interval of ndarray, shape (points,)
        The square.
    colour : str
        Of both kinds of points.
    """
    root, clear = root_and_limit(square)
    bars = [(root.value - root.low)[clear], (root.high - root.value)[clear]]
    points(ax, x[clear], root.value[clear], bars, colour, "D")
    limit = ~clear & (root.high > 0)
    ax.plot(x[limit], root.high[limit], color=colour, marker="v", ms=5, lw=0, mfc="white", zorder=3)


def shown_cells(
    every: Sequence[dict[Hashable, Any]], most: int = MOST_PANELS
) -> tuple[Sequence[dict[Hashable, Any]], int]:
    """Choose the cells that a figure has room for.

    Parameters
    ----------
    every : sequence of dict
        Cells, as `analysis.answers.words.cells` lists them.
    most : int
        Room.

    Returns
    -------
    shown : sequence of dict
        The first of them.
    left_out : int
        How many are not shown.
    """
    return every[:most], max(0, len(every) - most)


def panel_grid(shown: Sequence[Mapping[Hashable, Any]]) -> int:
    """Columns of a grid with one panel a cell: the values of the last axis stand side by side where they fit."""
    last = len({tuple(cell.values())[-1] for cell in shown if cell})
    return last if 1 < last <= 4 else min(3, max(1, len(shown)))


def styles(count: int) -> list[tuple[str, str]]:
    """Colour and marker of each cell; the marker changes when the colours have run out."""
    return [(COLOURS[i % len(COLOURS)], _MARKERS[(i // len(COLOURS) + i) % len(_MARKERS)]) for i in range(count)]


def key(label: str, **look: Any) -> Line2D:
    """Make the legend handle of one label.

    Parameters
    ----------
    label : str
        The label.
    **look
        Of a `Line2D`.

    Returns
    -------
    Line2D
    """
    return Line2D([], [], label=label, **look)


def keys(labels: Iterable[str], **look: Any) -> list[Line2D]:
    """Make legend handles in the colours and markers of `styles`.

    Parameters
    ----------
    labels : iterable of str
        The labels.
    **look
        Of a `Line2D`, common to all.

    Returns
    -------
    list of Line2D
    """
    labels = list(labels)
    looks = [{"color": colour, "marker": marker, "ms": 5, "lw": 1} for colour, marker in styles(len(labels))]
    return [key(label, **(own | look)) for label, own in zip(labels, looks, strict=True)]


def png(figure: Figure, dpi: int = 110) -> bytes:
    """Render a figure in a palette of its own, a quarter of the bytes that true colours take.

    Parameters
    ----------
    figure : Figure
        The figure.
    dpi : int
        Pixels an inch.

    Returns
    -------
    bytes
        A PNG image.
    """
    figure.set_dpi(dpi)
    canvas, buffer = FigureCanvasAgg(figure), BytesIO()
    canvas.draw()  # once: savefig would lay out and draw a figure twice
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    pixels.quantize(PALETTE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
