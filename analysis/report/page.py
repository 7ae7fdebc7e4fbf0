"""The report as one self-contained page: claims first, then findings of every section, figures, tables, provenance."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.report.chapter import Chapter
from analysis.report.claims import claim_lines, what_decides

__all__ = ["page"]

LONGEST = 400
"""Characters of a value in the table of provenance."""


def page(chapters: Sequence[Chapter], images: Mapping[tuple[str, str], bytes]) -> str:
    """Write the page; whatever stores and their settings say is text on it and never markup.

    Parameters
    ----------
    chapters : sequence of Chapter
        One for each store.
    images : mapping
        From the names of chapter and figure to the figure, PNG.

    Returns
    -------
    str
        HTML.
    """
    several = len(chapters) > 1
    title = "Theory and experiment" if several else f"{chapters[0].name}: theory against gradient descent"
    template = _environment().get_template("page.html.j2")
    lines = claim_lines(chapters)
    return template.render(chapters=chapters, claims=lines, images=images, several=several, title=title)


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "anchor": lambda names: re.sub(r"\W+", "-", "-".join(names)),
        "base64": lambda png: base64.b64encode(png).decode(),
        "flat": _flat,
        "what_decides": what_decides,
        "settings": _settings,
    }
    environment.tests["number"] = lambda text: len(text) < 40 and (text[:1] in "+-[" or text[:1].isdigit())
    return environment


def _settings(chapter: Chapter) -> str:
    """Settings of the measures of a store, in words; empty if they have none."""
    each = [
        (answer.section.name, [f"{key} {value}" for key, value in answer.measured.attrs.items() if key != "store"])
        for answer in chapter.answers
    ]
    return "; ".join(f"{name}: {', '.join(words)}" for name, words in each if words)


def _flat(attributes: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names and values as text; a mapping's entries by dotted names, those already said at the top left out."""
    for key, value in attributes.items():
        if isinstance(value, Mapping):
            new = {k: v for k, v in value.items() if prefix or k not in attributes or attributes[k] != v}
            yield from _flat(new, f"{prefix}{key}.")
        else:
            text = str(value)
            yield f"{prefix}{key}", text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
