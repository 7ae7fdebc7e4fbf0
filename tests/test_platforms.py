"""Nothing that only Linux has is needed, and Windows gets one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sedyn.arrays import machine, threads
from sweeps import provenance
from sweeps.store import is_driven, lock, only_driver
from tests.sweeps.stores import finish, spec_of, tree_of

WSL = "sedyn runs on Linux and macOS; on Windows, run it in WSL (wsl --install)"


@pytest.mark.parametrize("module", ["sweeps", "sweeps.status", "sweeps.application.command", "analysis.report"])
def test_commands_on_windows_say_wsl_in_one_line(module):
    code = f"import sys, runpy; sys.platform = 'win32'; runpy.run_module({module!r}, run_name='__main__')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (1, "", f"{WSL}\n")


def test_importing_on_windows_is_an_import_error():
    code = "import sys; sys.platform = 'win32'; import sedyn"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.splitlines()[-1] == f"ImportError: {WSL}"


@pytest.fixture
def no_linux(monkeypatch, tmp_path):
    """A system without /proc, without a call that says which cores are ours, without file locks."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(provenance, "_STATUS", tmp_path / "absent" / "status")
    monkeypatch.setattr(provenance, "_RESET", tmp_path / "absent" / "clear_refs")
    monkeypatch.setattr(lock, "fcntl", None)
    read_text = Path.read_text

    def without_proc(self, *arguments, **options):
        if self.parts[:2] == ("/", "proc"):
            raise FileNotFoundError(str(self))
        return read_text(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", without_proc)
    machine.available_cores.cache_clear()
    machine.memory_limit.cache_clear()
    yield
    machine.available_cores.cache_clear()
    machine.memory_limit.cache_clear()


def test_cores_memory_and_threads_are_known_without_linux(no_linux):
    assert machine.available_cores() == os.cpu_count()
    assert machine.memory_limit() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 1 <= threads.thread_count() <= os.cpu_count()
    provenance.reset_peak_memory()
    assert provenance.peak_memory() > 2**20


def test_a_sweep_runs_without_linux_and_keeps_others_out(no_linux, tmp_path):
    location = str(tmp_path / "a.zarr")
    with only_driver(location) as lease:
        finish(location, spec_of())
        lease.require()
        assert is_driven(location)
        with pytest.raises(lock.InvalidInput, match="another sweep is writing this store"), only_driver(location):
            pass
    assert not is_driven(location)
    assert (tree_of(location).status.simulation == 1).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
