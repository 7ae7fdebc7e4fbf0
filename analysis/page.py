"""The report as one self-contained page: findings first, then figures, tables and provenance."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from itertools import product
from typing import Any

import numpy as np
import xarray as xr

from analysis.tables import HEADINGS, rows
from analysis.verdicts import interval_text, title_of, verdict

__all__ = ["page"]

LONGEST = 400
"""Characters of a value in the table of provenance."""

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.lead { color: #555; margin-top: 0; }
ul.findings { list-style: none; padding: 0; } ul.findings li { padding: .45rem .8rem; margin: .35rem 0;
  background: #f6f6f4; border-left: 4px solid #8a8a8a; } li.holds { border-color: #009E73 !important; }
li.fails { border-color: #D55E00 !important; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: .9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #e3e3e3; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; } code { background: #f1f1ef; padding: .1em .3em; }
dt { font-weight: 600; } dd { margin: 0 0 .5rem 0; }
"""

_LEARNING_CAPTION = (
    "Lines: state evolution, computed without reference to any simulation. Points: mean over replicates at the largest "
    "finished n; bars: one standard deviation over replicates. Shaded: mean and one standard deviation at the "
    "smallest n."
)
_RATES_CAPTION = (
    "Points: root-mean-square distance of a replicate from theory, over replicates, entries and those iterations that "
    "have an exponent; bars: its standard error. Solid lines: fit with one slope for the panel. Dotted: n to the power "
    "-1/2. Dashed grey: the standard error of the theory's own solver."
)
_WORDS = (
    ("exponent", "slope of log distance against log n, one slope for all cells and iterations, an intercept each"),
    ("interval", "bootstrap over replicates, the solver's error added as a common shift of each theory solution"),
    ("fluctuation", "the same exponent for the standard deviation over replicates alone"),
    ("bias share", "squared bias (mean minus theory) over squared distance, at the smallest and the largest n"),
    ("solver", "standard error of theory's solver over the smallest distance"),
)


def page(
    name: str, measured: xr.Dataset, attributes: Mapping[Any, Any], learning_curves: bytes, distances: bytes
) -> str:
    """Write the page.

    Parameters
    ----------
    name : str
        Of the store.
    measured : Dataset
        From `analysis.rates`.
    attributes : mapping
        Of the store: problem, versions, seed, device; shown as provenance.
    learning_curves, distances : bytes
        The figures, PNG.
    """
    sizes = measured.n.values
    replicates = int(measured.replicates.max())
    cells = int(np.prod([measured.sizes[axis] for axis in _axes(measured)], dtype=int))
    lead = (
        f"n from {int(sizes.min()):,} to {int(sizes.max()):,} ({len(sizes)} sizes), {cells} problems at each n, "
        f"{replicates} replicates, {measured.sizes['iteration'] - 1} gradient-descent steps."
    )
    body = [
        f"<h1>{escape(name)}: how fast gradient descent approaches its state evolution</h1>",
        f'<p class="lead">{escape(lead)}</p>',
        "<h2>Findings</h2>",
        _findings(measured),
        "<h2>Distance to theory</h2>",
        _figure(distances, "distance to theory against n", _RATES_CAPTION),
        "<h2>Learning curves</h2>",
        _figure(learning_curves, "learning curves", _LEARNING_CAPTION),
        "<h2>Exponents</h2>",
        _table(HEADINGS, rows(measured)),
        "<dl>" + "".join(f"<dt>{escape(a)}</dt><dd>{escape(b)}</dd>" for a, b in _WORDS) + "</dl>",
        "<h2>Exponents by grid cell</h2>",
        _cell_table(measured),
        "<h2>Provenance</h2>",
        _table(("attribute", "value"), sorted(_flat(attributes))),
        f"<p>Measure: {escape(', '.join(f'{k} {v}' for k, v in measured.attrs.items() if k != 'store'))}. "
        f"Reproduce with <code>python -m analysis.report {escape(name)}.zarr</code>.</p>",
    ]
    title = escape(f"{name} - report")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _findings(measured: xr.Dataset) -> str:
    items = []
    for name in measured.observable.values.tolist():
        words = verdict(measured, name)
        distance = measured.sel(observable=name, part="distance")
        number = ""
        if np.isfinite(distance.overall_exponent):
            interval = interval_text(float(distance.overall_exponent_low), float(distance.overall_exponent_high))
            number = f" (exponent {float(distance.overall_exponent):+.3f}, interval {interval})"
        kind = words.partition(":")[0] if words.startswith(("holds", "fails")) else "open"
        items.append(
            f'<li class="{kind}"><b>{escape(title_of(name).capitalize())}</b>: {escape(words)}{escape(number)}.</li>'
        )
    return f'<ul class="findings">{"".join(items)}</ul>'


def _cell_table(measured: xr.Dataset) -> str:
    axes = _axes(measured)
    lines = []
    for name, *values in product(measured.observable.values.tolist(), *(measured[a].values.tolist() for a in axes)):
        one = measured.sel(observable=name, part="distance", **dict(zip(axes, values, strict=True)))
        if not np.isfinite(one.cell_exponent):
            continue
        text = f"{float(one.cell_exponent):+.3f}"
        interval = interval_text(float(one.cell_exponent_low), float(one.cell_exponent_high))
        lines.append((title_of(name), *(f"{v:g}" if isinstance(v, float) else str(v) for v in values), text, interval))
    return _table(("observable", *axes, "exponent", "interval"), lines)


def _axes(measured: xr.Dataset) -> list[str]:
    return [str(d) for d in measured.reason.dims if d not in ("observable", "iteration")]


def _figure(png: bytes, alternative: str, caption: str) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img alt="{escape(alternative)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _table(headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in headings)
    body = "".join("<tr>" + "".join(_field(text) for text in line) + "</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _field(text: str) -> str:
    number = text[:1] in "+-[" or text[:1].isdigit()
    return f"<td{' class=number' if number and len(text) < 40 else ''}>{escape(text)}</td>"


def _flat(attributes: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values as text; a mapping's entries by dotted names, those already said at the top left out."""
    for key, value in attributes.items():
        if isinstance(value, Mapping):
            new = {k: v for k, v in value.items() if prefix or k not in attributes or attributes[k] != v}
            yield from _flat(new, f"{prefix}{key}.")
        else:
            text = str(value)
            yield f"{prefix}{key}", text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
