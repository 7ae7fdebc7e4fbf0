"""What a user registers belongs to the code that computes, also where it stands in no file, as in a notebook."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sedyn
from sedyn.errors import InvalidInput
from sedyn.model.functions import ACTIVATIONS
from sedyn.model.layers import HIDDEN
from sweeps.application.sweep import main
from sweeps.registered import code_with, registered_in, require_for_workers
from sweeps.sources import differing
from sweeps.store import Store
from sweeps.worker import Worker, WorkerSetup
from tests.sweeps.stores import finish, spec_of

SMALL = ["problem.n=20", "problem.d=10", "problem.steps=2", "theory.samples=64", "theory.randomizations=2"]
CELL = """
import sedyn
A = {A}
def f(x): return x / (1 + (A * x) ** 2) ** 0.5
sedyn.register_activation(
    "mine", f, lambda x: (1 + (A * x) ** 2) ** -1.5, lambda x: -3 * A**2 * x * (1 + (A * x) ** 2) ** -2.5
)
"""


def run_cell(text: str, name: str = "__main__") -> dict[str, Any]:
    """Run a text as a notebook does, after a restart of its process."""
    ACTIVATIONS._entries.pop("mine", None)
    names = {"__name__": name}
    exec(compile(text, "<cell>", "exec"), names)
    return names


def digest_of(f: Callable) -> str:
    """Digest a function as that of an activation."""
    ACTIVATIONS._entries.pop("mine", None)
    sedyn.register_activation("mine", f, abs, abs)
    return code_with([], [("activation", "mine")]).files["activation mine"]


def test_a_function_of_a_notebook_that_changes_is_refused_or_recorded(location, capsys):
    line = [*SMALL, "problem.activation=mine", "compute=inline", f"store={location}"]
    run_cell(CELL.format(A=1.0))
    assert main([*line, "replicates=2"]) == 0
    run_cell("# another comment" + CELL.format(A=1.0))
    assert main([*line, "replicates=3"]) == 0
    run_cell(CELL.format(A=3.0))
    capsys.readouterr()
    for plan in ("true", "false"):
        assert main([*line, "replicates=4", f"plan={plan}"]) == 2
        shown = capsys.readouterr().err
        assert "was made by other code: activation mine changed" in shown
        assert "code=any" in shown
        assert shown.count("\n") == 1
    assert main([*line, "replicates=3"]) == 0  # where nothing is missing nothing is mixed
    assert main([*line, "replicates=4", "code=any"]) == 0
    first, last = Store.open(location).settings["codes"]
    assert differing(first["files"], last["files"]) == ["activation mine"]


def test_workers_elsewhere_are_refused_what_only_this_process_has(location, capsys):
    run_cell(CELL.format(A=1.0))
    line = [*SMALL, "problem.activation=mine", "replicates=2", f"store={location}"]
    for compute in ("local", "slurm"):
        assert main([*line, f"compute={compute}", *(["compute.workers=1"] if compute == "slurm" else [])]) == 2
        shown = capsys.readouterr().err
        assert "problem.activation='mine': is registered by __main__ of this process" in shown
        assert "imports=[module], or compute here with compute=inline" in shown
        assert shown.count("\n") == 1
    assert not Path(location).exists()


def test_a_worker_that_lacks_what_the_driver_registered_computes_nothing(location):
    finish(location, spec_of())
    with pytest.raises(InvalidInput, match=r"problem.activation='mine': is registered in the driver alone; let a"):
        Worker(WorkerSetup(location, "cpu", registered=(("activation", "mine"),)))


@pytest.mark.slow
def test_workers_that_import_the_module_find_the_same_digests(location, monkeypatch, ray_session, capsys):
    folder = Path(location).parent
    folder.mkdir()
    kept = "import numpy as np\nkept = {}\ndef make(a, b): return lambda x: a * x * len(b)\n"
    of_module = 'sedyn.register_link("made", make(np.array(2.0), ["b"]))\n'
    (folder / "mine_of_all.py").write_text(kept + CELL.format(A=2.0) + of_module)
    monkeypatch.syspath_prepend(str(folder))
    line = [*SMALL, "imports=[mine_of_all]", "problem.activation=mine", "problem.link=made", "replicates=2"]
    assert main([*line, "compute=local", "compute.workers=1", f"store={location}"]) == 0, capsys.readouterr().err
    (code,) = Store.open(location).settings["codes"]
    assert {"mine_of_all.py", "activation mine", "link made"} <= code["files"].keys()
    monkeypatch.delitem(sys.modules, "mine_of_all")


# What is before f, what f says, and what of this changes.
OTHERS = {
    "a number": ("", "def f(x): return 2 * x", "2", "3"),
    "an operation": ("", "def f(x): return x + x", "+", "-"),
    "a default": ("", "def f(x, a=2): return a * x", "2", "3"),
    "a keyword's default": ("", "def f(x, *, a=2): return a * x", "2", "3"),
    "a name of a module": ("import numpy as np", "def f(x): return np.sin(x)", "sin", "cos"),
    "a number elsewhere": ("A = 2", "def f(x): return A * x", "2", "3"),
    "a function elsewhere": ("def g(x): return 2 * x", "def f(x): return g(x)", "2", "3"),
    "further away": ("A = 2\ndef h(x): return A * x\ndef g(x): return h(x)", "def f(x): return g(x)", "2", "3"),
    "within a function": ("A = 2", "def f(x):\n    def g(x): return A * x\n    return g(x)", "2", "3"),
    "a lambda": ("", "f = lambda x: 2 * x", "2", "3"),
    "a closure": ("def make(a):\n    def f(x): return a * x\n    return f", "f = make(2)", "2", "3"),
    "an array": ("import numpy as np\nA = np.array([[2.0]])", "def f(x): return A * x", "2", "3"),
    "a list": ("A = [1, {2}]", "def f(x): return A[0] * x", "2", "3"),
    "a mapping": ("A = {'a': 2}", "def f(x): return A['a'] * x", "2", "3"),
    "a kept argument": ("import functools\ndef g(a, x): return a * x", "f = functools.partial(g, 2)", "2", "3"),
    "a cached one": ("import functools\n@functools.cache\ndef g(): return 2", "def f(x): return g() * x", "2", "3"),
    "an attribute": ("class F:\n    def __call__(self, x): return self.a * x", "f = F()\nf.a = 2", "2", "3"),
    "a method": ("class F:\n    def __call__(self, x): return 2 * x", "f = F()", "2", "3"),
    "a method that is bound": ("class F:\n    a = 2\n    def g(self, x): return self.a * x", "f = F().g", "2", "3"),
    "a base": ("class B:\n    a = 2\nclass F(B):\n    def g(self, x): return self.a * x", "f = F().g", "2", "3"),
    "one of a vector": ("import numpy as np", "f = np.vectorize(lambda x: 2.0 * x)", "2", "3"),
    "one compiled": ("import numba", "@numba.njit\ndef f(x): return 2 * x", "2", "3"),
}


@pytest.mark.parametrize("name", ["__main__", "nowhere"])
@pytest.mark.parametrize("what", OTHERS)
def test_whatever_a_function_consists_of_belongs_to_its_digest(what, name):
    *text, old, new = OTHERS[what]
    first = digest_of(run_cell("\n".join(text), name)["f"])
    assert digest_of(run_cell("\n\n# a comment\n" + "\n".join(text), name)["f"]) == first
    other = "\n".join(text).replace(old, new, 1) if old in text[0] else text[0] + "\n" + text[1].replace(old, new, 1)
    assert digest_of(run_cell(other, name)["f"]) != first


def test_what_does_not_compute_belongs_to_no_digest():
    first = digest_of(run_cell("unused = 3\ndef f(x):\n    y = 2 * x\n    return y")["f"])
    assert digest_of(run_cell("unused = 4\ndef f(x):\n    z = 2 * x\n    return z")["f"]) == first


def test_what_has_no_digest_is_refused_in_one_line():
    f = run_cell(f"with open({__file__!r}) as opened: pass\ndef f(x): return x if opened else x")["f"]
    with pytest.raises(
        InvalidInput, match=r"no digest can be made of what it consists of \(TextIOW.*imports="
    ) as error:
        digest_of(f)
    assert "\n" not in str(error.value)


def test_functions_of_a_users_modules_are_followed_to_their_files(tmp_path, monkeypatch):
    folder = tmp_path / "stores"
    folder.mkdir()
    (folder / "mine_too.py").write_text("from numbers_of_mine import A\ncache = {}\ndef f(x): return A * x\n")
    (folder / "numbers_of_mine.py").write_text("A = 2.0\n")
    monkeypatch.syspath_prepend(str(folder))
    f = __import__("mine_too").f
    digest_of(f)
    registered = [("activation", "mine")]
    code = code_with([], registered)
    assert {"mine_too.py", "numbers_of_mine.py", "activation mine"} <= code.files.keys()
    with pytest.raises(InvalidInput, match="is registered by mine_too of this process"):
        require_for_workers([], registered)
    require_for_workers(["mine_too"], registered)
    assert code_with(["mine_too"], registered).files == code.files
    for name in ("mine_too", "numbers_of_mine"):
        monkeypatch.delitem(sys.modules, name)


def test_all_that_can_be_registered_is_found_where_a_sweep_uses_it():
    sedyn.register_activation("a_", np.tanh, np.cos, np.sin)
    sedyn.register_link("l_", np.tanh)
    sedyn.register_loss("s_", lambda f, y, order: ((f - y) ** 2 / 2, f - y, 1 + 0 * f)[: order + 1])
    sedyn.register_features("f_", lambda rng, shape: rng.standard_normal(shape))
    sedyn.register_noise("n_", lambda x: x)
    sedyn.register_hidden("h_", HIDDEN["dense"])
    base = {"n": 40, "d": 20, "steps": 3, "depth": 3, "width": 2, "loss": "s_", "features": "f_", "noise_law": "n_"}
    used = registered_in(spec_of({"activation": ("tanh", "a_"), "link": ("l_", "tanh")}, {**base, "hidden": "h_"}))
    names = {"activation": "a_", "link": "l_", "loss": "s_", "features": "f_", "noise_law": "n_", "hidden": "h_"}
    assert dict(used) == names
    assert len(used) == len(names)
    assert {f"{field} {name}" for field, name in used} <= code_with([], used).files.keys()
    assert registered_in(spec_of()) == ()
