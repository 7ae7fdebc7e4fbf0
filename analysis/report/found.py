"""The page of the documentation that says what was found, written anew from stores.

Run as ``python -m analysis.report.found PATH [PATH ...] --output docs/findings.md``. What is above the mark is kept.
With ``--page FILE`` the report of the stores is made as well, and these are measured once for both.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from analysis.report.chapter import Chapter, read_chapter
from analysis.report.claims import claim_lines, duration, what_decides
from analysis.report.sections import SECTIONS
from analysis.report.writing import write
from sedyn.errors import InvalidInput
from sweeps.terminal import say

__all__ = ["MARK", "found", "main"]

MARK = "<!-- What follows is written by `make findings`. -->"
LABELS = {"holds": "holds", "undecided": "open", "fails": "**fails**"}


def found(chapters: Sequence[Chapter]) -> str:
    """Write what stores have to say: all claims in a table, then store by store what was run and every finding.

    Parameters
    ----------
    chapters : sequence of Chapter

    Returns
    -------
    str
        Markdown.
    """
    lines = [*_summary(chapters), *_claims(chapters)]
    for chapter in chapters:
        lines += _chapter(chapter)
    return "\n".join(lines) + "\n"


def _summary(chapters: Sequence[Chapter]) -> Iterator[str]:
    counts = Counter(one.verdict for chapter in chapters for answer in chapter.answers for one in answer.findings)
    seconds = sum(chapter.seconds.runs for chapter in chapters)
    yield (
        f"{counts.total()} findings on {len(chapters)} experiments, whose runs took {duration(seconds)} of one core: "
        f"{counts['holds']} hold, {counts['undecided']} are undecided, {counts['fails']} fail."
    )
    yield ""


def _claims(chapters: Sequence[Chapter]) -> Iterator[str]:
    yield "## Claim by claim"
    yield ""
    yield "| claim | of | verdict | number | n up to | hold / undecided / fail |"
    yield "|---|---|---|---|---|---|"
    for line in claim_lines(chapters):
        what = f"[{line.what}](theory.md#{line.claim.label})"
        cells = (what, line.claim.source, LABELS.get(line.said, line.said), line.number, line.reached, line.counts)
        yield f"| {' | '.join(cells)} |"
    yield ""


def _chapter(chapter: Chapter) -> Iterator[str]:
    yield f"## {chapter.name.replace('_', ' ').capitalize()}"
    yield ""
    yield f"{chapter.lead} The runs took {duration(chapter.seconds.runs)} of one core."
    yield ""
    for answer in chapter.answers:
        yield f"**{answer.section.question}**"
        yield ""
        for one in answer.findings:
            subject = f"{one.subject[:1].upper()}{one.subject[1:]}"
            number = one._replace(claim=None).number
            decides = what_decides(one, chapter.seconds)
            yield f"- {subject}: {LABELS[one.verdict]}. {one.sentence[:1].upper()}{one.sentence[1:]}{number}{decides}."
        yield ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page.

    Parameters
    ----------
    arguments : sequence of str, optional
        Words after the program's name.

    Returns
    -------
    int
        Exit status: 0 done, 2 nothing to report.
    """
    parser = argparse.ArgumentParser(prog="python -m analysis.report.found", description=__doc__)
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a Zarr store that a sweep wrote")
    parser.add_argument("--output", metavar="FILE", required=True, help="a page with the mark, below which it is made")
    parser.add_argument("--page", metavar="FILE", help="where the page of the report goes, if it is to be made as well")
    words = parser.parse_args(arguments)
    page = Path(words.output)
    try:
        chapters = [read_chapter(path, SECTIONS) for path in words.paths]
        if words.page:
            write(words.paths, chapters, words.page, Console())
        kept, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    except InvalidInput as error:
        say(error, error=True)
        return 2
    except OSError as error:
        say(InvalidInput("output", words.output, f"cannot be read ({error.strerror})"), error=True)
        return 2
    if not mark:
        say(InvalidInput("output", words.output, f"has no line {MARK}"), error=True)
        return 2
    page.write_text(f"{kept}{mark}\n\n{found(chapters)}", encoding="utf-8")
    say(f"findings: {page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
