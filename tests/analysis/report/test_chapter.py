import pytest
import xarray as xr

from analysis.questions import rates
from analysis.report.chapter import findings_on, read_chapter
from analysis.report.sections import SECTIONS
from tests.analysis.grid import groups as synthetic_groups


def unmeasured(section):
    """The same question, with nothing measured where it is answered."""
    return section._replace(
        measure=lambda *groups: xr.Dataset(),
        findings=lambda measured: (),
        figures=lambda *groups: (),
        tables=lambda measured: (),
    )


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
    # Nor is one variance, or one estimate, of all of them.
    assert not {"deep_concentration", "generalization_estimate"} & set(found["other"])


def test_what_an_estimate_is_good_for_is_not_asked_where_theory_ends(tmp_path):
    """Of features whose test errors are least at the start, unless the store is made for that question."""
    backwards = [
        group.isel(iteration=slice(None, None, -1)).assign_coords(iteration=group.iteration)
        for group in synthetic_groups({"features": ["gaussian", "rademacher"]}, replicates=6)
    ]
    groups = dict(zip(("simulation", "theory"), backwards, strict=True))
    found = {}
    for name in ("universality", "early_stopping"):
        xr.DataTree.from_dict(groups).to_zarr(tmp_path / f"{name}.zarr", mode="w", consolidated=False)
        chapter = read_chapter(tmp_path / f"{name}.zarr", [unmeasured(section) for section in SECTIONS])
        found[name] = dict(chapter.unanswered).get("early_stopping")
    assert found == {
        "universality": "it presumes theory all along features; universality examines where that ends",
        "early_stopping": None,
    }


def test_the_question_of_the_stores_name_comes_first(tree, tmp_path):
    for name in ("deep_concentration", "rates"):
        tree.to_zarr(tmp_path / f"{name}.zarr", mode="w", consolidated=False)
        answers = read_chapter(tmp_path / f"{name}.zarr", [unmeasured(section) for section in SECTIONS]).answers
        assert answers[0].section.name == name
        assert {"rates", "deep_concentration"} <= {answer.section.name for answer in answers}


def test_what_a_sweep_to_verdicts_waits_for_is_what_the_page_says(tree, tmp_path):
    """With less measured: exponents of each slice are in tables alone."""
    tree.to_zarr(tmp_path / "rates.zarr", mode="w", consolidated=False)
    (answer,) = read_chapter(tmp_path / "rates.zarr", [rates.SECTION]).answers
    found = findings_on(tmp_path / "rates.zarr", [rates.SECTION])
    assert [str(finding) for _, finding in found] == [str(finding) for finding in answer.findings]
    assert [finding.lack.runs for _, finding in found] == pytest.approx(
        [finding.lack.runs for finding in answer.findings], nan_ok=True
    )
    simulation, theory = (tree[name].to_dataset() for name in ("simulation", "theory"))
    assert set(rates.SECTION.judged(simulation, theory)) < set(answer.measured)
