"""Public functions say what they take: every argument of those with two or more, and the shape of every array."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("sedyn", "sweeps", "analysis") for path in (ROOT / package).rglob("*.py"))
ARRAY = re.compile(r"\b(Array|np\.ndarray)\b")
SHAPED = re.compile(r"\b(Float|Integer|Shaped)\[")


def public_functions(path):
    """Functions and methods without an underscore anywhere in their name, with that name."""
    tree = ast.parse(path.read_text())
    pending = [(tree, "")]
    while pending:
        node, prefix = pending.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.ClassDef) and not child.name.startswith("_"):
                if isinstance(child, ast.FunctionDef):
                    yield child, prefix + child.name
                else:
                    pending.append((child, f"{prefix}{child.name}."))


def arguments(function):
    """Arguments of a function but for self and cls."""
    spec = function.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs, *filter(None, (spec.vararg, spec.kwarg))]
    return [argument for argument in named if argument.arg not in ("self", "cls")]


def described(docstring):
    """Names that the section Parameters of a docstring describes, with the text of each."""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n-+\n|\Z)", docstring, re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    found = {}
    for entry in re.split(r"^(?=\S)", section[1], flags=re.MULTILINE):
        head = entry.split("\n", 1)[0].split(" : ")[0]
        found |= {name.strip().lstrip("*"): entry for name in head.split(",") if name.strip()}
    return found


def faults(path):
    """What is missing in the docstrings of one file."""
    for function, name in public_functions(path):
        taken = arguments(function)
        docstring = ast.get_docstring(function) or ""
        if len(taken) < 2 or any(ast.unparse(d).endswith("overload") for d in function.decorator_list):
            continue
        known = described(docstring)
        for argument in taken:
            if argument.arg not in known:
                yield f"{path.relative_to(ROOT)}:{function.lineno} {name}: no word on {argument.arg}"
            elif argument.annotation is not None:
                text = ast.unparse(argument.annotation)
                if ARRAY.search(text) and not SHAPED.search(text) and "shape" not in known[argument.arg]:
                    yield f"{path.relative_to(ROOT)}:{function.lineno} {name}: {argument.arg} has no shape"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arguments_are_described(path):
    assert list(faults(path)) == []
