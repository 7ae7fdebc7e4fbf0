"""Every page of the docs that shows code shows what it does."""

import html
import json
import re

import pytest
from matplotlib import pyplot

from docs.theme.notebook import PAGES, notebook, path_of
from sedyn.kernels.dispatch import mean_response
from sweeps.application.command import COMMANDS
from tests.docs.pages import DOCS, assert_same_output, blocks, commands, run_page

# Numbers on a page have two or three digits; other libraries of linear algebra change the last.
TOLERANCE = 0.02


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of a reader, whose own modules are found in it; figures that a page leaves open are closed after it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    pyplot.close("all")


def test_first_study(folder):
    names: dict = {}
    small = ("compute=inline", "grid.n=[40,80,160]", "theory.samples=256", "replicates=3")
    assert run_page(blocks("first-study"), names, tolerance=TOLERANCE, changes=small) == 4
    assert (folder / "first-study.png").exists()
    assert names["distance"].overall_exponent < 0


def test_your_own_data():
    assert run_page(blocks("own-data"), {}, tolerance=TOLERANCE) == 5


def test_beat_your_holdout(folder):
    assert run_page(blocks("beat-your-holdout"), {}, tolerance=TOLERANCE) == 5
    assert (folder / "beat-your-holdout.png").exists()


def test_your_own_loop():
    assert run_page([block for block in blocks("own-loop") if not of_pytorch(block)], {}, tolerance=TOLERANCE) == 1


def test_your_own_loop_in_pytorch():
    pytest.importorskip("torch", reason="PyTorch is optional: pip install torch")
    [first, *_], [loop] = (
        [block for block in blocks("own-loop") if block.language == "python" and of_pytorch(block) is which]
        for which in (False, True)
    )
    names: dict = {}
    run_page([first, loop], names, tolerance=TOLERANCE)
    assert abs(names["found"].mean - float(names["true"])) < 4 * names["found"].stderr


def of_pytorch(block):
    return "import torch" in block.text


@pytest.mark.parametrize("page", PAGES)
def test_notebook_is_its_page(page):
    """So that the page's own test runs it."""
    kept = json.loads(path_of(page).read_text())
    assert kept == notebook(page)
    code = ["".join(cell["source"]) for cell in kept["cells"] if cell["cell_type"] == "code"]
    assert code == [block.text.strip() for block in blocks(page) if block.language == "python"]
    words = "".join("".join(cell["source"]) for cell in kept["cells"] if cell["cell_type"] == "markdown")
    assert "```" not in words
    assert "[](" not in words
    for link in re.findall(r"\]\((?!http)([^)#]+)", words):
        assert (path_of(page).parent / link).exists(), link


def test_what_the_page_says_of_warnings_is_what_they_say():
    rows = re.findall(r"^\| \*(.+?)\* \|", (DOCS / "beat-your-holdout.md").read_text(), re.MULTILINE)
    source = re.sub(r'"\n\s+f?"', "", (DOCS.parent / "sedyn/estimators/doubts.py").read_text())
    assert len(rows) > 5
    assert [phrase for phrase in rows if phrase not in source] == []


def test_extending(folder, monkeypatch):
    monkeypatch.setattr(mean_response, "_kernels", [*mean_response._kernels])
    assert run_page(blocks("extending"), {}, tolerance=TOLERANCE) == 10


def test_home_page_shows_what_the_readme_shows():
    readme = (DOCS.parent / "README.md").read_text()
    [shown] = [block.text for block in blocks("index") if block.language == "python"]
    assert all(line in readme for line in shown.splitlines())


@pytest.mark.parametrize("page", [page.stem for page in DOCS.glob("*.md")])
def test_commands_exist(page):
    shown = [command for block in blocks(page) if block.language == "console" for command in commands(block)]
    assert {command[0] for command in shown} <= {*COMMANDS}


def test_every_command_has_its_purpose_on_the_page_of_the_api():
    lines = re.findall(
        r"^\| `sedyn (\w+)` \| `python -m [\w.]+` \| (.+) \|$", (DOCS / "api.md").read_text(), re.MULTILINE
    )
    assert dict(lines) == {name: command.purpose for name, command in COMMANDS.items()}


@pytest.mark.parametrize(
    "page", ["analysis", "beat-your-holdout", "extending", "first-study", "index", "own-data", "own-loop", "sweeps"]
)
def test_code_fits_the_width_of_a_page(page):
    lines = [line for block in blocks(page) for line in block.text.splitlines()]
    assert [line for line in lines if len(line) > (100 if page == "index" else 90)] == []


@pytest.mark.parametrize(
    ("printed", "wrong"), [("error 0.52", "error 0.60"), ("error 0.52", "mistake 0.52"), ("1 2", "1")]
)
def test_a_page_that_shows_something_else_is_found(printed, wrong):
    assert_same_output(printed, printed, TOLERANCE)
    with pytest.raises(AssertionError):
        assert_same_output(printed, wrong, TOLERANCE)


def test_the_example_of_a_report_names_no_machine():
    page = html.unescape((DOCS / "examples/experiments.html").read_text())
    assert {*re.findall(r'"host": "([^"]*)"', page)} == {"example"}
