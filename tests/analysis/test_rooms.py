"""Who measures does not wait for what draws, and the names that `analysis` exports are where they were."""

from tests.test_imports import loaded_by


def test_measures_load_nothing_that_draws():
    modules = "rates, breakdown_width, coverage, gaussian_fluctuations, selection, universality"
    assert not {"matplotlib", "rich"} & loaded_by(f"from analysis.statistics import {modules}")
    assert "matplotlib" in loaded_by("from analysis.questions import rates")


def test_exported_names_are_functions_whatever_was_imported_before():
    code = "import analysis.statistics.rates, analysis.questions.rates; import analysis"
    checked = "assert all(callable(getattr(analysis, name)) for name in analysis.__all__)"
    loaded_by(f"{code}; {checked}; from analysis import learning_curves, rates, rates_figure")


def test_a_report_is_called_by_its_path():
    loaded_by("from analysis.report import report; import analysis.report as room; assert room.report is report")
