"""What the page on design says of the tree is true of the tree."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
DESIGN = (ROOT / "docs/design.md").read_text()


def rows(heading):
    """Lines of the table below a heading, as lists of cells without marks of code."""
    section = DESIGN.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [
        [cell.strip().strip("`") for cell in re.split(r" \|(?: |$)", line.removeprefix("| "))] for line in lines[1:]
    ]


def test_paths_exist():
    named = set(re.findall(r"`((?:sedyn|sweeps|analysis|conf|tests|benchmarks|docs)/[\w./]*)`", DESIGN))
    assert len(named) > 15
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_rules_are_those_of_the_folders_and_none_is_missing():
    said = {folder: rule for folder, rule, *_ in rows("The house")}
    found = {}
    for package in ("sedyn", "sweeps", "analysis"):
        for file in sorted((ROOT / package).glob("*/__init__.py")):
            docstring = ast.get_docstring(ast.parse(file.read_text()))
            found[f"{file.parent.relative_to(ROOT).as_posix()}/"] = docstring.split("\n\n")[0].replace("\n", " ")
    assert said == found


def test_rooms_stand_in_the_order_in_which_they_may_import():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = {contract["containers"][0]: contract["layers"] for contract in contracts if "containers" in contract}
    for package, highest_first in layers.items():
        heights = {room: -i for i, layer in enumerate(highest_first) for room in layer.split(" | ")}
        said = [folder.split("/")[1] for folder, *_ in rows("The house") if folder.startswith(f"{package}/")]
        assert len(said) > 3
        assert said == sorted(said, key=heights.__getitem__)


def test_a_newcomer_finds_what_is_asked_for():
    answers = rows("Where is ...?")
    assert len(answers) == 10
    for question, path, name, *_ in answers:
        assert question.endswith("?")
        assert name in (ROOT / path).read_text(), f"{path} has no {name}"


def test_mirror_images_have_the_same_files_and_parts():
    parts = [part.split(", ") for part, *_ in rows("An algorithm") if part != "public"]
    assert len(parts) == 6
    for file, *names in parts:
        for side in ("theory", "descent"):
            source = (ROOT / f"sedyn/{side}/{file.strip('`')}").read_text()
            for name in names:
                assert re.search(rf"^(?:def|class) {name.strip('`')}\b", source, flags=re.MULTILINE), (side, name)
