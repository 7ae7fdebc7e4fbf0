"""Functions compiled when they are first called, and kept on disk until the source of any compiled code changes.

numba compiles what a function calls into it, yet asks only of the function's own file whether it has changed since.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from types import CellType, FunctionType
from typing import Any, NamedTuple

import llvmlite.binding
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "CUBE",
    "MATRIX",
    "SOURCE",
    "SOURCES",
    "VECTOR",
    "address_of",
    "calling",
    "compiled",
    "linked",
    "only_compile",
    "widest_vectors",
]

VECTOR, MATRIX, CUBE = (types.Array(types.float64, dimensions, "C") for dimensions in (1, 2, 3))

PACKAGE = Path(__file__).parents[1]
# The modules with compiled code, in the package. A test holds them against those that import numba.
SOURCES = (
    *("arrays/compiling.py", "arrays/normals.py"),
    *(
        "kernels/cpu/functions.py",
        "kernels/cpu/largest.py",
        "kernels/cpu/modes.py",
        "kernels/cpu/network.py",
        "kernels/cpu/passes.py",
        "kernels/cpu/paths.py",
        "kernels/cpu/points.py",
        "kernels/cpu/response.py",
        "kernels/cpu/revealing.py",
        "kernels/cpu/rows.py",
    ),
    "kernels/cpu/tiles.py",
)


def _digest() -> str:
    return hashlib.sha256(b"".join((PACKAGE / source).read_bytes() for source in SOURCES)).hexdigest()


SOURCE = _digest()
# Where a function is that another calls, in a process that compiles and calls nothing; None in all others.
_nowhere: int | None = None


def compiled(fastmath: set[str], **options: Any) -> Callable[[Any], Any]:
    """Decorator: compile a function that releases the interpreter lock.

    One that compiled code calls, and that is neither `linked` nor small, is to be compiled with ``forceinline=True``:
    a copy for each caller under one name would be optimized in each caller's company, and which of the copies a process
    takes, which round differently, depends on the order in which it compiles or loads them. What is always taken in is
    not kept on disk by itself, and Python cannot call it.

    Parameters
    ----------
    fastmath : set of str
        What the compiler may do to arithmetic, in the terms of LLVM.
    **options
        Of `numba.njit`.
    """

    def decorate(function: Any) -> Any:
        # What a function closes over is among the things by which numba knows it again.
        known = FunctionType(
            function.__code__.replace(co_freevars=(*function.__code__.co_freevars, "source")),
            function.__globals__,
            function.__name__,
            function.__defaults__,
            (*(function.__closure__ or ()), CellType(SOURCE)),
        )
        known.__doc__, known.__qualname__ = function.__doc__, function.__qualname__
        known.__module__, known.__annotations__ = function.__module__, function.__annotations__
        # Each way in that nobody uses would be another copy of all that is taken in.
        numba_compiles: Any = njit  # whose types leave some of its options out
        given = {"nogil": True, "fastmath": fastmath, "no_cfunc_wrapper": True, **options}
        if options.get("forceinline"):
            return numba_compiles(no_cpython_wrapper=True, **given)(known)
        try:
            return numba_compiles(cache=True, **given)(known)
        except RuntimeError:  # neither the checkout nor the user's folder can be written: each process compiles anew
            return numba_compiles(**given)(known)

    return decorate


def only_compile() -> None:
    """Call no compiled function from now on in this process: one is then compiled without those that are `linked`."""
    global _nowhere
    _nowhere = llvmlite.binding.address_of_symbol("malloc")


# What a function calls the compiler takes into it and compiles there once more. One that is large and called from
# several places, or that is one of many of which a run needs a few, is compiled by itself and called where it is.
def address_of(function: Any, signature: Any) -> int:
    """Compile a function for arguments of some types, and say where it is in memory.

    Parameters
    ----------
    function : object
        That `compiled` has made.
    signature : numba signature

    Returns
    -------
    int
    """
    function.compile(signature.args)
    found = function.overloads[signature.args]
    return found.library.get_pointer_to_function(found.fndesc.llvm_func_name)


def calling(signature: Any) -> Any:
    """Make a function of compiled code that calls what is at an address: ``call(address, (first, second, ...))``.

    Parameters
    ----------
    signature : numba signature
        As `address_of` was given it.

    Returns
    -------
    object
    """

    @intrinsic
    def call(_typing: Any, address: Any, given: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            kind = context.call_conv.get_function_type(signature.return_type, signature.args)
            function = builder.inttoptr(arguments[0], kind.as_pointer())
            values = cgutils.unpack_tuple(builder, arguments[1], len(given))
            return _call(context, builder, signature, function, given, values)

        return signature.return_type(types.int64, given), generate

    return call


def linked(function: Any, signature: Any = None) -> Any:
    """Make a function of compiled code that calls a function where it is, with the same arguments.

    Its own code, compiled or taken from disk when the first of its callers is, is known to the linker by a name.

    Parameters
    ----------
    function : object
        That `compiled` has made, at the top of a module; it returns nothing.
    signature : numba signature, optional
        Types to which arguments are brought. By default it is compiled for the types that it is given, but for arrays,
        which are of any layout, so that there is one of it for all.

    Returns
    -------
    object
    """

    def call(_typing: Any, *given: Any) -> Any:
        own = signature or types.void(*map(_of_any_layout, given))
        place = _Place(function.__module__, function.__name__, own.args)
        place()

        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            # Whoever loads the caller from disk is to have this first.
            context.active_code_library._reload_init.add(place)
            kind = context.call_conv.get_function_type(own.return_type, own.args)
            there = cgutils.get_or_insert_function(builder.module, kind, place.name)
            return _call(context, builder, own, there, given, arguments)

        return own.return_type(*given), generate

    parameters = inspect.signature(function.py_func).parameters.values()
    named = [each.replace(default=each.empty, annotation=each.empty) for each in parameters]
    first = inspect.Parameter("_typing", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    call.__signature__ = inspect.Signature([first, *named])  # type: ignore[attr-defined]
    return intrinsic(call)


class _Place(NamedTuple):
    """A compiled function for arguments of some types, which the linker is to know; called, it sees to that."""

    module: str
    function: str
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        """How the linker knows it."""
        types_of_arguments = hashlib.sha256(str(self.arguments).encode()).hexdigest()
        return f"{self.module}.{self.function}.{types_of_arguments[:16]}.{SOURCE}"

    def __call__(self) -> None:
        if llvmlite.binding.address_of_symbol(self.name) is None:
            llvmlite.binding.add_symbol(self.name, _nowhere or self._address())

    def _address(self) -> int:
        function = getattr(importlib.import_module(self.module), self.function)
        return address_of(function, types.void(*self.arguments))


def _of_any_layout(given: Any) -> Any:
    own = types.unliteral(given)
    return own.copy(layout="A") if isinstance(own, types.Array) else own


def _call(context: Any, builder: Any, signature: Any, function: Any, given: Any, values: Any) -> Any:
    own = [context.cast(builder, *each) for each in zip(values, given, signature.args, strict=True)]
    _, found = context.call_conv.call_function(builder, function, signature.return_type, signature.args, own)
    return found


@intrinsic
def widest_vectors(_typing: Any = None) -> Any:
    """Let the compiler use the longest vectors of the processor in the function that calls this.

    Compilers halve those of 512 bits, under which some processors slow down a little.
    """

    def generate(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
        # The set's own method refuses attributes that its library does not list.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        return context.get_dummy_value()

    return types.void(), generate
