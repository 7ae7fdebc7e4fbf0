"""What the project's papers say of it agrees with what it is."""

import re
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_version_and_licence_are_the_same_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"] == "BSD-3-Clause"
    assert PROJECT["license-files"] == ["LICENSE"]
    holder = PROJECT["authors"][0]["name"]
    assert holder == citation["authors"][0]["name"]
    assert f"Copyright (c) 2026, {holder}" in (ROOT / "LICENSE").read_text()
    assert citation["preferred-citation"]["url"] in PROJECT["urls"].values()


def test_changes_of_the_version_are_told():
    versions = re.findall(r"^## \[(.+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert versions[1] == PROJECT["version"]


def test_hooks_and_contributing_name_what_make_knows():
    makefile = (ROOT / "Makefile").read_text()
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    entries = [hook["entry"] for repo in hooks["repos"] for hook in repo["hooks"]]
    assert entries == ["make lint"]
    assert {repo["repo"] for repo in hooks["repos"]} == {"local"}, "nothing is fetched"
    for target in ["lint", *re.findall(r"^make ([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)]:
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_links_of_the_papers_lead_somewhere():
    for paper in ("CONTRIBUTING.md", "CHANGELOG.md"):
        for path in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / paper).read_text()):
            assert (ROOT / path).exists(), path


def test_paths_of_the_papers_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = {*re.findall(r"`((?:sedyn|sweeps|analysis|conf|tests|benchmarks|docs)/[\w./]*)`", text)}
    assert "tests/helpers.py" in named
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_templates_ask_for_something():
    templates = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    assert len(templates) == 3
    for template in templates:
        form = yaml.safe_load(template.read_text())
        assert {"name", "description", "body"} <= {*form}
        assert any(question.get("validations", {}).get("required") for question in form["body"]), template
