"""Functions compiled when they are first called, and kept on disk until the source of any compiled code changes.

numba compiles what a function calls into it, yet asks only of the function's own file whether it has changed since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from types import CellType, FunctionType
from typing import Any

from numba import njit, types
from numba.extending import intrinsic

__all__ = ["SOURCES", "compiled", "widest_vectors"]

PACKAGE = Path(__file__).parents[1]
# The modules with compiled code, in the package. A test holds them against those that import numba.
SOURCES = (
    *("arrays/compiling.py", "arrays/normals.py"),
    *("kernels/cpu/network.py", "kernels/cpu/passes.py", "kernels/cpu/response.py", "kernels/cpu/revealing.py"),
    "kernels/cpu/tiles.py",
)


def _digest() -> str:
    return hashlib.sha256(b"".join((PACKAGE / source).read_bytes() for source in SOURCES)).hexdigest()


_SOURCE = _digest()


def compiled(fastmath: set[str], **options: Any) -> Callable[[Any], Any]:
    """Decorator: compile a function that releases the interpreter lock.

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
            function.__code__.replace(co_freevars=("source",)),
            function.__globals__,
            function.__name__,
            function.__defaults__,
            (CellType(_SOURCE),),
        )
        known.__doc__, known.__qualname__ = function.__doc__, function.__qualname__
        known.__module__, known.__annotations__ = function.__module__, function.__annotations__
        try:
            return njit(nogil=True, cache=True, fastmath=fastmath, **options)(known)
        except RuntimeError:  # neither the checkout nor the user's folder can be written: each process compiles anew
            return njit(nogil=True, fastmath=fastmath, **options)(known)

    return decorate


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
