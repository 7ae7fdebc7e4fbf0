import pytest

from analysis.report import report
from analysis.report.chapter import read_chapter
from analysis.report.found import MARK, found, main
from analysis.report.sections import SECTIONS
from tests.analysis.synthetic import store


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    at = tmp_path_factory.mktemp("stores") / "mine.zarr"
    store(depths=(2,), steps=4, bias=1.0).to_zarr(at, zarr_format=3)
    return at


def test_every_finding_stands_on_the_page_with_its_verdict(path):
    chapter = read_chapter(path, SECTIONS)
    text = found([chapter])
    each = [one for answer in chapter.answers for one in answer.findings]
    assert len(each) > 4
    assert text.startswith(f"{len(each)} findings on 1 experiments")
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert len(lines) == len(each)
    for line, one in zip(lines, each, strict=True):
        assert line.lower().startswith(f"- {one.subject.lower()}: ")
        assert {"holds": ": holds. ", "undecided": ": open. ", "fails": ": **fails**. "}[one.verdict] in line
        assert (" decide" in line) >= (one.verdict == "undecided")
    assert "| [predicted errors: exponent -1/2](theory.md#predicted-errors) | paper | " in text


def test_the_page_is_made_anew_below_its_mark(path, tmp_path, capsys):
    page = tmp_path / "findings.md"
    page.write_text(f"# Mine\n\n{MARK}\n\nold words\n")
    assert main([str(path), "--output", str(page)]) == 0
    text = page.read_text()
    assert text.startswith(f"# Mine\n\n{MARK}\n\n")
    assert "old words" not in text
    assert main([str(path), "--output", str(page)]) == 0
    assert page.read_text() == text
    page.write_text("no mark")
    assert main([str(path), "--output", str(page)]) == 2
    assert "has no line" in capsys.readouterr().err
    assert page.read_text() == "no mark"
    assert main([str(path), "--output", str(tmp_path / "gone.md")]) == 2
    assert main([str(tmp_path / "gone.zarr"), "--output", str(page)]) == 2


def test_both_pages_are_made_of_what_is_measured_once(path, tmp_path, monkeypatch):
    page, html, alone = tmp_path / "findings.md", tmp_path / "report.html", tmp_path / "alone.html"
    page.write_text(f"{MARK}\n")
    read = []
    monkeypatch.setattr("analysis.report.found.read_chapter", lambda *where: read.append(where) or read_chapter(*where))
    assert main([str(path), "--output", str(page), "--page", str(html)]) == 0
    assert [where[0] for where in read] == [str(path)]
    assert page.read_text().removeprefix(f"{MARK}\n\n") == found([read_chapter(path, SECTIONS)])
    report(path, output=alone)
    assert html.read_bytes() == alone.read_bytes()
