"""What cupy offers, written down so that tests can hold the kernels to it on machines without cupy.

cupy imports without a GPU, but it is large and not installed for the tests. Its names and signatures, as
`array_api_compat` presents them to kernels, are therefore kept in a table beside this file. With cupy installed the
tests check that the table is still true, and this makes it anew::

    python -m tests.sedyn.cupy_interface
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import json
from inspect import Parameter
from pathlib import Path
from typing import Any

import array_api_compat
import array_api_strict

import sedyn

TABLE = Path(__file__).with_name("cupy_interface.json")
# Compiled without a signature, and not used by kernels.
UNTOLD = ("from_dlpack",)
# A cupy ufunc has no signature of its own.
UFUNC = {1: "x, /, out=None, *, dtype=None", 2: "x1, x2, /, out=None, *, dtype=None"}


@functools.cache
def signature_of(parameters: str) -> inspect.Signature:
    """Make a signature of parameters written as in the table."""
    return inspect.signature(eval(f"lambda {parameters}: None"))


def written(function: Any) -> str:
    """Parameters of a function as the table has them: every default is None, no annotations."""
    if hasattr(function, "nin"):
        return UFUNC[function.nin]
    bare = [
        parameter.replace(
            annotation=Parameter.empty, default=None if parameter.default is not Parameter.empty else Parameter.empty
        )
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]
    return str(inspect.Signature(bare))[1:-1]


def names_of_cupy(path: Path) -> set[str]:
    """Dotted names that a module takes from cupy, found in its source."""
    tree = ast.parse(path.read_text())
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    aliases = {alias: name for alias, name in aliases.items() if name.split(".")[0] in ("cupy", "cupyx")}
    dotted = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    heads = {name: name.split(".")[0] for name in dotted if all(part.isidentifier() for part in name.split("."))}
    return {aliases[head] + name[len(head) :] for name, head in heads.items() if head in aliases}


def names_in_package() -> set[str]:
    """Dotted names that sedyn takes from cupy."""
    return set().union(*(names_of_cupy(path) for path in Path(sedyn.__file__).parent.rglob("*.py")))


def load() -> dict[str, Any]:
    """Read the table."""
    return json.loads(TABLE.read_text())


def read_cupy() -> dict[str, Any]:
    """Make the table from the cupy that is installed."""
    import cupy

    namespace = importlib.import_module("array_api_compat.cupy")
    functions = {}
    for module, prefix in ((array_api_strict, ""), (array_api_strict.linalg, "linalg.")):
        for name in module.__all__:
            own = getattr(namespace.linalg if prefix else namespace, name, None)
            if callable(own) and not isinstance(own, type) and name not in UNTOLD:
                functions[prefix + name] = written(own)
    for name in sorted(names_in_package()):
        head, *rest = name.split(".")
        found = importlib.import_module(head)
        for part in rest:  # a name that cupy does not have ends here
            found = getattr(found, part, None) or importlib.import_module(f"{found.__name__}.{part}")
    generator = {name: written(method) for name, method in vars(cupy.random.Generator).items() if name[0] != "_"}
    return {
        "versions": {"cupy": cupy.__version__, "array_api_compat": array_api_compat.__version__},
        "functions": functions,
        "array": sorted(name for name in dir(cupy.ndarray) if not name.startswith("_") or name.endswith("__")),
        "generator": {name: generator[name] for name in sorted(generator)},
        "taken by sedyn": sorted(names_in_package()),
    }


if __name__ == "__main__":
    TABLE.write_text(json.dumps(read_cupy(), indent=1) + "\n")
