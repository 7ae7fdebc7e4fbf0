"""Every equation that the code cites exists, and every test that an equation names."""

import re
import subprocess
from pathlib import Path

import pytest

from docs.theme.mathematics import CITATION, FENCE, INLINE, SOURCES, equations, mathml

ROOT = Path(__file__).parents[2]
THEORY = (ROOT / "docs/theory.md").read_text()
PAGES = sorted((ROOT / "docs").glob("*.md"))
EQUATIONS = equations(THEORY)
LABELS = {equation.label for equation in EQUATIONS}


def texts():
    """Every text file of the repository by path: committed ones, and those that are about to be."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    kinds = (".py", ".cu", ".h", ".md", ".yaml", ".yml", ".toml", ".ipynb")
    paths = [ROOT / name for name in names if name.endswith(kinds)]
    return {path.relative_to(ROOT).as_posix(): path.read_text() for path in paths if path.exists()}


TEXTS = texts()


def citations():
    """Labels that files other than this test cite, and where."""
    found: dict[str, list[str]] = {}
    for path, text in TEXTS.items():
        for label in CITATION.findall(text):
            found.setdefault(label, []).append(path)
    return found


def test_every_citation_is_of_an_equation():
    assert {label: where for label, where in citations().items() if label not in LABELS} == {}


def test_the_code_cites_the_projects_own_theory_and_nothing_else():
    elsewhere = re.compile(r"THEORY(?:\.md)?,? section")
    assert [
        path for path, text in TEXTS.items() if elsewhere.search(text) and path != "tests/docs/test_citations.py"
    ] == []


def test_labels_are_unique_and_say_where_an_equation_comes_from():
    assert len(LABELS) == len(EQUATIONS)
    references = THEORY.split("## References")[1]
    for equation in EQUATIONS:
        name = equation.source.split(" (")[0].split(" and ")[0]
        assert equation.source in {*SOURCES, "known"} or name in references, equation


def test_tests_that_equations_name_exist():
    defined = {
        f"{Path(path).stem}::{name}"
        for path, text in TEXTS.items()
        if path.startswith("tests/")
        for name in re.findall(r"^def (test_\w+)\(", text, flags=re.MULTILINE)
    }
    named = {check for equation in EQUATIONS for check in equation.checks}
    assert named - defined == set()
    assert all(equation.checks for equation in EQUATIONS), "each was checked by something"


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_mathematics_of_a_page_is_mathematics(page):
    text = page.read_text()
    formulas = [match["tex"] for match in FENCE.finditer(text)]
    prose = re.sub(r"^```.*?^```$|`[^`]*`", "", text, flags=re.MULTILINE | re.DOTALL)
    for tex in [*formulas, *(tex for tex, _ in re.findall(INLINE, prose))]:
        assert mathml(tex).startswith("<math")


def test_what_is_no_mathematics_is_refused():
    with pytest.raises(ValueError, match="unknown command"):
        mathml(r"\nosuchthing x")
    with pytest.raises(ValueError, match="well-formed"):
        mathml(r"\begin{aligned} a &= b \end{aligned}")
