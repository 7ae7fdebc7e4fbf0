"""What plain runs need, compiled before the first of them, in as many processes as there are cores.

A compiler works on one function at a time in a process, whatever its threads. Processes that only compile share the
functions out and leave them on disk, where all that come later find them. What is found there is the same whoever has
compiled it, so that no number depends on this.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Timer
from types import ModuleType
from typing import Any, NamedTuple

import llvmlite.binding
import numba
from numba import types

from sedyn.arrays import compiling, normals
from sedyn.arrays.compiling import CUBE, MATRIX, VECTOR
from sedyn.kernels.cpu import functions, network, passes, paths, points, response, revealing, rows
from sedyn.kernels.cpu.network import INT, NETWORK, WHOLE_NUMBERS

__all__ = ["Compiled", "compile_before", "folder_of_compiled", "functions_of_runs", "make_ready"]

# Processes beyond which the dearest function is all that is waited for.
MOST_PROCESSES = 8
# Seconds of one function, after which the process that compiles it is taken to hang: all of them together take a minute
# of a core.
MOST_SECONDS = 600.0
REAL, FLAG, WORDS = types.float64, types.boolean, types.uint64


class Compiled(NamedTuple):
    """A compiled function and the types of arguments that plain runs give it.

    Attributes
    ----------
    module : module
        That the function is in.
    name : str
    signatures : tuple of tuple of type
    """

    module: ModuleType
    name: str
    signatures: tuple[tuple[Any, ...], ...]

    @property
    def function(self) -> Any:
        """The function."""
        return getattr(self.module, self.name)


def _reals(dimensions: int, layout: Any = "C") -> Any:
    return types.Array(REAL, dimensions, layout)


def functions_of_runs() -> list[Compiled]:
    """Functions that simulations and theories of plain problems call, those that take longest first.

    Returns
    -------
    list of Compiled
        What other types of entries and estimators need is compiled when it is first called.
    """
    four, five = _reals(4), _reals(5)
    loose, keys = _reals(2, "A"), types.Array(WORDS, 1, "C")
    outcomes = (four, CUBE, four, CUBE, four, five)
    tiled = tuple((loose, INT, loose, loose, ahead) for ahead in (types.none, INT))
    dearest = [
        Compiled(paths, "remove_own_gradients", ((four, five, VECTOR, VECTOR, REAL, CUBE, FLAG, four, four),)),
        Compiled(
            paths,
            "descend_paths",
            ((CUBE, INT, REAL, VECTOR, REAL, NETWORK, CUBE, CUBE, CUBE, FLAG, FLAG, four, CUBE, *outcomes),),
        ),
        Compiled(
            revealing,
            "_multiply_each",
            ((CUBE, *(INT, CUBE, CUBE) * 2, types.Array(INT, 2, "C"), five, five, CUBE, CUBE),),
        ),
        Compiled(network, "curve", (network.CURVE.args,)),
        Compiled(network, "differentiate_samples", (network.DIFFERENTIATE.args,)),
        Compiled(
            points,
            "fill_points",
            ((types.Array(WORDS, 3, "C"), INT, types.Array(WORDS, 2, "F"), INT, REAL, four, CUBE),),
        ),
        Compiled(
            passes,
            "descend",
            (
                (
                    *(MATRIX, *[types.Array(INT, 1, "C")] * 3, INT, MATRIX, NETWORK, REAL, CUBE, MATRIX),
                    *(MATRIX, VECTOR, MATRIX, MATRIX, MATRIX, CUBE),
                ),
            ),
        ),
        Compiled(passes, "products", tiled),
        Compiled(passes, "add_products", tiled),
        Compiled(normals, "_fill_normals", ((keys, keys, INT, MATRIX),)),
        Compiled(
            paths,
            "average_scores",
            ((WHOLE_NUMBERS, WHOLE_NUMBERS, INT, INT, CUBE, four, CUBE, VECTOR, four, CUBE, CUBE, INT, CUBE),),
        ),
        Compiled(
            network,
            "differentiate_parts",
            ((NETWORK, MATRIX, CUBE, MATRIX, WHOLE_NUMBERS, INT, CUBE, MATRIX, CUBE, MATRIX, four),),
        ),
        Compiled(network, "combine", (network.COMBINE.args,)),
        Compiled(response, "add_adjoints_each", ((MATRIX, INT, WHOLE_NUMBERS, four, four),)),
        Compiled(rows, "fill_moments", ((CUBE, CUBE, VECTOR, CUBE),)),
        Compiled(network, "add_outer", (network.ADD_OUTER.args,)),
        Compiled(network, "forward", (network.FORWARD.args,)),
        Compiled(response, "add_adjoints", ((loose, _reals(3, "A"), loose, loose),)),
        Compiled(
            network,
            "forward_parts",
            ((WHOLE_NUMBERS, WHOLE_NUMBERS, INT, INT, MATRIX, WHOLE_NUMBERS, INT, CUBE, CUBE),),
        ),
        Compiled(normals, "_fill_words", ((keys, keys, types.Array(WORDS, 3, "C")),)),
    ]
    forms = {
        "_activate_": functions.ACTIVATE, "_bend_loss_": functions.BEND_LOSS, "_bend_": functions.BEND,
        "_lose_": functions.LOSE,
    }  # fmt: skip
    for name in vars(functions):
        signature = next((forms[start] for start in forms if name.startswith(start)), None)
        if signature is not None:
            dearest.append(Compiled(functions, name, (signature.args,)))
    return dearest


def make_ready(processes: int) -> int | None:
    """Compile what plain runs need, unless that has been tried on this machine before, and keep it on disk.

    One process of a machine does it, and others that ask wait. Whatever hinders it, such as a disk that cannot be
    written or a compiler that hangs, nothing is raised: each process then compiles what it calls.

    Parameters
    ----------
    processes : int
        The most that compile side by side.

    Returns
    -------
    int or None
        How many functions are on disk now; None if it has been tried before, or nothing can be kept.
    """
    with contextlib.suppress(OSError, RuntimeError):  # of a disk, or of a machine that has no room for a process
        folder = folder_of_compiled()
        if folder is None or (done := folder / _mark(compiling.SOURCE)).exists():
            return None
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{_mark(compiling.SOURCE)}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if done.exists():
                return None
            count = compile_before(range(len(functions_of_runs())), processes)
            if count:
                done.touch()
            return count
    return None


def compile_before(numbers: Sequence[int], processes: int) -> int:
    """Compile some of the functions in processes that do nothing else.

    Parameters
    ----------
    numbers : sequence of int
        Of `functions_of_runs`.
    processes : int

    Returns
    -------
    int
        How many are on disk now.
    """
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in numbers:
        waiting.put(number)
    count = max(1, min(processes, MOST_PROCESSES, len(numbers)))
    with ThreadPoolExecutor(count) as helpers:
        return sum(helpers.map(lambda _: _drain(waiting), range(count)))


def _drain(waiting: SimpleQueue[int]) -> int:
    """Have one process compile what nobody has taken yet."""
    count = 0
    # Whatever folder the interpreter was started in, it finds what this one has found.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    process = partial(subprocess.Popen, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    command = [sys.executable, "-P", "-m", __name__]  # nothing of the folder that this process happens to be in
    with contextlib.suppress(Empty, OSError), process(command, env=environment, text=True) as compiler:
        assert compiler.stdin is not None
        assert compiler.stdout is not None
        while True:
            compiler.stdin.write(f"{waiting.get_nowait()}\n")
            compiler.stdin.flush()
            patience = Timer(MOST_SECONDS, compiler.kill)
            patience.start()
            answer = compiler.stdout.readline()
            patience.cancel()
            if not answer:
                break  # it is gone
            count += 1
    return count


def folder_of_compiled() -> Path | None:
    """Where compiled functions are kept on this machine; None where nothing can be written."""
    kept = getattr(passes.products._cache, "cache_path", None)
    return None if kept is None else Path(kept)


@cache
def _mark(source: str) -> str:
    """Name of a file that says that functions of a source have been compiled, for this processor."""
    processor = llvmlite.binding.get_host_cpu_name(), llvmlite.binding.get_host_cpu_features().flatten()
    listed = [(each.name, str(each.signatures)) for each in functions_of_runs()]
    known = source, listed, processor, os.environ.get("NUMBA_CPU_NAME"), numba.__version__, platform.python_version()
    return f"sedyn-{hashlib.sha256(repr(known).encode()).hexdigest()[:16]}"


def _serve(given: Iterator[str]) -> None:
    """Compile functions by their numbers, and say of each that it is done."""
    compiling.only_compile()
    listed = functions_of_runs()
    for line in given:
        each = listed[int(line)]
        for signature in each.signatures:
            each.function.compile(signature)
        print(line, end="", flush=True)


if __name__ == "__main__":
    _serve(sys.stdin)
