"""Every page of the docs that shows code shows what it does."""

import pytest

from sweeps.app import main
from tests.docs.pages import DOCS, assert_same_output, blocks, commands, run_python, smaller

# Numbers on a page have two or three digits; other libraries of linear algebra change the last.
TOLERANCE = 0.02


@pytest.mark.parametrize("page", ["extending", "first-study", "index", "own-data", "sweeps"])
def test_code_fits_the_width_of_a_page(page):
    lines = [line for block in blocks(page) for line in block.text.splitlines()]
    assert [line for line in lines if len(line) > (100 if page == "index" else 90)] == []


def test_home_page_shows_what_the_readme_shows():
    readme = (DOCS.parent / "README.md").read_text()
    [shown] = [block.text for block in blocks("index") if block.language == "python"]
    assert all(line in readme for line in shown.splitlines())


def test_your_own_data():
    assert run_python(blocks("own-data"), {}, tolerance=TOLERANCE) == 3


def test_extending():
    assert run_python(blocks("extending"), {}, tolerance=TOLERANCE) == 5


def test_first_study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = blocks("first-study")
    before = next(i for i, block in enumerate(found) if block.language == "console")
    names: dict = {}
    assert run_python(found[:before], names, tolerance=TOLERANCE) == 4
    assert (tmp_path / "first-study.png").exists()
    [command] = commands(found[before])
    assert command.pop(0) == "sweep"
    assert main(smaller(command, "compute=inline", "grid.n=[40,80,160]", "theory.samples=256", "replicates=3")) == 0
    run_python(found[before:], names, tolerance=TOLERANCE)
    assert names["distance"].overall_exponent < 0


@pytest.mark.parametrize(
    ("printed", "wrong"), [("error 0.52", "error 0.60"), ("error 0.52", "mistake 0.52"), ("1 2", "1")]
)
def test_a_page_that_shows_something_else_is_found(printed, wrong):
    assert_same_output(printed, printed, TOLERANCE)
    with pytest.raises(AssertionError):
        assert_same_output(printed, wrong, TOLERANCE)
