"""The code that computes a sweep, by the digests of its sources: all of sedyn, and what a user's modules consist of.

Two runs of the same digest compute the same numbers. The reverse does not hold: a comment changes the digest.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import sedyn

__all__ = ["Code", "Sources", "code_of", "differing", "digest_of"]

_OWN = ("sedyn", "sweeps", "analysis")
_HEXADECIMALS = 16
_IMPORTING = ("import_module", "__import__")
_INSTALLED = tuple(sysconfig.get_paths()[kind] for kind in ("purelib", "platlib", "stdlib", "platstdlib"))


class Code(NamedTuple):
    """What computes.

    Attributes
    ----------
    files : mapping of str to str
        Digest of each source, by a name that is the same wherever it lies.
    replaces : bool
        Whether it may go on in a store that other code began.
    registered : tuple of (str, str)
        What of the files is no file: what a sweep uses of that which a user registered, by field and name, see
        `sweeps.registered`.
    """

    files: Mapping[str, str]
    replaces: bool = False
    registered: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """One digest of all."""
        return digest_of("\n".join(f"{name} {self.files[name]}" for name in sorted(self.files)).encode())


def code_of(modules: Sequence[str] = (), *, replaces: bool = False) -> Code:
    """Find the code that this process computes with.

    Parameters
    ----------
    modules : sequence of str
        A user's, imported already. What they import of the user's belongs to it, what is installed does not.
    replaces : bool, optional
        Whether it may go on in a store that other code began.
    """
    files = dict(_sources_of_sedyn())
    for name, module in _reached(modules).items():
        assert module.origin is not None, "what has no file is not reached"
        files[_name_of(name, module)] = _digest_of_module(name, Path(module.origin))
    return Code(files, replaces)


class Sources:
    """Which modules belong to the code.

    Parameters
    ----------
    modules : sequence of str
        As for `code_of`.

    Attributes
    ----------
    names : set of str
        Those of a user's that these lead to.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self.names = set(_reached(modules))

    def is_a_users(self, module: str) -> bool:
        """Whether a module is neither sedyn's, nor Python's, nor installed; also where no file has it."""
        root = module.partition(".")[0]
        return root == "__main__" or _spec_of(root) is None or _is_a_users(root)

    def file_of(self, module: str) -> str | None:
        """Name the file of a module that is found when it is imported by name; None if there is none."""
        spec = None if module == "__main__" else _spec_of(module)
        return spec.origin if spec is not None and spec.has_location else None


def differing(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Name the files that differ, a user's own first.

    Parameters
    ----------
    before, now : mapping of str to str
        Digests of files.
    """
    names = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    return sorted(names, key=lambda name: (name.startswith("sedyn/"), name))


@cache
def _sources_of_sedyn() -> Mapping[str, str]:
    package = Path(str(sedyn.__file__)).parent
    files = sorted(file for file in package.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    return {file.relative_to(package.parent).as_posix(): digest_of(file.read_bytes()) for file in files}


def _reached(modules: Sequence[str]) -> dict[str, ModuleSpec]:
    """Follow imports from some modules through what is a user's."""
    found: dict[str, ModuleSpec] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        spec = _spec_of(name)
        if name in found or spec is None or not spec.has_location:
            continue
        found[name] = spec
        parts = name.split(".")
        waiting += [".".join(parts[:k]) for k in range(1, len(parts))]
        for imported in _imports_of(name, spec):
            root = imported.partition(".")[0]
            if root == parts[0] or _is_a_users(root):
                waiting.append(imported)
    return found


def _is_a_users(root: str) -> bool:
    if root in _OWN or root in sys.stdlib_module_names:
        return False
    spec = _spec_of(root)
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or [])]
    return bool(places) and not any(place.startswith(_INSTALLED) for place in places)


def _imports_of(name: str, spec: ModuleSpec) -> Iterator[str]:
    """Name what the source of a module imports, also where a function does, and by `import_module` with a name."""
    origin = Path(spec.origin or "")
    if origin.suffix != ".py":
        return
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(origin.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in _IMPORTING and node.args:
            asked = node.args[0].value if isinstance(node.args[0], ast.Constant) else None
            if isinstance(asked, str):
                with contextlib.suppress(ImportError):  # one that leads out of its package, as it would when it runs
                    yield importlib.util.resolve_name(asked, package)


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _spec_of(name: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None


def _name_of(name: str, spec: ModuleSpec) -> str:
    path = name.replace(".", "/")
    return (
        f"{path}/__init__.py" if spec.submodule_search_locations is not None else path + Path(str(spec.origin)).suffix
    )


_KNOWN: dict[str, tuple[ModuleType | None, str]] = {}


def _digest_of_module(name: str, file: Path) -> str:
    """Digest a module's source as it was when this process had it first: what changes later is not what it runs."""
    module = sys.modules.get(name)
    if module is None:
        return digest_of(file.read_bytes())
    if name not in _KNOWN or _KNOWN[name][0] is not module:
        _KNOWN[name] = module, digest_of(file.read_bytes())
    return _KNOWN[name][1]


def digest_of(content: bytes) -> str:
    """Digest some bytes."""
    return hashlib.sha256(content).hexdigest()[:_HEXADECIMALS]
