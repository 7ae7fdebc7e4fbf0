"""The page of the API says of every public name what is true of it."""

import inspect
import re
from pathlib import Path

import griffe
import pytest

import sedyn

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api.md").read_text()


@pytest.fixture(scope="module")
def package():
    extensions = griffe.load_extensions("dataclasses", str(ROOT / "docs/theme/docstrings.py"))
    return griffe.load("sedyn", search_paths=[ROOT], docstring_parser="numpy", extensions=extensions)


def entries(package, name, kind):
    """Entries of the docstring of a public name that are parameters, or what is returned, by name."""
    found = package[name] if name in package.members else package[f"estimators.{name}"]
    found = found.final_target if found.is_alias else found
    return [entry for section in found.docstring.parsed if section.kind is kind for entry in section.value]


def test_every_public_name_has_an_entry():
    named = {entry.rpartition(".")[2] for entry in re.findall(r"^::: (\S+)$", PAGE, flags=re.MULTILINE)}
    assert {*sedyn.__all__} - {"__version__"} <= named


@pytest.mark.parametrize("name", [name for name in sedyn.__all__ if callable(getattr(sedyn, name))])
def test_parameters_have_their_own_defaults(package, name):
    parameters = inspect.signature(getattr(sedyn, name)).parameters
    described = entries(package, name, griffe.DocstringSectionKind.parameters)
    assert {entry.name for entry in described} == {*parameters}
    for entry in described:
        default = parameters[entry.name].default
        if default is inspect.Parameter.empty:
            assert entry.value is None
        else:
            assert eval(str(entry.value)) == default


def test_types_are_as_written(package):
    types = {
        entry.name: str(entry.annotation)
        for entry in entries(package, "simulate", griffe.DocstringSectionKind.parameters)
    }
    assert types["engine"] == "{'auto', 'dense', 'deferred'}"
    fit = package["estimators.regressor.NetworkRegressor.fit"].docstring.parsed
    [X, *_] = next(section.value for section in fit if section.kind is griffe.DocstringSectionKind.parameters)
    assert X.annotation == "array-like or sparse, shape (samples, features)"
