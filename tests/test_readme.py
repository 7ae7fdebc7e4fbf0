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


def test_it_is_one_screen_of_links_and_commands_that_exist():
    root = Path(__file__).parents[1]
    assert len(README.splitlines()) < 80
    makefile = (root / "Makefile").read_text()
    targets = re.findall(r"^make ([\w-]+)|`make ([\w-]+)`", README, flags=re.MULTILINE)
    assert len(targets) == 3
    for target in targets:
        assert re.search(rf"^{''.join(target)}:", makefile, flags=re.MULTILINE), target
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert len(links) > 10
    assert [path for path in links if not (root / path).exists()] == []
    pages = {f"docs/{page.name}" for page in (root / "docs").glob("*.md")}
    assert pages - {"docs/index.md", "docs/api.md"} <= set(links)
