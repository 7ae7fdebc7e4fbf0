"""What the README shows, run."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import sedyn
from sweeps.application.sweep import main

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def quickstart_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ["grid.n=[40,80]", "grid.depth=[2]", "grid.noise=[0.1]", "problem.steps=3", "replicates=2"]
    cheap = ["theory.samples=64", "theory.randomizations=2", "compute=inline", "report=null"]
    assert main(["experiment=quickstart", *small, *cheap]) == 0


def test_python_blocks_run(quickstart_store, monkeypatch):
    simulate, state_evolution = sedyn.simulate, sedyn.state_evolution
    monkeypatch.setattr(sedyn, "simulate", lambda problem, replicates: simulate(problem, 2))
    monkeypatch.setattr(sedyn, "state_evolution", lambda problem: state_evolution(problem, 256, 2))
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 30))
    names = {"X": X, "y": np.tanh(X[:, 0])}
    for block in BLOCKS:
        exec(block, names)
    assert names["runs"].test_error.sizes == {"replicate": 2, "iteration": 21}
    assert isinstance(names["tree"], xr.DataTree)
    assert names["model"].best_iteration_ >= 0


def test_folders_and_commands_exist():
    root = Path(__file__).parents[1]
    for folder in re.findall(r"^\| `(\w+)/` \|", README, flags=re.MULTILINE):
        assert (root / folder).is_dir()
    for target in re.findall(r"make ([\w-]+)", README):
        assert re.search(rf"^{target}:", (root / "Makefile").read_text(), flags=re.MULTILINE)
    for path in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (root / path).exists(), path
