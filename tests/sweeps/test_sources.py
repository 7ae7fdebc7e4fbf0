"""The code that computes belongs to a store's settings: a change is refused by name, or taken and recorded."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import xarray as xr

from sedyn.errors import InvalidInput
from sedyn.model.functions import ACTIVATIONS
from sweeps import sources, status
from sweeps.application.sweep import main
from sweeps.sources import code_of, differing
from sweeps.store import Store
from sweeps.worker import Worker, WorkerSetup
from tests.sweeps.stores import finish, spec_of

SMALL = ["problem.n=20", "problem.d=10", "problem.steps=2", "theory.samples=64", "theory.randomizations=2"]
SMALL += ["compute=inline", "imports=[mine]", "problem.activation=mine"]

MINE = """
import sedyn
from helper.numbers import A

sedyn.register_activation(
    "mine", lambda x: x / (1 + (A * x) ** 2) ** 0.5, lambda x: (1 + (A * x) ** 2) ** -1.5,
    lambda x: -3 * A**2 * x * (1 + (A * x) ** 2) ** -2.5,
)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Modules of a user's: one that registers a function, and one with a number in it."""
    folder = tmp_path / "stores"
    (folder / "helper").mkdir(parents=True)
    (folder / "mine.py").write_text(MINE)
    (folder / "helper" / "numbers.py").write_text("A = 1.0\n")
    return folder


class Ended(NamedTuple):
    """How a sweep ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def sweep(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Iterator[Callable]:
    """Run a sweep as in a process of its own, which has imported nothing of the user's and registered nothing."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(folder)

    def run(*words: str) -> Ended:
        for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "helper")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        ACTIVATIONS._entries.pop("mine", None)
        capsys.readouterr()
        return Ended(main([*SMALL, *words]), *capsys.readouterr())

    yield run
    for name in [name for name in sys.modules if name.partition(".")[0] in ("mine", "helper")]:
        del sys.modules[name]


def test_a_users_function_that_changes_is_refused_or_recorded(folder, sweep, capsys):
    assert sweep("replicates=2").returncode == 0
    (folder / "helper" / "numbers.py").write_text("A = 3.0\n")
    for plan in ("plan=false", "plan=true"):
        refused = sweep("replicates=4", plan)
        assert refused.returncode == 2
        assert "was made by other code: helper/numbers.py changed" in refused.stderr
        assert "code=any" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert "nothing was missing" in sweep("replicates=2").stdout  # and nothing is mixed
    assert sweep("replicates=2", "plan=true").returncode == 0
    assert sweep("replicates=4", "code=any").returncode == 0
    assert sweep("replicates=5").returncode == 0  # the code that was taken is the store's now
    tree = xr.open_datatree(folder / "stores" / "sweep.zarr", engine="zarr").load()
    made = tree["status"].simulation_facts.sel(fact="environment").values.astype(int).tolist()
    assert made[0] == made[1] != made[2] == made[3] == made[4]
    codes = [json.loads(tree["status"].simulation_facts.attrs[str(code)])["code"] for code in (made[0], made[-1])]
    assert [code["digest"] for code in tree.attrs["sedyn_sweep"]["codes"]] == codes
    assert int(tree["status"].theory_facts.sel(fact="environment")) == made[0]
    assert status.main([str(folder / "stores" / "sweep.zarr")]) == 0
    shown = capsys.readouterr().out
    assert f"code {codes[0]} made 2 replicates and 1 theory, code {codes[1]} 3 replicates and 0 theories" in shown
    assert "they differ in helper/numbers.py" in shown
    (folder / "helper" / "numbers.py").write_text("A = 1.0\n")
    assert "helper/numbers.py" in sweep("replicates=6").stderr


def test_a_store_of_before_the_digests_goes_on_growing(location):
    finish(location, spec_of(replicates=2))
    code = code_of()
    grown = Store.prepare(location, spec_of(replicates=4), code)
    assert [past["digest"] for past in grown.settings["codes"]] == [code.digest]
    other = code._replace(files={**code.files, "sedyn/errors.py": "0"})
    with pytest.raises(InvalidInput, match=r"sedyn/errors.py changed.*code=any"):
        Store.prepare(location, spec_of(replicates=6), other)
    assert Store.open(location).replicates == 4
    assert Store.prepare(location, spec_of(replicates=6), other._replace(replaces=True)).replicates == 6


def test_the_source_of_what_computes_belongs_to_the_code():
    files = code_of().files
    assert {"sedyn/model/functions.py", "sedyn/kernels/cuda/network.cu"} <= files.keys()
    assert all(name.startswith("sedyn/") for name in files)


def test_a_users_modules_are_followed_and_no_others(folder, monkeypatch):
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("from . import first\n")
    (folder / "package" / "first.py").write_text("import json, numpy\nfrom .second import x\nfrom sweeps import plan\n")
    (folder / "package" / "second.py").write_text("def x():\n    import package.third\n")
    third = 'import importlib\nimportlib.import_module(".fifth", __package__), __import__("helper.dynamic")\n'
    third += 'importlib.import_module("." * 9 + "x"), importlib.import_module("....x", __package__), print()\n'
    (folder / "package" / "third.py").write_text(third)
    (folder / "package" / "fifth.py").write_text("")
    (folder / "helper" / "dynamic.py").write_text("")
    (folder / "package" / "fourth.py").write_text("")
    monkeypatch.syspath_prepend(str(folder))
    own = {name for name in code_of(["package.first", "mine"]).files if not name.startswith("sedyn/")}
    package = {f"package/{name}.py" for name in ("__init__", "first", "second", "third", "fifth")}
    assert own == package | {"mine.py", "helper/numbers.py", "helper/dynamic.py"}
    for name in [name for name in sys.modules if name.partition(".")[0] in ("package", "helper", "mine")]:
        monkeypatch.delitem(sys.modules, name)


def test_a_module_that_changes_while_it_is_loaded_keeps_the_digest_of_what_runs(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    __import__("helper.numbers")
    before = code_of(["helper.numbers"])
    (folder / "helper" / "numbers.py").write_text("A = 2.0\n")
    assert code_of(["helper.numbers"]) == before
    monkeypatch.delitem(sys.modules, "helper.numbers")
    monkeypatch.delitem(sys.modules, "helper")
    assert differing(before.files, code_of(["helper.numbers"]).files) == ["helper/numbers.py"]


def test_a_worker_of_other_code_computes_nothing(location):
    finish(location, spec_of())
    files = dict(code_of().files)
    Worker(WorkerSetup(location, "cpu", code=files))
    files["sedyn/errors.py"] = "0"
    with pytest.raises(InvalidInput, match=r"has another sedyn/errors.py than the driver"):
        Worker(WorkerSetup(location, "cpu", code=files))


def test_names_of_files_do_not_depend_on_where_they_are(folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    here = code_of(["helper.numbers"]).files
    monkeypatch.setattr(sources, "_KNOWN", {})
    elsewhere = tmp_path / "stores" / "elsewhere"
    elsewhere.mkdir()
    (folder / "helper").rename(elsewhere / "helper")
    monkeypatch.syspath_prepend(str(elsewhere))
    sys.modules.pop("helper", None)
    assert code_of(["helper.numbers"]).files == here
