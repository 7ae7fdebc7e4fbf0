"""How every figure of the project looks, and how numbers and grid cells are written."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from io import BytesIO
from itertools import product
from typing import Any, Literal

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter
from PIL import Image

__all__ = [
    "COLOURS",
    "GREY",
    "THEORY",
    "cell_words",
    "cells",
    "interval_text",
    "keys",
    "label_edges",
    "legend",
    "number_text",
    "panel_grid",
    "plain",
    "png",
    "shown_cells",
    "sizes_on_axis",
    "small_multiples",
    "styles",
    "title",
    "title_of",
]

# Okabe and Ito's palette, told apart by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
THEORY = "black"
GREY = "#8a8a8a"
MOST_PANELS = 12
PALETTE = 64  # colours of a rendered figure
_MARKERS = "osD^vP"
_TITLES = {"row_average": "averages over rows"}
_INNER = ("n", "replicate", "iteration")


def small_multiples(
    count: int,
    columns: int = 2,
    *,
    width: float = 4.2,
    height: float = 3.3,
    sharey: bool | Literal["row"] = False,
    legend: float = 0.6,
) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure of equal panels that share the x axis.

    Parameters
    ----------
    count, columns : int
        Panels, and how many stand in a row at most.
    width, height : float
        Inches of one panel.
    sharey : bool or 'row'
        Whether all panels, or those of a row, share the y axis too.
    legend : float
        Inches left for a legend below the panels.

    Returns
    -------
    figure : Figure
    rows : list of list of Axes
        The panels in use, row by row.
    """
    columns = max(1, min(columns, count))
    lines = max(1, -(-count // columns))
    figure = Figure(figsize=(0.8 + width * columns, 0.7 + legend + height * lines), layout="constrained")
    axes = figure.subplots(lines, columns, sharex=True, sharey=sharey, squeeze=False)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    for column in range(columns):  # a panel above an empty place shows the labels of the shared axis itself
        used = [line for line in range(lines) if line * columns + column < count]
        if used and used[-1] < lines - 1:
            axes[used[-1], column].tick_params(labelbottom=True)
    return figure, [list(axes[line, : min(columns, count - line * columns)]) for line in range(lines)]


def label_edges(rows: list[list[Axes]], x: str, y: str) -> None:
    """Name the x axis below the lowest panels of `small_multiples`, and the y axis beside the first of each row."""
    for ax in rows[-1]:
        ax.set_xlabel(x)
    for row in rows:
        row[0].set_ylabel(y)


def title(figure: Figure, words: str, left_out: int = 0) -> None:
    """Write what a figure shows above it, and how many cells of the grid it does not draw."""
    note = f" ({left_out} more cells not drawn)" if left_out else ""
    figure.suptitle(words + note, fontsize=12, x=0.01, ha="left", weight="bold")


def plain(ax: Axes) -> None:
    """Take away what carries no information and draw a light grid."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, which="major", color="#e6e6e6", lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(labelsize=9)


def sizes_on_axis(ax: Axes, n: np.ndarray) -> None:
    """Make the x axis logarithmic and label the sizes that were run; thinned out when there are many."""
    ax.set_xscale("log")
    step = -(-len(n) // 6)
    ax.set_xticks([], minor=True)
    ax.set_xticks(n[::step], labels=[f"{int(size):,}" for size in n[::step]])
    if ax.get_yscale() == "log":
        ax.yaxis.set_minor_formatter(NullFormatter())


def cells(array: xr.DataArray | xr.Dataset, extra: Iterable[Hashable] = ()) -> list[dict[Hashable, Any]]:
    """List every combination of the grid axes besides n; dimensions of `extra` are no grid axes."""
    left_out = {*_INNER, *extra}
    axes = [d for d in array.dims if d not in left_out]
    return [dict(zip(axes, values, strict=True)) for values in product(*(array[axis].values.tolist() for axis in axes))]


def shown_cells(
    every: Sequence[dict[Hashable, Any]], most: int = MOST_PANELS
) -> tuple[Sequence[dict[Hashable, Any]], int]:
    """Choose the cells that a figure has room for; and how many it leaves out."""
    return every[:most], max(0, len(every) - most)


def panel_grid(shown: Sequence[Mapping[Hashable, Any]]) -> int:
    """Columns of a grid with one panel a cell: the values of the last axis stand side by side where they fit."""
    last = len({tuple(cell.values())[-1] for cell in shown if cell})
    return last if 1 < last <= 4 else min(3, max(1, len(shown)))


def styles(count: int) -> list[tuple[str, str]]:
    """Colour and marker of each cell; the marker changes when the colours have run out."""
    return [(COLOURS[i % len(COLOURS)], _MARKERS[(i // len(COLOURS) + i) % len(_MARKERS)]) for i in range(count)]


def keys(labels: Iterable[str], **look: Any) -> list[Line2D]:
    """Legend handles in the colours and markers of `styles`, one for each label; `look` is common to all."""
    labels = list(labels)
    common: dict[str, Any] = {"ms": 5, "lw": 1, **look}
    return [
        Line2D([], [], **({"color": colour, "marker": marker, "label": label} | common))
        for label, (colour, marker) in zip(labels, styles(len(labels)), strict=True)
    ]


def cell_words(cell: Mapping[Hashable, Any]) -> str:
    """Name a cell by its values: ``depth 2, noise 0.1``."""
    return ", ".join(
        f"{str(axis).replace('_', ' ')} {value:g}"
        if isinstance(value, float)
        else f"{str(axis).replace('_', ' ')} {value}"
        for axis, value in cell.items()
    )


def title_of(observable: str) -> str:
    """Name of an observable as a reader writes it."""
    return _TITLES.get(observable, observable.replace("_", " "))


def interval_text(low: float, high: float) -> str:
    """Write an interval, whose ends may be infinite, or a dash where there is none."""
    return "-" if np.isnan([low, high]).any() else f"[{low:+.3f}, {high:+.3f}]"


def number_text(value: float) -> str:
    """Write an exponent or another signed number, or a dash where there is none."""
    return f"{float(value):+.3f}" if np.isfinite(value) else "-"


def legend(figure: Figure, handles: Sequence[Artist], *, columns: int) -> None:
    """Put the legend below all panels."""
    figure.legend(handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)


def png(figure: Figure, dpi: int = 110) -> bytes:
    """Render a figure in a palette of its own, a quarter of the bytes that true colours take."""
    figure.set_dpi(dpi)
    canvas, buffer = FigureCanvasAgg(figure), BytesIO()
    canvas.draw()  # once: savefig would lay out and draw a figure twice
    pixels = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    pixels.quantize(PALETTE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
