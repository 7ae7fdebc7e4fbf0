"""The wheel, installed where nothing of this checkout can be imported: the commands work from any folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

import sedyn
from sedyn.arrays.compiling import SOURCES
from sweeps import provenance

ROOT = Path(__file__).parents[1]
OF_A_CHECKOUT_ALONE = (".git", ".ci", ".venv", ".*cache", "build", "stores", "__pycache__", "*.egg-info")
SMALL = ["experiment=quickstart", "grid.n=[40,80,160]", "grid.depth=[2]", "grid.noise=[0.1]", "problem.steps=3"]
SMALL += ["replicates=3", "theory.samples=64", "theory.randomizations=2", "compute.workers=1"]

Run = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the source distribution and of the wheel that was built from it."""
    source, folder = tmp_path_factory.mktemp("source") / "sedyn", tmp_path_factory.mktemp("dist")
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*OF_A_CHECKOUT_ALONE))
    build = ["build", "--quiet", "--offline", "--no-build-isolation", "--python", sys.executable]
    subprocess.run([Path(sys.executable).with_name("uv"), *build, "--out-dir", folder, source], check=True)
    return folder


def take_along_what_is_compiled(packages: Path) -> None:
    """Spare an environment the minutes in which it would compile the same sources again: numba knows them by time."""
    for source in SOURCES:
        there, here = packages / "sedyn" / source, ROOT / "sedyn" / source
        assert there.read_bytes() == here.read_bytes()
        shutil.copystat(here, there)
        (there.parent / "__pycache__").mkdir(exist_ok=True)
        for kept in here.parent.glob(f"__pycache__/{here.stem}.*.nb[ic]"):
            shutil.copy(kept, there.parent / "__pycache__")


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command of an environment that has the wheel, and this one's libraries, in a folder."""
    environment = tmp_path_factory.mktemp("environment")
    uv, (wheel,) = Path(sys.executable).with_name("uv"), built.glob("*.whl")
    subprocess.run([uv, "venv", "--quiet", "--offline", "--clear", "--python", sys.executable, environment], check=True)
    python = environment / "bin" / "python"
    install = ["pip", "install", "--quiet", "--offline", "--no-deps", "--link-mode", "copy", "--python", python, wheel]
    subprocess.run([uv, *install], check=True)
    # A path in a .pth file is searched for packages, and its own .pth files, such as the checkout's, are not read.
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    take_along_what_is_compiled(packages)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(command: str, *arguments: str | Path, folder: Path) -> subprocess.CompletedProcess:
        words = [environment / "bin" / command, *arguments]
        return subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False)

    return run


def test_nothing_of_the_checkout_is_importable_there(installed, tmp_path):
    where = "import sedyn, sweeps, analysis; print(*(m.__file__ for m in (sedyn, sweeps, analysis)))"
    shown = installed("python", "-c", where, folder=tmp_path).stdout
    assert len(shown.split()) == 3
    assert str(ROOT) not in shown
    version = installed("sedyn", "--version", folder=tmp_path)
    assert (version.returncode, version.stdout) == (0, f"sedyn {sedyn.__version__}\n")


def test_the_quickstart_and_its_report_run_from_an_empty_folder(installed, tmp_path):
    ended = installed("sedyn", "sweep", *SMALL, folder=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    store = tmp_path / "stores" / "quickstart.zarr"
    assert (xr.open_datatree(store, engine="zarr")["status"].simulation == 1).all()
    assert "python -m sweeps experiment=quickstart" in (tmp_path / "stores" / "quickstart.report.html").read_text()
    status = installed("sedyn", "status", store, folder=tmp_path)
    assert "simulation: 9 of 9 replicates done" in status.stdout
    assert "commit unknown" in status.stdout
    assert installed("sedyn", "report", "nowhere.zarr", folder=tmp_path).returncode == 2
    assert installed("sedyn", "validate", store, folder=tmp_path).returncode == 0
    assert "sedyn doctor --store" in installed("sedyn", "doctor", "--help", folder=tmp_path).stdout


def test_every_source_of_the_gpus_kernels_is_there(installed, tmp_path):
    show = "import sedyn, pathlib; print(*pathlib.Path(sedyn.__file__).parent.rglob('*.cu'))"
    there = {Path(name).name for name in installed("python", "-c", show, folder=tmp_path).stdout.split()}
    assert there == {path.name for path in (ROOT / "sedyn").rglob("*.cu")} != set()


def test_the_source_distribution_has_what_the_checks_need(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        names = {name.partition("/")[2] for name in files.getnames()}
    assert {"Makefile", "conf/config.yaml", "tests/test_packaging.py", "requirements/environment.lock"} <= names
    assert {".pre-commit-config.yaml", ".github/PULL_REQUEST_TEMPLATE.md"} <= names
    for folder in ("analysis/notebooks", ".github/ISSUE_TEMPLATE"):
        there = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob("*.[iy]*")}
        assert there <= names
        assert there


def test_the_commit_of_another_project_is_not_taken_for_this_ones(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    subprocess.run(
        ["git", "-C", tmp_path, *identity, "commit", "--quiet", "--allow-empty", "--message", "theirs"], check=True
    )
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.git_commit.__wrapped__() == ""
