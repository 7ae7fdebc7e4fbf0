"""Public functions say what they take: every argument of those with two or more, and the shape of every array.

A method may leave its arguments to the protocol that describes them: its first line ends with, for example,
"; see `Readout.meet`.", a public method.
"""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("sedyn", "sweeps", "analysis") for path in (ROOT / package).rglob("*.py"))
ARRAY = re.compile(r"\b(Array|np\.ndarray)\b")
SHAPED = re.compile(r"\b(Float|Integer|Shaped)\[[\w.]+, '[^']*'\]")
# Their compilers read annotations of their own.
COMPILED = {"_compiled", "_linked", "_taken_in", "_exact"}


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


NAMES = {name for path in FILES for _, name in public_functions(path)}


def described_elsewhere(docstring):
    """Whether a docstring leaves the description to another public method."""
    reference = re.search(r"; see `(\w+\.\w+)`\.$", docstring.split("\n", 1)[0])
    return reference is not None and reference[1] in NAMES


def faults(path):
    """What is missing in the docstrings of one file."""
    for function, name in public_functions(path):
        taken = arguments(function)
        docstring = ast.get_docstring(function) or ""
        if len(taken) < 2 or any(ast.unparse(d).endswith("overload") for d in function.decorator_list):
            continue
        if described_elsewhere(docstring):
            continue
        known = described(docstring)
        for argument in taken:
            if argument.arg not in known:
                yield f"{path.relative_to(ROOT)}:{function.lineno} {name}: no word on {argument.arg}"
            elif argument.annotation is not None:
                text = ast.unparse(argument.annotation)
                if ARRAY.search(text) and not SHAPED.search(text) and "shape" not in known[argument.arg]:
                    yield f"{path.relative_to(ROOT)}:{function.lineno} {name}: {argument.arg} has no shape"


def arrays_without_shape(path):
    """Annotations of one file that say of an array nothing but that it is one; a callable's are its own."""
    for function, name in public_functions(path):
        if COMPILED & {ast.unparse(decorator) for decorator in function.decorator_list}:
            continue
        hints = [argument.annotation for argument in arguments(function)] + [function.returns]
        for text in (ast.unparse(hint) for hint in hints if hint is not None):
            if ARRAY.search(SHAPED.sub("", text)) and "Callable" not in text:
                yield f"{path.relative_to(ROOT)}:{function.lineno} {name}: {text}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arguments_are_described(path):
    assert list(faults(path)) == []


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if path.is_relative_to(ROOT / "sedyn")],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_arrays_have_shapes(path):
    assert list(arrays_without_shape(path)) == []


FUNCTIONS = '''
class Store:
    def take(self, values: Array, count: int) -> Float[Array, "q n"]:
        """Take values.

        Parameters
        ----------
        values : array
        """

    def give(self, values: Float[Array, "q n"], count: int) -> Array | None:
        """Give values; see `{elsewhere}`."""

    def _hide(self, values: Array, count: int) -> Array: ...
'''


@pytest.mark.parametrize("elsewhere", ["Design.descend", "Design.ascend"])
def test_what_is_missing_is_found(tmp_path, monkeypatch, elsewhere):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    path = tmp_path / "store.py"
    path.write_text(FUNCTIONS.format(elsewhere=elsewhere))
    found = [fault.split(" ", 1)[1] for fault in faults(path)]
    take = ["Store.take: values has no shape", "Store.take: no word on count"]
    give = ["Store.give: no word on values", "Store.give: no word on count"]
    assert sorted(found) == sorted(take if elsewhere == "Design.descend" else take + give)
    bare = [fault.split(" ", 1)[1] for fault in arrays_without_shape(path)]
    assert sorted(bare) == ["Store.give: Array | None", "Store.take: Array"]
