"""Cells that nobody asked for are drawn nowhere and cost nothing; what varies together is reported on its grid."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
import xarray as xr

from analysis import store as opening
from analysis.answers.words import cells
from analysis.report import report
from analysis.report.chapter import read_chapter
from analysis.report.command import sweep_command
from analysis.report.sections import SECTIONS
from analysis.store import open_store
from sedyn.errors import InvalidInput
from sweeps.store import Store
from tests.requests import request_of
from tests.sweeps.stores import BASE, finish, spec_of

SMALL = {"replicates": 3, "block": 3}


def grown(location):
    """A grid of noise and width of which half was asked for, at several n; it is made of two grids."""
    sizes = {n: n // 2 for n in (40, 60, 80)}
    base = {name: value for name, value in BASE.items() if name not in ("n", "d")}
    for noise, width in ((0.1, 2), (0.5, 3)):
        axes = {"n": tuple(sizes), "noise": (noise,), "width": (width,)}
        finish(location, spec_of(axes, base, features_at=sizes, aspect=2, **SMALL))


def together(location):
    """The same cells, as rows."""
    sizes = {n: n // 2 for n in (40, 60, 80)}
    base = {name: value for name, value in BASE.items() if name not in ("n", "d", "width")}
    rows = [{"n": n, "noise": noise, "width": width} for noise, width in ((0.1, 2), (0.5, 3)) for n in sizes]
    finish(location, spec_of({}, base, rows=rows, features_at=sizes, aspect=2, **SMALL))


@pytest.mark.parametrize("make", [grown, together])
def test_only_what_was_asked_for_is_a_cell(tmp_path, make):
    location = str(tmp_path / "a.zarr")
    make(location)
    simulation, theory = open_store(location)
    assert simulation.train_error.sizes["n"] == 3
    assert simulation.d.dims == ("n",)
    assert cells(simulation.train_error) == [{"width": 2, "noise": 0.1}, {"width": 3, "noise": 0.5}]
    assert cells(theory.test_error) == cells(simulation.train_error)
    assert (simulation.train_error.notnull().all(["iteration", "replicate"]) == simulation.asked).all()


def test_rows_and_a_grid_of_the_same_cells_are_read_alike(tmp_path):
    for name, make in {"grid": grown, "rows": together}.items():
        make(str(tmp_path / f"{name}.zarr"))
    for one, other in zip(*(open_store(str(tmp_path / f"{name}.zarr")) for name in ("grid", "rows")), strict=True):
        for name in ("train_error", "test_error", "weight_gram"):
            np.testing.assert_array_equal(one[name], other[name].transpose(*one[name].dims))


@pytest.mark.parametrize("make", [grown, together])
def test_a_report_says_nothing_of_places_that_nobody_asked_for(tmp_path, make):
    location = str(tmp_path / "a.zarr")
    make(location)
    chapter = read_chapter(location, SECTIONS)
    assert "2 problems at each n" in chapter.lead
    assert chapter.answers
    for answer in chapter.answers:
        assert not [finding for finding in answer.findings if "nan" in finding.sentence]
        assert not [line for table in answer.tables for line in table.lines if "nan" in " ".join(line)]
        subjects = " ".join(finding.subject for finding in answer.findings)
        assert "width 2, noise 0.5" not in subjects
    assert len(chapter.learning_curves.figure.axes) == 2
    assert report(location)


@pytest.mark.parametrize("make", [grown, together])
def test_the_command_on_the_page_makes_the_same_cells_again(tmp_path, make):

    location = str(tmp_path / "a.zarr")
    make(location)
    settings = Store.open(location).settings

    words = shlex.split(sweep_command(settings, "a"))[3:]
    spec = request_of(*words).spec
    fields = ("n", "d", "noise", "width")
    found = {tuple(getattr(cell.problem, name) for name in fields) for cell in spec.cells}
    assert found == {(n, n // 2, *pair) for n in (40, 60, 80) for pair in ((0.1, 2), (0.5, 3))}


def test_rows_far_apart_are_no_grid_to_report_on(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "MOST_PLACES", 5)
    location = str(tmp_path / "a.zarr")
    together(location)
    with pytest.raises(InvalidInput, match="6 cells that vary together lie on a grid of 12 places, which no report"):
        open_store(location)
    assert xr.open_datatree(location, engine="zarr").simulation.sizes["cell"] == 6


def test_a_design_over_n_is_asked_for_no_power_of_n(tmp_path):
    rows = [{"n": 24 + 8 * k, "noise": 0.1 * k} for k in range(1, 5)]
    base = {name: value for name, value in BASE.items() if name not in ("n", "noise")}
    location = str(tmp_path / "a.zarr")
    finish(location, spec_of({}, base, rows=rows, **SMALL))
    chapter = read_chapter(location, SECTIONS)
    assert chapter.lead.startswith("n from 32 to 56 (4 sizes), 1 problem at each n, 3 replicates")
    lacking = dict(chapter.unanswered)
    assert {lacking[name] for name in ("rates", "generalization_estimate")} == {
        "fewer than 3 values of n with all else equal"
    }


def test_rows_of_one_field_are_read_along_it(tmp_path):
    location = str(tmp_path / "a.zarr")
    base = {name: value for name, value in BASE.items() if name != "noise"}
    finish(location, spec_of({}, base, rows=[{"noise": noise} for noise in (0.1, 0.2, 0.5)], **SMALL))
    simulation, _ = open_store(location)
    assert cells(simulation.train_error) == [{"noise": 0.1}, {"noise": 0.2}, {"noise": 0.5}]
    assert simulation.train_error.notnull().all()


def test_a_design_of_one_size_is_reported_cell_by_cell(tmp_path):
    rows = [{"noise": 0.1 * k, "learning_rate": 0.8 / k} for k in range(1, 5)]
    base = {name: value for name, value in BASE.items() if name not in ("noise", "learning_rate")}
    location = str(tmp_path / "a.zarr")
    finish(location, spec_of({}, base, rows=rows, **SMALL))
    simulation, _ = open_store(location)
    assert set(simulation.asked.dims) == {"n", "noise", "learning_rate"}
    assert len(cells(simulation.train_error)) == 4
    chapter = read_chapter(location, SECTIONS)
    assert chapter.lead.startswith("n = 40, 4 problems at each n, 3 replicates")
    panels = [ax.get_title() for ax in chapter.learning_curves.figure.axes if ax.get_title()]
    assert len(panels) == 4
