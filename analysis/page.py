"""The report as one self-contained page: findings of every section first, then figures, tables and provenance."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from analysis.chapter import Answer, Chapter
from analysis.section import Captioned, Finding
from analysis.style import interval_text, number_text

__all__ = ["page"]

LONGEST = 400
"""Characters of a value in the table of provenance."""

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.3rem; margin-top: 2.6rem; }
h3 { font-size: 1.1rem; margin-top: 2rem; } h4 { font-size: 1rem; margin-bottom: .3rem; }
p.lead { color: #555; margin-top: 0; }
ul.findings { list-style: none; padding: 0; } ul.findings li { padding: .45rem .8rem; margin: .35rem 0;
  background: #f6f6f4; border-left: 4px solid #8a8a8a; }
.findings .word { font-weight: 600; color: #555; } li.holds .word { color: #00694d; } li.fails .word { color: #a94400; }
li.holds { border-color: #009E73 !important; } li.fails { border-color: #D55E00 !important; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; } figcaption { color: #555; font-size: .9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .87rem; }
th, td { text-align: left; padding: .25rem .7rem .25rem 0; border-bottom: 1px solid #e3e3e3; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
pre { background: #f1f1ef; padding: .6em .8em; overflow-x: auto; font-size: .85rem; white-space: pre-wrap; }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0; }
"""


def page(chapters: Sequence[Chapter], images: Mapping[tuple[str, str], bytes]) -> str:
    """Write the page.

    Parameters
    ----------
    chapters : sequence of Chapter
        One for each store.
    images : mapping
        From the names of chapter and figure to the figure, PNG.
    """
    title = f"{chapters[0].name}: theory against gradient descent" if len(chapters) == 1 else "Theory and experiment"
    body = [f"<h1>{escape(title)}</h1>"]
    if len(chapters) == 1:
        body.append(_lead(chapters[0]))
    body.append("<h2>Findings</h2>")
    for chapter in chapters:
        body += list(_all_findings(chapter, named=len(chapters) > 1))
    for chapter in chapters:
        body += list(_chapter(chapter, images, named=len(chapters) > 1))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n<body>\n'
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _all_findings(chapter: Chapter, named: bool) -> Iterator[str]:
    for answer in chapter.answers:
        heading = escape(answer.section.question)
        where = f'<a href="#{_anchor(chapter, answer)}">{escape(chapter.name)}</a>: ' if named else ""
        yield f"<h4>{where}{heading}</h4>"
        yield f'<ul class="findings">{"".join(_finding(finding) for finding in answer.findings)}</ul>'
    if chapter.unanswered and not named:
        words = "; ".join(f"{name.replace('_', ' ')} ({reason})" for name, reason in chapter.unanswered)
        yield f'<p class="lead">Not asked of this store: {escape(words)}.</p>'


def _finding(finding: Finding) -> str:
    number = ""
    if finding.quantity and np.isfinite(finding.value):
        number = f" ({finding.quantity} {number_text(finding.value)}"
        if np.isfinite([finding.low, finding.high]).all():
            number += f", interval {interval_text(finding.low, finding.high)}"
        number += ")"
    subject = finding.subject[:1].upper() + finding.subject[1:]
    return (
        f'<li class="{finding.verdict}"><b>{escape(subject)}</b>: <span class="word">{finding.verdict}</span>, '
        f"{escape(finding.sentence)}{escape(number)}.</li>"
    )


def _chapter(chapter: Chapter, images: Mapping[tuple[str, str], bytes], named: bool) -> Iterator[str]:
    if named:
        yield f"<h2>{escape(chapter.name)}</h2>"
        yield _lead(chapter)
    for answer in chapter.answers:
        yield f'<h3 id="{_anchor(chapter, answer)}">{escape(answer.section.question)}</h3>'
        for figure in answer.figures:
            yield _figure(images[chapter.name, figure.name], figure)
        for table in answer.tables:
            yield f"<h4>{escape(table.title)}</h4>"
            yield _table(table.headings, table.lines)
    yield "<h3>Learning curves</h3>"
    yield _figure(images[chapter.name, chapter.learning_curves.name], chapter.learning_curves)
    if chapter.unanswered and named:
        words = "; ".join(f"{name.replace('_', ' ')} ({reason})" for name, reason in chapter.unanswered)
        yield f'<p class="lead">Not asked of this store: {escape(words)}.</p>'
    yield "<h3>Provenance</h3>"
    commands = escape("\n".join(chapter.commands))
    yield f"<p>Reproduce with</p><pre>{commands}</pre>"
    settings = "; ".join(
        f"{answer.section.name}: {', '.join(f'{k} {v}' for k, v in answer.measured.attrs.items() if k != 'store')}"
        for answer in chapter.answers
        if set(answer.measured.attrs) - {"store"}
    )
    if settings:
        yield f"<p>Settings of the measures: {escape(settings)}.</p>"
    rows = _table(("attribute", "value"), sorted(_flat(chapter.attributes)))
    yield f"<details><summary>What the store was made with</summary>{rows}</details>"


def _lead(chapter: Chapter) -> str:
    return f'<p class="lead">{escape(chapter.lead)}</p>'


def _anchor(chapter: Chapter, answer: Answer) -> str:
    return re.sub(r"\W+", "-", f"{chapter.name}-{answer.section.name}")


def _figure(png: bytes, captioned: Captioned) -> str:
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img alt="{escape(captioned.name.replace("_", " "))}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(captioned.caption)}</figcaption></figure>"
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
