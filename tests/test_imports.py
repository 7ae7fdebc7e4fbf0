"""What is loaded only by those who need it: importing these libraries takes longer than many a request."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"scipy", "xarray", "pandas", "numba", "sklearn", "zarr", "ray", "matplotlib", "rich"}


def loaded_by(code: str) -> set[str]:
    """Which of the heavy libraries a process has loaded after some code."""
    ended = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], check=True, capture_output=True, text=True
    )
    return HEAVY & {*ended.stdout.splitlines()[-1].split()}


def test_importing_sedyn_and_stating_a_problem_loads_numpy_alone():
    stated = "import sedyn; sedyn.Problem(n=30, d=20, features='sparse(0.01)', covariance='power_law(0.3)')"
    assert loaded_by(stated) == set()
    # And it does load what a solution needs, or the names above would be wrong.
    solved = "sedyn.state_evolution(sedyn.Problem(n=30, d=20, depth=1, width=1, steps=1), samples=64)"
    assert {"scipy", "xarray"} <= loaded_by(f"{stated}; {solved}")


def test_runs_and_theories_load_no_statistics_of_scipys():
    code = """
import sys, sedyn
problem = sedyn.Problem(n=30, d=20, depth=2, width=2, steps=2)
sedyn.simulate(problem), sedyn.state_evolution(problem, samples=64)
assert "scipy" in sys.modules and "scipy.stats" not in sys.modules"""
    loaded_by(code)


@pytest.mark.parametrize(
    "arguments",
    [
        ["problem.wdth=3"],
        ["compute.workers=0"],
        ["estimate=maybe"],
        ["experiment=quickstart", "grid.n=[128,100000000]"],
    ],
)
def test_a_refusal_waits_for_no_library_that_computes(arguments):
    assert loaded_by(f"from sweeps.application.sweep import main; assert main({arguments!r}) == 2") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["sweep", "--help"], ["sweep", "--cfg", "job"]])
def test_help_loads_no_library_that_computes(arguments):
    assert (
        loaded_by(f"from sweeps.application.command import main\ntry: main({arguments!r})\nexcept SystemExit: pass")
        == set()
    )


def test_the_list_of_commands_does_not_even_load_numpy():
    listed = (
        "from sweeps.application.command import main; main(['--help']); import sys; assert 'numpy' not in sys.modules"
    )
    assert loaded_by(listed) == set()


def test_status_loads_nothing_but_the_store():
    assert loaded_by("from sweeps.status import main; assert main(['nowhere.zarr']) == 2") == {"zarr"}


def test_a_sweep_finds_its_report_without_loading_what_draws():
    found = "from sweeps.application.request import _find_function; _find_function('report', 'analysis.report.report')"
    assert not {"matplotlib", "pandas", "zarr", "scipy"} & loaded_by(found)
    judged = found.replace("report.report", "report.standing")
    assert not {"matplotlib", "pandas", "zarr", "scipy"} & loaded_by(judged)
