"""Compiled code is kept on disk, and made anew when any of its sources has changed."""

import importlib.util
import re
from pathlib import Path

from numba import types

import sedyn
from sedyn.arrays import compiling

MODULE = """
from sedyn.arrays.compiling import compiled

@compiled(set())
def double(x: float, times: int = 2) -> float:
    return x * times
"""


@compiling.compiled(set())
def multiplied(x, times):
    return x * times


def test_sources_are_the_modules_with_compiled_code():
    package = Path(sedyn.__file__).parent
    sources = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if re.search(r"^(from|import) (numba|sedyn\.arrays\.compiling)\b", path.read_text(), re.MULTILINE)
    }
    listing = "kernels/cpu/ready.py"  # of what is compiled, and nothing of that is there
    assert sources == {*compiling.SOURCES, listing}


def test_another_source_is_compiled_again(tmp_path, monkeypatch):
    path = tmp_path / "doubling.py"
    path.write_text(MODULE)

    def misses(source):
        monkeypatch.setattr(compiling, "SOURCE", source)
        spec = importlib.util.spec_from_file_location("doubling", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.double(1.5) == 3.0
        return sum(module.double.stats.cache_misses.values())

    assert misses("before") == 1
    assert misses("before") == 0
    assert misses("after") == 1


def test_code_is_called_where_it_is():
    signature = types.float64(types.float64, types.int64)
    at, by_name = compiling.calling(signature), compiling.linked(multiplied, signature)
    both = compiling.compiled(set())(lambda address, x: (at(address, (x, 3)), by_name(x, 5)))
    assert both(compiling.address_of(multiplied, signature), 1.5) == (4.5, 7.5)


def test_where_nothing_can_be_written_each_process_compiles(monkeypatch):
    def no_place(self):
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr("numba.core.dispatcher.Dispatcher.enable_caching", no_place)
    assert compiling.compiled(set())(lambda x: 2 * x)(3.0) == 6.0
