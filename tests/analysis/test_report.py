import re
import warnings
from functools import cache

import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot
from rich.console import Console

from analysis.chapter import read_chapter
from analysis.figures import learning_curves
from analysis.rates import rates
from analysis.rates_section import rates_figure, rates_table
from analysis.report import NothingToReport, finding_line, main, report, terminal_table
from analysis.section import Finding
from analysis.sections import SECTIONS
from analysis.style import png
from tests.analysis.grid import groups as synthetic_groups
from tests.analysis.synthetic import SIZES, store


@pytest.fixture(scope="module")
def tree():
    return store(steps=5)


@pytest.fixture(scope="module")
def measured(tree):
    return rates(tree["simulation"].to_dataset(), tree["theory"].to_dataset(), draws=100)


@pytest.fixture(scope="module")
def small():
    """One problem, a few steps: what is measured of it is not what the tests are about."""
    return store(steps=2, depths=(2,), noises=(0.1,))


@pytest.fixture
def path(tree, tmp_path):
    at = tmp_path / "small.zarr"
    tree.to_zarr(at, mode="w", consolidated=False)
    return at


@pytest.fixture
def measured_once(monkeypatch):
    """Measure and draw every store once in a test, however often it is reported."""
    chapters = cache(lambda path: read_chapter(path, SECTIONS))
    monkeypatch.setattr("analysis.report.read_chapter", lambda path, sections: chapters(str(path)))
    monkeypatch.setattr("analysis.report.png", cache(png))


def unmeasured(section):
    """The same question, with nothing measured where it is answered."""
    return section._replace(
        measure=lambda *groups: xr.Dataset(),
        findings=lambda measured: (),
        figures=lambda *groups: (),
        tables=lambda measured: (),
    )


def visible(figure):
    return [ax for ax in figure.axes if ax.get_visible()]


def test_learning_curves_have_a_panel_a_cell(tree):
    figure = learning_curves(tree["simulation"].to_dataset(), tree["theory"].to_dataset())
    assert [ax.get_title() for ax in visible(figure)] == [
        f"depth {depth}, noise {noise}" for depth in (2, 3) for noise in (0.1, 0.5)
    ]
    theory = tree["theory"]["train_error"].sel(depth=2, noise=0.1).isel(n=-1).values
    mean = tree["simulation"]["train_error"].sel(depth=2, noise=0.1).isel(n=-1).mean("replicate").values
    drawn = [line.get_ydata() for line in figure.axes[0].lines]
    assert any(np.array_equal(line, theory) for line in drawn)
    assert any(np.array_equal(line, mean) for line in drawn)


def test_learning_curves_of_an_unfinished_store_are_theory_alone(tree):
    figure = learning_curves(tree["simulation"].to_dataset() * np.nan, tree["theory"].to_dataset())
    assert len(figure.axes[0].lines) == 2


def test_learning_curves_say_what_they_leave_out():
    many = store(depths=(2,), noises=tuple(np.linspace(0.1, 0.5, 15)), steps=1, replicates=2)
    figure = learning_curves(many["simulation"].to_dataset(), many["theory"].to_dataset())
    assert len(visible(figure)) == 12
    assert "3 more cells" in figure.get_suptitle()


def test_rates_figure_has_data_fit_and_guide(measured):
    figure = rates_figure(measured)
    panels = visible(figure)
    assert len(panels) == 4
    for ax, name in zip(panels, measured.observable.values, strict=True):
        assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
        slopes = [np.polyfit(np.log(SIZES), np.log(line.get_ydata()), 1)[0] for line in ax.lines if line.get_lw() > 0]
        fitted = float(measured.overall_exponent.sel(observable=name, part="distance"))
        assert sum(np.isclose(slopes, fitted)) == 4
        assert sum(np.isclose(slopes, -0.5)) >= 1
        assert f"{fitted:+.3f}" in ax.get_title()


def test_rates_figure_draws_what_has_no_exponent(tree):
    short = tree["simulation"].to_dataset().isel(n=slice(2)), tree["theory"].to_dataset().isel(n=slice(2))
    figure = rates_figure(rates(*short, draws=10))
    assert all("no exponent" in ax.get_title() for ax in visible(figure))


def test_figures_leave_no_global_state(tree, measured):
    rates_figure(measured)
    learning_curves(tree["simulation"].to_dataset(), tree["theory"].to_dataset())
    assert pyplot.get_fignums() == []


def test_table_fits_a_terminal(measured):
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    table = rates_table(measured)
    console.print(terminal_table(table))
    text = console.export_text()
    assert "…" not in text
    assert all(field in text for line in table.lines for field in line)


def test_report_writes_its_files(path, capsys, measured_once):
    report(path, console=Console(quiet=True))
    written = report(path, console=Console(width=100))  # a second report replaces the first
    names = [file.name for file in written]
    assert names[0] == "small.learning_curves.png"
    assert {"small.rates.png", "small.rates.zarr"} < set(names)
    assert names[-1] == "small.report.html"
    images = [file for file in written if file.suffix == ".png"]
    assert all(image.read_bytes().startswith(b"\x89PNG") for image in images)
    kept = xr.open_zarr(path.with_name("small.rates.zarr"), consolidated=False)
    assert kept.attrs["store"] == "small.zarr"
    assert kept.overall_exponent.dims == ("observable", "part")
    page = written[-1].read_text()
    assert page.index("Findings") < page.index("<img") < page.index("Learning curves") < page.index("Provenance")
    assert page.count("data:image/png;base64,") == len(images)
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "learning_rate" in page
    assert "python -m analysis.report stores/small.zarr" in page
    out = capsys.readouterr().out
    assert "train error: holds: consistent with n^-1/2 (exponent -0." in out
    assert "small.report.html" in out


def test_several_stores_make_one_page(small, tmp_path, measured_once, monkeypatch):
    monkeypatch.setattr("analysis.report.png", lambda figure: b"drawn elsewhere")
    paths = [tmp_path / f"{name}.zarr" for name in ("one", "two")]
    for path in paths:
        small.to_zarr(path, mode="w", consolidated=False)
    page = report(*paths, console=Console(quiet=True))[-1]
    assert page == tmp_path / "report.html"
    text = page.read_text()
    assert text.index("Findings") < text.index("<h2>one</h2>") < text.index("<h2>two</h2>")
    for name in ("one", "two"):
        assert f'href="#{name}-rates"' in text
        assert f'id="{name}-rates"' in text
    at = tmp_path / "elsewhere.html"
    assert main([*map(str, paths), "--output", str(at)]) == 0
    assert at.read_text() == text


def test_a_question_that_a_store_cannot_answer_is_named_with_the_reason(tree, tmp_path):
    short = xr.DataTree.from_dict({name: group.to_dataset().isel(n=slice(2)) for name, group in tree.children.items()})
    short.to_zarr(tmp_path / "short.zarr", mode="w", consolidated=False)
    written = report(tmp_path / "short.zarr", console=Console(quiet=True))
    assert "short.rates.png" not in [file.name for file in written]
    assert "rates (fewer than 3 values of n)" in written[-1].read_text()


@pytest.mark.parametrize(
    ("axis", "values", "section"),
    [
        ("features", ["gaussian", "rademacher", "uniform"], "universality"),
        ("learning_rate", [0.5, 1.0, 2.0], "breakdown_rate"),
        ("width", [2, 4, 8], "breakdown_width"),
    ],
)
def test_an_axis_along_which_theory_ends_is_left_to_the_section_that_examines_it(axis, values, section, tmp_path):
    """Unless the store is made for the one answer over all its values."""
    groups = dict(zip(("simulation", "theory"), synthetic_groups({axis: values}, replicates=6), strict=True))
    found = {}
    for name in (section, "rates", "other"):
        xr.DataTree.from_dict(groups).to_zarr(tmp_path / f"{name}.zarr", mode="w", consolidated=False)
        chapter = read_chapter(tmp_path / f"{name}.zarr", [unmeasured(section) for section in SECTIONS])
        found[name] = [answer.section.name for answer in chapter.answers]
        reasons = dict(chapter.unanswered)
        assert ("rates" in reasons) == (name != "rates")
        assert section in reasons.get("rates", section)
    assert found[section][0] == section
    assert found["rates"][0] == "rates"
    assert section in found["rates"]
    assert set(found["other"]) == set(found[section])


def test_the_question_of_the_stores_name_comes_first(tree, tmp_path):
    for name in ("deep_concentration", "rates"):
        tree.to_zarr(tmp_path / f"{name}.zarr", mode="w", consolidated=False)
        answers = read_chapter(tmp_path / f"{name}.zarr", [unmeasured(section) for section in SECTIONS]).answers
        assert answers[0].section.name == name
        assert {"rates", "deep_concentration"} <= {answer.section.name for answer in answers}


def test_learning_curves_of_diverging_runs_show_the_others(tree):
    """A run near overflow is left out from where it diverges, without a warning, and the frame stays."""
    simulation, theory = (tree[name].to_dataset() for name in ("simulation", "theory"))
    astray = simulation.copy(deep=True)
    late = dict(depth=3, noise=0.5, replicate=0)
    for name in ("train_error", "test_error"):
        astray[name].loc[late] = astray[name].loc[late] * 10.0 ** (50 * astray.iteration)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = learning_curves(astray, theory)
    start = float(theory.train_error.isel(iteration=0).max())
    assert figure.axes[0].get_ylim()[1] <= 3 * max(start, float(theory.test_error.isel(iteration=0).max()))
    points = [ax.lines for ax in learning_curves(simulation.isel(replicate=slice(1, None)), theory).axes]
    np.testing.assert_array_equal(figure.axes[-1].lines[-1].get_ydata()[1:], points[-1][-1].get_ydata()[1:])


def test_one_size_without_an_axis_has_learning_curves(tree, tmp_path):
    one = xr.DataTree.from_dict(
        {name: group.to_dataset().isel(n=0, drop=True).assign_attrs(n=256) for name, group in tree.children.items()}
    )
    one.to_zarr(tmp_path / "one.zarr", mode="w", consolidated=False)
    written = report(tmp_path / "one.zarr", console=Console(quiet=True))
    assert "n = 256, 4 problems" in written[-1].read_text()


def test_a_finding_is_one_line():
    assert finding_line(Finding("test error", "holds", "as claimed")) == "test error: holds: as claimed"
    number = Finding("test error", "fails", "slower", "exponent", -0.2, -0.3, -0.1)
    assert finding_line(number) == "test error: fails: slower (exponent -0.200 [-0.300, -0.100])"


def test_report_of_strings_on_an_axis(small, tmp_path):
    named = xr.DataTree.from_dict(
        {
            name: group.to_dataset().isel(noise=slice(1)).rename(noise="activation").assign_coords(activation=["tanh"])
            for name, group in small.children.items()
        }
    )
    named.to_zarr(tmp_path / "named.zarr", mode="w", consolidated=False)
    written = report(tmp_path / "named.zarr", console=Console(quiet=True))
    assert "tanh" in written[-1].read_text()


@pytest.mark.parametrize("kind", ["missing", "folder", "unfinished"])
def test_nothing_to_report_is_one_line_and_status_2(kind, tree, tmp_path, capsys):
    at = tmp_path / "store.zarr"
    if kind == "folder":
        at.mkdir()
    if kind == "unfinished":
        groups = {name: group.to_dataset() for name, group in tree.children.items()}
        groups["simulation"] = groups["simulation"] * np.nan
        xr.DataTree.from_dict(groups).to_zarr(at, mode="w", consolidated=False)
    assert main([str(at)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "store.zarr" in error
    with pytest.raises(NothingToReport):
        report(at)
