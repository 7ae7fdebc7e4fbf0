import numpy as np
import xarray as xr

from analysis.questions.generalization_estimate import SECTION
from analysis.statistics.generalization_estimate import generalization_estimate, with_predicted
from tests.analysis.statistics.test_generalization_estimate import noisy


def test_exponents_by_the_value_of_an_axis():
    runs = [noisy(np.random.default_rng(seed), power=power) for seed, power in enumerate((-0.5, 0.0))]
    measured = generalization_estimate(xr.concat(runs, xr.Variable("depth", [2, 3])))
    for end in ("", "_low", "_high"):
        np.testing.assert_allclose(measured[f"exponent_by_depth{end}"], measured[f"exponent{end}"], atol=0.02)
    whole, failing = SECTION.findings(measured)
    assert whole.subject.startswith("estimated test error")
    assert (failing.subject, failing.verdict) == ("depth 3", "fails")
    by_value = SECTION.tables(measured)[1]
    assert [line[0] for line in by_value.lines] == ["depth 2", "depth 3"]


def test_the_predicted_error_bar_stands_beside_the_measured_one():
    runs = [noisy(np.random.default_rng(seed)) for seed in (0, 1)]
    measured = generalization_estimate(xr.concat(runs, xr.Variable("depth", [2, 3])))
    assert not any("Error bar" in table.title for table in SECTION.tables(measured))
    steps = measured.sizes["iteration"]
    covariance = np.diag(np.arange(steps) + 1.0) * measured.n.values[:, None, None] * 1e-4
    theory = measured[["iteration"]].assign(
        estimate_minus_test_error_covariance=(("n", "iteration", "iteration_"), covariance), n=measured.n
    )
    theory = theory.assign_coords(iteration_=measured.iteration.values)
    found = with_predicted(measured, theory)
    for depth in (2, 3):
        expected = 0.01 * (np.arange(steps) + 1) ** 0.5
        np.testing.assert_allclose(found.predicted_rms.sel(depth=depth).isel(n=0), expected)
    table = SECTION.tables(found)[-1]
    assert "Error bar" in table.title
    assert [line[0] for line in table.lines] == ["depth 2", "depth 3"]
    assert table.lines[0][1].startswith("0.014 (")
    (figure,) = SECTION.figures(found, theory, found)
    assert "Dashed" in figure.caption
