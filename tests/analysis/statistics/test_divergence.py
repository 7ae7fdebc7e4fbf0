import numpy as np
import pytest

from analysis.statistics.rates import rates
from tests.analysis.grid import groups


@pytest.mark.parametrize("wild", [1e200, -1e80, np.inf, np.nan])
def test_diverged_runs_are_missing_from_rates(wild):
    simulation, theory = groups({}, replicates=8)
    expected = rates(simulation.isel(replicate=slice(1, None)), theory, draws=20)
    for name in ("train_error", "signal_overlap"):
        simulation[name].loc[{"replicate": 0}] = wild
    measured = rates(simulation, theory, draws=20)
    for name in ("distance", "fluctuation", "distance_stderr"):
        np.testing.assert_allclose(measured[name][::2], expected[name][::2])
