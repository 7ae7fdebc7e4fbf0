import numpy as np
import xarray as xr

from analysis.questions.generalization_estimate import SECTION
from analysis.statistics.generalization_estimate import generalization_estimate
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
