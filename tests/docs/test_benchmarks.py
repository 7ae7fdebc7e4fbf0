"""The pages of what was measured: one screen of claims, whose links lead to the tables and to scripts that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify

from benchmarks import roofline

ROOT = Path(__file__).parents[2]
SCORECARD = ROOT / "benchmarks/README.md"
RESULTS = sorted((ROOT / "benchmarks/results").glob("*.md"))
ROW = re.compile(r"^\| (?!claim \||name \|)[^-].* \|$", re.MULTILINE)
LAST_COLUMN = re.compile(r"\[`?([^\]`]+)`?\]\(([^)#]+)(?:#([^)]+))?\) \|$")


def headings(page: Path) -> set[str]:
    """Anchors of a page that are the same on the site and on GitHub, and labels of its equations."""
    text = page.read_text()
    titles = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    on_github = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    return {slugify(title, "-") for title in titles} & on_github | {*re.findall(r'label="([^"]+)"', text)}


def rows() -> list[str]:
    """Claims of the scorecard."""
    return [row for row in ROW.findall(SCORECARD.read_text()) if row.count("|") == 8]


def test_the_scorecard_is_a_page_that_leads_to_every_other():
    text = SCORECARD.read_text()
    assert len(text.splitlines()) <= 140
    assert {f"results/{page.name}" for page in RESULTS} <= {*re.findall(r"\]\(([^)#]+)", text)}


@pytest.mark.parametrize("page", [SCORECARD, *RESULTS], ids=lambda page: page.stem)
def test_links_lead_to_a_file_and_a_heading_of_it(page):
    for path, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]+))?\)", page.read_text()):
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), path
        assert not anchor or anchor in headings(there), f"{path}#{anchor}"


def test_every_claim_leads_to_the_script_that_measures_it_or_says_that_there_is_none():
    assert len(rows()) > 50
    machines = {*re.findall(r"^\| (\S[^|]*?) \| [^|]+ \|$", SCORECARD.read_text(), flags=re.MULTILINE)} - {"name"}
    for row in rows():
        script, path, _ = LAST_COLUMN.search(row).groups()
        assert row.split(" | ")[-2].strip("| ").removesuffix(", busy") in {*machines, "none", "any"}, row
        if script.endswith(".py"):
            assert (ROOT / "benchmarks" / script).exists(), row
            assert script.removesuffix(".py") in (SCORECARD.parent / path).read_text(), row
        else:
            assert script in {"no script", "analysis.power"}, row


def test_a_goal_that_is_there_is_met_or_is_said_not_to_be():
    for row in rows():
        *_, goal, met, _, _ = [cell.strip() for cell in row.strip("|").split("|")]
        assert not goal or met, row


def test_the_table_of_the_roofline_is_where_its_script_writes_it():
    text = roofline.PAGE.read_text()
    assert text.count("<!-- computed -->\n") == text.count("\n<!-- end -->") == 1
