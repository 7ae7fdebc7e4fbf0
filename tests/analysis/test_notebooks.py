"""Every notebook, and the page on analysis, run on small stores that real sweeps made."""

import json
import re
from pathlib import Path

import pytest

from sweeps.application.sweep import main

ANALYSIS = Path(__file__).parents[2] / "analysis"
NOTEBOOKS = sorted((ANALYSIS / "notebooks").glob("*.ipynb"))

CHEAP = (
    *("compute=inline", "report=null", "theory.samples=256", "theory.randomizations=2", "replicates=3"),
    *("target.verdict=false", "target.max_seconds=null"),
)
"""Overrides that make any experiment take a second or two; what is left of it depends on the question."""
SMALL = {
    "rates": ("grid.n=[40,80,160,320]", "problem.steps=3"),
    "fluctuations": ("grid.n=[40,80,160]", "grid.momentum=[0.0]", "problem.steps=3", "replicates=8"),
    "gaussian_fluctuations": ("grid.n=[40,80,160]", "grid.width=[1,2]", "problem.steps=3", "replicates=4"),
    "deep_concentration": ("grid.n=[40,80,160,320]", "grid.depth=[2,3]", "problem.steps=3", "replicates=12"),
    "effective_signal": ("grid.n=[40,80,160,320]", "grid.link=[sin,hermite3]", "problem.steps=3"),
    "universality": ("grid.n=[40,80,160]", "grid.features=[gaussian,rademacher]", "problem.steps=3"),
    "sgd": ("grid.n=[40,80,160]", "problem.steps=3", "grid.batch_fraction=[1.0,0.5]"),
    "batches": ("grid.n=[40,80,160]", "grid.steps=[1,2,4,8]"),
    "classes": ("grid.n=[40,80,160]", "grid.outputs=[2,3]", "problem.signals=3", "problem.width=2", "problem.steps=2"),
    "breakdown_width": ("grid.n=[40,80,160]", "grid.width=[2,4,8]", "problem.steps=3"),
    "breakdown_horizon": ("grid.n=[40,80,160]", "problem.steps=30"),
    "breakdown_rate": ("grid.n=[40,80,160]", "grid.learning_rate=[0.5,1.0,4.0]", "problem.steps=6"),
    "large": ("grid.n=[1000,10000,100000]", "problem.steps=2"),
    "generalization_estimate": ("grid.n=[40,80,160]", "grid.activation=[tanh]", "problem.steps=3"),
    "early_stopping": ("grid.n=[40,80]", "problem.steps=12"),
    "tuning": ("problem.n=80", "problem.steps=6", "grid.depth=[2]", "grid.learning_rate=[0.2,0.8]"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds the stores, each made once."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "analysis/notebooks").mkdir(parents=True)
    return folder


def make_store(name, folder):
    store = folder / f"stores/quick/{name}.zarr"
    if not store.exists():
        assert main([f"experiment=quick/{name}", *CHEAP, *SMALL[name], f"store={store}"]) == 0


def test_every_notebook_is_run():
    assert {notebook.stem for notebook in NOTEBOOKS} == set(SMALL)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=[notebook.stem for notebook in NOTEBOOKS])
def test_notebook_runs(notebook, folder, tmp_path, monkeypatch):
    make_store(notebook.stem, folder)
    monkeypatch.chdir(folder / "analysis/notebooks")
    cells = json.loads(notebook.read_text())["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "notebooks are kept without outputs"
            exec("".join(cell["source"]), names)
    assert names["SECTION"].name == notebook.stem
    assert names["SECTION"].unanswerable(names["simulation"]) is None
    measured = names["measured"]
    for captioned in names["SECTION"].figures(names["simulation"], names["theory"], measured):
        assert captioned.figure.axes
    for table in names["SECTION"].tables(measured):
        assert table.lines
        assert {len(line) for line in table.lines} == {len(table.headings)}
    measured.to_zarr(tmp_path / "measured.zarr", consolidated=False)  # as the report keeps it


def test_page_on_measures_runs(folder, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ANALYSIS.parent / "docs/analysis.md").read_text(), flags=re.DOTALL)
    for name in sorted(set(re.findall(r"stores/quick/(\w+)\.zarr", "".join(blocks)))):
        make_store(name, folder)
    monkeypatch.chdir(folder)
    names: dict = {}
    for block in blocks:
        exec(block, names)
