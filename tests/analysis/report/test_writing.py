import io
import re
from functools import cache

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from analysis.answers.style import png
from analysis.questions.rates import rates_table
from analysis.report import NothingToReport, main, report
from analysis.report.chapter import read_chapter
from analysis.report.sections import SECTIONS
from analysis.report.writing import _say, terminal_table


@pytest.fixture
def path(tree, tmp_path):
    at = tmp_path / "small.zarr"
    tree.to_zarr(at, mode="w", consolidated=False)
    return at


@pytest.fixture
def measured_once(monkeypatch):
    """Measure and draw every store once in a test, however often it is reported."""
    chapters = cache(lambda path: read_chapter(path, SECTIONS))
    monkeypatch.setattr("analysis.report.chapter.read_chapter", lambda path, sections: chapters(str(path)))
    monkeypatch.setattr("analysis.report.writing.png", cache(png))


def test_table_fits_a_terminal(measured):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    table = rates_table(measured)
    console.print(terminal_table(table))
    text = console.export_text()
    assert "…" not in text
    assert all(field in text for line in table.lines for field in line)


def test_names_of_a_stranger_are_no_markup_and_no_codes_of_a_terminal(measured):
    hostile = "[link=http://x][bold]\x1b]0;owned\x07\n\u202e"
    stream = io.StringIO()
    console = Console(width=200, file=stream, force_terminal=True, color_system=None)
    table = rates_table(measured)
    lines = [[hostile, *line[1:]] for line in table.lines]
    console.print(terminal_table(table._replace(title=hostile, headings=[hostile, *table.headings[1:]], lines=lines)))
    _say(console, hostile)
    shown = re.sub("\x1b\\[[0-9;]*m", "", stream.getvalue())  # what rich itself says of colours
    assert shown.count("[link=http://x][bold]\\x1b]0;owned\\x07\\n\\u202e") >= 2 + len(lines)
    assert shown.replace("\n", "").isprintable()


def test_report_writes_its_files(path, capsys, measured_once):
    report(path, console=Console(quiet=True))
    written = report(path, console=Console(width=100))  # a second report replaces the first
    names = [file.name for file in written]
    assert names[0] == "small.learning_curves.png"
    assert {"small.rates.png", "small.rates.zarr"} < set(names)
    assert names[-1] == "small.report.html"
    images = [file for file in written if file.suffix == ".png"]
    assert all(image.read_bytes().startswith(b"\x89PNG") for image in images)
    kept = xr.open_zarr(path.with_name("small.rates.zarr"), consolidated=False)
    assert kept.attrs["store"] == "small.zarr"
    assert kept.overall_exponent.dims == ("observable", "part")
    page = written[-1].read_text()
    assert page.index("Findings") < page.index("<img") < page.index("Learning curves") < page.index("Provenance")
    assert page.count("data:image/png;base64,") == len(images)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "learning_rate" in page
    assert "python -m analysis.report stores/small.zarr" in page
    out = capsys.readouterr().out
    assert "test error: holds: consistent with n^-1/2 (exponent -0." in out
    assert "small.report.html" in out


def test_several_stores_make_one_page(small, tmp_path, measured_once, monkeypatch):
    monkeypatch.setattr("analysis.report.writing.png", lambda figure: b"drawn elsewhere")
    paths = [tmp_path / f"{name}.zarr" for name in ("one", "two")]
    for path in paths:
        small.to_zarr(path, mode="w", consolidated=False)
    page = report(*paths, console=Console(quiet=True))[-1]
    assert page == tmp_path / "report.html"
    text = page.read_text()
    assert text.index("Findings") < text.index("<h2>one</h2>") < text.index("<h2>two</h2>")
    for name in ("one", "two"):
        assert f'href="#{name}-rates"' in text
        assert f'id="{name}-rates"' in text
    at = tmp_path / "elsewhere.html"
    assert main([*map(str, paths), "--output", str(at)]) == 0
    assert at.read_text() == text


def test_a_question_that_a_store_cannot_answer_is_named_with_the_reason(tree, tmp_path):
    short = xr.DataTree.from_dict({name: group.to_dataset().isel(n=slice(2)) for name, group in tree.children.items()})
    short.to_zarr(tmp_path / "short.zarr", mode="w", consolidated=False)
    written = report(tmp_path / "short.zarr", console=Console(quiet=True))
    assert "short.rates.png" not in [file.name for file in written]
    assert "rates (fewer than 3 values of n)" in written[-1].read_text()


def test_one_size_without_an_axis_has_learning_curves(tree, tmp_path):
    one = xr.DataTree.from_dict(
        {name: group.to_dataset().isel(n=0, drop=True).assign_attrs(n=256) for name, group in tree.children.items()}
    )
    one.to_zarr(tmp_path / "one.zarr", mode="w", consolidated=False)
    written = report(tmp_path / "one.zarr", console=Console(quiet=True))
    assert "n = 256, 4 problems" in written[-1].read_text()


def test_report_of_strings_on_an_axis(small, tmp_path):
    named = xr.DataTree.from_dict(
        {
            name: group.to_dataset().isel(noise=slice(1)).rename(noise="activation").assign_coords(activation=["tanh"])
            for name, group in small.children.items()
        }
    )
    named.to_zarr(tmp_path / "named.zarr", mode="w", consolidated=False)
    written = report(tmp_path / "named.zarr", console=Console(quiet=True))
    assert "tanh" in written[-1].read_text()


@pytest.mark.parametrize("kind", ["missing", "folder", "unfinished"])
def test_nothing_to_report_is_one_line_and_status_2(kind, tree, tmp_path, capsys):
    at = tmp_path / "store.zarr"
    if kind == "folder":
        at.mkdir()
    if kind == "unfinished":
        groups = {name: group.to_dataset() for name, group in tree.children.items()}
        groups["simulation"] = groups["simulation"] * np.nan
        xr.DataTree.from_dict(groups).to_zarr(at, mode="w", consolidated=False)
    assert main([str(at)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "store.zarr" in error
    with pytest.raises(NothingToReport):
        report(at)


@pytest.mark.parametrize("name", ["small.report.html", "small.learning_curves.png"])
def test_a_file_that_cannot_be_written_is_one_line(path, capsys, measured_once, name):
    path.with_name(name).mkdir()  # in its way
    assert main([str(path)]) == 2
    shown = capsys.readouterr().err
    assert f"{name}': cannot be written (Is a directory)" in shown
    assert shown.count("\n") == 1


def test_a_page_in_a_folder_that_is_not_there_is_refused_before_any_work(path, tmp_path, capsys):
    before = sorted(path.parent.iterdir())
    assert main([str(path), "--output", str(tmp_path / "nowhere" / "page.html")]) == 2
    shown = capsys.readouterr()
    assert "there is no such folder" in shown.err
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert sorted(path.parent.iterdir()) == before
