"""Mathematics at build time: LaTeX becomes MathML, equations get numbers, and citations of them become links.

A hook of MkDocs, named in mkdocs.yml. In a page ``$x$`` is inline mathematics, and a fence is an equation of its own::

    ```math label="descent" source="paper" check="test_simulation::test_a test_simulation::test_b"
    W^{t+1} = W^t
    ```

Equations of the theory page have a `label`, are numbered in the order they stand there, and say where they come from
and which tests they were checked by. ``[](#descent)``, or ``[](theory.md#descent)`` from another page, becomes "(7)";
and ``docs/theory.md#descent`` in a docstring becomes a link to "Eq. (7)" where the page of the API shows it.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor
from mkdocs.plugins import get_plugin_logger

log = get_plugin_logger("mathematics")

FENCE = re.compile(r"^```math(?P<options>[^\n]*)\n(?P<tex>.*?)\n```$", flags=re.MULTILINE | re.DOTALL)
OPTION = re.compile(r'(\w+)="([^"]*)"')
INLINE = r"(?<![\\$\w])\$(?! )([^$\n]+?)(?<! )\$(?!\w)([.,;:)]*)"
CITATION = re.compile(r"docs/theory\.md#([a-z0-9-]+)")
ELSEWHERE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
MENDED = (
    (r"<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"),  # a relation, not an accent
    (r"<mi>;</mi>", "<mo>;</mo>"),
    (r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>"),  # names of functions, and symbols, are no operators
    (r"<mo>(&#x0221E;|&#x02202;|&#x0002A;|&#x02026;)</mo>", r"<mi mathvariant='normal'>\1</mi>"),
    (r"<mi>(&#x003(?:9[1-9A-F]|A[0-9]);)</mi>", r"<mi mathvariant='normal'>\1</mi>"),  # Greek capitals stand upright
    (r"<mo>(&#x0002F;|/|&#x0007C;)</mo>", r"<mo lspace='0' rspace='0' stretchy='false'>\1</mo>"),
)
"""What the converter writes otherwise than TeX would set it: patterns and what to put in their place."""
SOURCES = {
    "paper": "the paper's, in our notation",
    "ours": "ours",
    "definition": "a definition",
}
"""Where an equation comes from, in words; anything else is a reference."""


class Equation(NamedTuple):
    """An equation of a page.

    Attributes
    ----------
    label : str
        Its anchor; empty for one that is not numbered.
    source : str
        A key of `SOURCES`, or a reference.
    checks : tuple of str
        ``module::test`` for every test it was checked by.
    tex : str
    """

    label: str
    source: str
    checks: tuple[str, ...]
    tex: str


def equation_of(match: re.Match[str]) -> Equation:
    """Read a fence."""
    options = dict(OPTION.findall(match["options"]))
    checks = tuple(options.get("check", "").split())
    return Equation(options.get("label", ""), options.get("source", ""), checks, match["tex"])


def equations(text: str) -> list[Equation]:
    """Numbered equations of a page, in order: the n-th has number n."""
    found = [equation_of(match) for match in FENCE.finditer(text)]
    return [equation for equation in found if equation.label]


@cache
def mathml(tex: str, display: str = "inline") -> str:
    """MathML of LaTeX.

    Raises
    ------
    ValueError
        If a command is unknown, or the outcome is not well-formed.
    """
    found = convert(tex, display=display)
    for wrong, right in MENDED:
        found = re.sub(wrong, right, found)
    if "\\" in found:
        unknown = re.findall(r"\\\w*", found)
        raise ValueError(f"unknown command {unknown[0]} in {tex!r}")
    try:
        ElementTree.fromstring(found)
    except ElementTree.ParseError as error:
        raise ValueError(f"{tex!r} is not well-formed as MathML: {error}") from None
    return found


def _rendered(tex: str, display: str) -> str:
    try:
        return mathml(tex, display)
    except ValueError as error:
        log.warning(str(error))
        return ""


def _drawn(equation: Equation, numbers: dict[str, int]) -> str:
    """HTML of an equation: the formula, its number, and where it comes from."""
    formula = f'<div class="formula">{_rendered(equation.tex, "block")}</div>'
    if not equation.label:
        return f'<div class="equation">{formula}</div>'
    if equation.label not in numbers:
        log.warning(f"equation {equation.label!r}: only those of theory.md have labels")
    anchor = f'<a class="number" href="#{equation.label}">({numbers.get(equation.label, 0)})</a>'
    said = SOURCES.get(equation.source, equation.source)
    named = [check.split("::") for check in equation.checks]
    tests = ", ".join(f'<code title="{module}.py">{test}</code>' for module, test in named)
    origin = f'<p class="origin"><span class="label">{equation.label}</span> {said}'
    origin += f"; checked by {tests}</p>" if tests else "</p>"
    return f'<div class="equation" id="{equation.label}">{formula}{anchor}{origin}</div>'


class _Fences(Preprocessor):
    def __init__(self, md: Markdown, numbers: dict[str, int]) -> None:
        super().__init__(md)
        self.numbers = numbers

    def run(self, lines: list[str]) -> list[str]:
        def drawn(match: re.Match[str]) -> str:
            return f"\n{_drawn(equation_of(match), self.numbers)}\n"

        return FENCE.sub(drawn, "\n".join(lines)).split("\n")


class _Inline(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # type: ignore[override]
        html = _rendered(m[1], "inline")
        if m[2]:  # which a browser may put on a line of its own
            html = f'<span class="unbroken">{html}{m[2]}</span>'
        return self.md.htmlStash.store(html), m.start(0), m.end(0)


class _References(Treeprocessor):
    def __init__(self, md: Markdown, numbers: dict[str, int]) -> None:
        super().__init__(md)
        self.numbers = numbers

    def run(self, root: ElementTree.Element) -> None:
        for link in root.iter("a"):
            label = link.get("href", "").rpartition("#")[2]
            if not (link.text or len(link)):
                if label not in self.numbers:
                    log.warning(f"no equation of theory.md has the label {label!r}")
                link.text = f"({self.numbers.get(label, '?')})"
                link.set("class", "reference")


class Mathematics(Extension):
    """What a page's Markdown needs for mathematics.

    Parameters
    ----------
    numbers : dict of str to int
        Of the equations of the theory, by label.
    """

    def __init__(self, numbers: dict[str, int]) -> None:
        super().__init__()
        self.numbers = numbers

    def extendMarkdown(self, md: Markdown) -> None:
        """Before fences of code are read, after spans of code, and before links are checked."""
        md.preprocessors.register(_Fences(md, self.numbers), "equations", 28)
        md.inlinePatterns.register(_Inline(INLINE, md), "mathematics", 185)
        md.treeprocessors.register(_References(md, self.numbers), "equation references", 1)


_numbers: dict[str, int] = {}


def on_config(config: Any) -> Any:
    """Number the equations of the theory, and let every page use them."""
    found = equations((Path(config.docs_dir) / "theory.md").read_text())
    _numbers.clear()
    _numbers.update({equation.label: number for number, equation in enumerate(found, 1)})
    if len(_numbers) < len(found):
        log.warning("two equations of theory.md have the same label")
    config.markdown_extensions.append(Mathematics(_numbers))
    return config


def on_page_content(html: str, page: Any, config: Any, files: Any) -> str:
    """Turn citations of equations into links."""
    theory = files.get_file_from_path("theory.md").url_relative_to(page.file)

    def link(match: re.Match[str]) -> str:
        if match[1] not in _numbers:
            log.warning(f"{page.file.src_uri} cites {match[0]}, which is no equation")
        return f'<a class="reference" href="{theory}#{match[1]}">Eq. ({_numbers.get(match[1], "?")})</a>'

    return CITATION.sub(link, html)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Refuse what a page would load from elsewhere: the site is read without a network."""
    for tag in ELSEWHERE.findall(output):
        if 'rel="canonical"' not in tag:
            log.warning(f"{page.file.src_uri} loads from elsewhere: {tag}")
    return output
