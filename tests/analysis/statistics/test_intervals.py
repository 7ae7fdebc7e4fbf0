import numpy as np
import pytest
import xarray as xr
from scipy import stats

from analysis.statistics.bootstrap import Bootstrap, means
from analysis.statistics.intervals import Interval, spread, student, student_reach


@pytest.mark.parametrize("replicates", [4, 16])
def test_an_interval_of_a_mean_covers_as_often_as_it_says(replicates):
    runs = np.random.default_rng(0).standard_normal((replicates, 4000))
    drawn = means(Bootstrap(400).counts(np.ones(replicates, dtype=bool)), runs)
    interval = student(drawn, replicates, 0.9)
    inside = ((interval.low < 0) & (interval.high > 0)).mean()
    # All columns share their draws, which moves their intervals together by a part in sqrt(2 draws).
    moved = (
        2 * stats.t.pdf(student_reach(replicates, 0.9), replicates - 1) * student_reach(replicates, 0.9) / np.sqrt(800)
    )
    assert abs(inside - 0.9) < 4 * np.hypot(np.sqrt(0.9 * 0.1 / 4000), moved)
    expected = runs.std(0, ddof=1) / np.sqrt(replicates)
    assert abs(np.mean(spread(drawn, replicates) / expected) - 1) < 4 / np.sqrt(800)


def test_a_single_replicate_has_no_interval():
    interval = student(np.ones((5, 2)), 1, 0.95)
    assert (interval.value == 1).all()
    assert np.isnan([interval.low, interval.high]).all()


def test_an_interval_goes_into_a_dataset_and_comes_back():
    arrays = Interval(np.array([[1.0], [2.0]]), np.array([[0.0], [1.5]]), np.array([[3.0], [2.5]]))
    measured = xr.Dataset(arrays.variables("slope", "depth", shape=(2,)))
    assert Interval.of(measured.isel(depth=1), "slope") == (2.0, 1.5, 2.5)
    by_depth = measured.rename({name: f"{name}_by_depth" for name in measured.data_vars})
    assert Interval.of(by_depth.isel(depth=0), "slope", "_by_depth") == (1.0, 0.0, 3.0)
