"""What a user registered and a sweep uses, by digests of what runs: also where no file has it, as in a notebook.

Of functions whose source belongs to the code anyway (`sweeps.sources`) it takes the name, and the values that they
closed over. Of others, typed into a notebook or made by ``exec``, it takes what Python made of them, with the functions
and values that they refer to.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from sedyn.errors import InvalidInput
from sedyn.model.features import FEATURES
from sedyn.model.functions import ACTIVATIONS, LINKS, LOSSES
from sedyn.model.layers import HIDDEN
from sedyn.model.noise import NOISE_LAWS
from sedyn.model.registry import Registry
from sweeps.plan import SweepSpec
from sweeps.sources import Code, Sources, code_of, digest_of

__all__ = ["code_with", "registered_in", "require_for_workers"]

_REGISTRIES: dict[str, Registry[Any]] = {
    registry.kind: registry for registry in (ACTIVATIONS, LINKS, LOSSES, FEATURES, NOISE_LAWS, HIDDEN)
}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), range, slice, np.dtype)
_OF_CLASSES = ("__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__")
Registered = tuple[str, str]  # a field of the problem, and a name that is no built-in of it


def registered_in(spec: SweepSpec) -> tuple[Registered, ...]:
    """Find what a sweep uses that is not built in.

    Parameters
    ----------
    spec : SweepSpec

    Returns
    -------
    tuple of (str, str)
        Field of the problem, and name.
    """
    found: dict[Registered, None] = {}
    for field, registry in _REGISTRIES.items():
        for value in spec.along(field)[1]:
            for text in [value] if isinstance(value, str) else value:
                name = re.match(r"\s*(\w*)", text)
                if name and name[1] in registry and name[1] not in registry.built_in:
                    found[field, name[1]] = None
    return tuple(found)


def code_with(modules: Sequence[str], registered: Sequence[Registered], *, replaces: bool = False) -> Code:
    """Find the code that this process computes with, what was registered in it included.

    Parameters
    ----------
    modules : sequence of str
        A user's, imported already.
    registered : sequence of (str, str)
        From `registered_in`.
    replaces : bool, optional
        As for `sweeps.sources.code_of`.

    Raises
    ------
    InvalidInput
        If something is not registered here, or no digest can be made of it.
    """
    digests, used, sources = {}, set(modules), Sources(modules)
    for field, name in registered:
        if name not in _REGISTRIES[field]:
            remedy = "is registered in the driver alone; let a module register it, and name that with imports=[module]"
            raise InvalidInput(f"problem.{field}", name, remedy)
        found = _described(field, name, sources)
        digests[f"{field} {name}"] = digest_of("\n".join(found.lines).encode())
        used |= found.modules
    code = code_of(sorted(used), replaces=replaces)
    return code._replace(files={**code.files, **digests}, registered=tuple(registered))


def require_for_workers(modules: Sequence[str], registered: Sequence[Registered]) -> None:
    """Refuse what other processes do not have: functions of no module that they import.

    Parameters
    ----------
    modules : sequence of str
        That every worker imports.
    registered : sequence of (str, str)
        From `registered_in`.

    Raises
    ------
    InvalidInput
        Naming the first.
    """
    known = Sources(modules)
    for field, name in registered:
        for module in sorted(_described(field, name, known).of_users - known.names):
            remedy = (
                f"is registered by {module} of this process, which workers do not have; let a module register it, and "
                "name that with imports=[module], or compute here with compute=inline"
            )
            raise InvalidInput(f"problem.{field}", name, remedy)


def _described(field: str, name: str, sources: Sources) -> _Description:
    found = _Description(sources)
    try:
        found.add(_REGISTRIES[field][name])
    except (_Indescribable, RecursionError) as error:
        remedy = (
            f"no digest can be made of what it consists of ({error}); let a module register it, and name that with "
            "imports=[module]"
        )
        raise InvalidInput(f"problem.{field}", name, remedy) from None
    return found


class _Indescribable(Exception):
    """Nobody can tell whether a value is the one that it was."""


class _Description:
    """What something consists of, line by line; the same lines compute the same.

    Parameters
    ----------
    sources : Sources
        Modules whose source is part of the code.

    Attributes
    ----------
    lines : list of str
    modules : set of str
        Modules of a user's that it takes functions from, to be found by name.
    of_users : set of str
        Modules of all functions that are no library's.
    """

    def __init__(self, sources: Sources) -> None:
        self.lines: list[str] = []
        self.modules: set[str] = set()
        self.of_users: set[str] = set()
        self._sources = sources
        self._seen: dict[int, tuple[int, Any]] = {}  # with the values, so that no other gets the same number

    def add(self, value: Any, *, fixed: bool = False) -> None:
        """Add a value.

        Parameters
        ----------
        value : object
        fixed : bool, optional
            Whether it belongs to a user's function whose source is known. What may change while that runs, such as a
            list that it keeps results in, then counts by its type.
        """
        if isinstance(value, _PLAIN):
            self.lines.append(f"{type(value).__name__} {value!r}")
        elif id(value) in self._seen:
            self.lines.append(f"what line {self._seen[id(value)][0]} begins")
        else:
            if not isinstance(value, tuple | CodeType):  # equal ones may be one or not
                self._seen[id(value)] = len(self.lines), value
            if isinstance(value, FunctionType):
                self._add_function(value, fixed)
            elif isinstance(value, type):
                self._add_class(value, fixed)
            elif isinstance(value, ModuleType):
                self._add_module(value.__name__)
            else:
                self._add_parts(type(value).__qualname__, _parts_of(value, fixed), fixed)

    def _add_parts(self, what: str, parts: Collection[Any], fixed: bool) -> None:
        self.lines.append(f"{what} of {len(parts)}")
        for part in parts:
            self.add(part, fixed=fixed)

    def _add_module(self, name: str) -> None:
        self.lines.append(f"module {name}")
        if self._sources.is_a_users(name) and self._sources.file_of(name):
            self.modules.add(name)

    def _add_function(self, function: FunctionType, fixed: bool) -> None:
        module, code = function.__module__ or "a text", function.__code__
        users, file = self._sources.is_a_users(module), self._sources.file_of(module)
        if users:
            self.of_users.add(module)
        elif hasattr(function, "__wrapped__"):  # by what looks on, as tests do
            return self.add(function.__wrapped__, fixed=fixed)
        if file is not None and (file == code.co_filename or not users):
            self.lines.append(f"function {function.__qualname__}")
            self._add_module(module)
            fixed = fixed or users
        else:
            self.add(code)
            for name in sorted(set(_globals_of(code)) & function.__globals__.keys()):
                self.lines.append(f"global {name}")
                self.add(function.__globals__[name], fixed=fixed)
        closed_over = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
        defaults = function.__defaults__, tuple((function.__kwdefaults__ or {}).items())
        self._add_parts("closure", (*closed_over, *defaults), fixed)
        return None

    def _add_class(self, cls: type, fixed: bool) -> None:
        if self._sources.is_a_users(cls.__module__):
            self.of_users.add(cls.__module__)
        if not self._sources.is_a_users(cls.__module__) or self._sources.file_of(cls.__module__):
            self.lines.append(f"class {cls.__qualname__}")
            self._add_module(cls.__module__)
        else:
            own = {name: value for name, value in vars(cls).items() if name not in _OF_CLASSES}
            self._add_parts("class", (cls.__bases__, *sorted(own.items())), fixed)


def _parts_of(value: Any, fixed: bool) -> Collection[Any]:
    """Say what a value consists of that is no function, class or module."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, CodeType):
        return _parts_of_code(value)
    if isinstance(value, frozenset):
        return sorted(value, key=repr)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "O":
        return value.dtype.str, value.shape, hashlib.sha256(value.tobytes()).digest()
    if isinstance(value, MethodType):
        return value.__func__, value.__self__
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, property):
        return value.fget, value.fset
    if isinstance(value, functools.partial):
        return value.func, value.args, tuple(value.keywords.items())
    if isinstance(value, np.ufunc | BuiltinFunctionType) and isinstance(
        getattr(value, "__self__", None), ModuleType | None
    ):
        return (value.__name__,)
    if hasattr(value, "py_func"):  # compiled by numba
        return value.py_func, tuple(sorted(value.targetoptions.items()))
    if isinstance(value, functools._lru_cache_wrapper):
        return (value.__wrapped__,)
    if fixed:
        return ()
    if isinstance(value, list):
        return value
    if isinstance(value, set):
        return sorted(value, key=repr)
    if isinstance(value, dict):
        return sorted(value.items(), key=lambda item: repr(item[0]))
    return _reduced(value)


def _parts_of_code(code: CodeType) -> tuple[Any, ...]:
    """What of a code object computes: not its names of local variables, nor where it stood."""
    flags = code.co_flags, code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount
    return code.co_code, code.co_exceptiontable, code.co_names, code.co_consts, code.co_freevars, flags


def _globals_of(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - raises where a variable has no value yet
    except ValueError:
        return False
    return True


def _reduced(value: Any) -> tuple[Any, ...]:
    """What an object consists of, as its pickles have it."""
    try:
        found = value.__reduce_ex__(2)
    except Exception as error:  # whatever an object says that cannot be pickled
        raise _Indescribable(f"{type(value).__qualname__}: {error}".splitlines()[0]) from None
    return (found,) if isinstance(found, str) else tuple(part for part in found if part is not None)
