"""Every experiment that comes with the project is a valid request, and has a size for an impatient reader."""

import pytest

from analysis.report import report
from sweeps.application.composition import experiments
from tests.requests import request_of

NAMES = experiments()


@pytest.mark.parametrize("name", NAMES)
def test_experiment_is_a_valid_request(name):
    request = request_of(f"experiment={name}")
    assert request.spec.cells
    assert request.location == f"stores/{name}.zarr"
    assert request.report is report


def test_quick_sizes_are_of_experiments():
    assert {name.removeprefix("quick/") for name in NAMES if name.startswith("quick/")} < set(NAMES)
