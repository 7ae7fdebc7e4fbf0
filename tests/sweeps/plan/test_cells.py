from __future__ import annotations

import subprocess
import sys

import pytest

from sedyn.errors import InvalidInput
from sweeps.plan import SweepSpec


def at_aspect_two(sizes):
    return {n: n // 2 for n in sizes}


def test_cells_are_the_product_of_the_axes_in_the_order_of_the_problem_fields():
    spec = SweepSpec({"steps": 3}, {"noise": (0.1, 0.5), "n": (40, 80)}, at_aspect_two((40, 80)))
    assert list(spec.axes) == ["n", "noise"]
    assert [cell.values for cell in spec.cells] == [(40, 0.1), (40, 0.5), (80, 0.1), (80, 0.5)]
    assert [(cell.problem.n, cell.problem.d, cell.problem.noise) for cell in spec.cells] == [
        (40, 20, 0.1),
        (40, 20, 0.5),
        (80, 40, 0.1),
        (80, 40, 0.5),
    ]


def test_theory_is_shared_by_all_n_at_the_same_aspect_ratio_only():
    shared = SweepSpec({"steps": 3}, {"n": (40, 80), "noise": (0.1, 0.5)}, at_aspect_two((40, 80)))
    assert [len(cells) for cells in shared.theory_groups.values()] == [2, 2]
    apart = SweepSpec({"steps": 3, "d": 20}, {"n": (40, 80)})
    assert [len(cells) for cells in apart.theory_groups.values()] == [1, 1]


def test_the_feature_law_shares_the_theory():
    spec = SweepSpec({"n": 40, "d": 20, "steps": 3}, {"features": ("gaussian", "rademacher")})
    assert len(spec.theory_groups) == 1


def test_axis_values_are_kept_as_problem_keeps_them():
    assert SweepSpec({"n": 40, "d": 20}, {"noise": (0, 1)}).axes == {"noise": (0.0, 1.0)}


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"nise": (1,)}, "did you mean 'noise'"),
        ({"noise": ()}, "a list of values"),
        ({"noise": "ab"}, "a list of values"),
        ({"noise": (0.1, 0.1)}, "stands twice"),
        ({"noise": (1, 1.0)}, "stands twice"),
        ({"learning_rate": ([0.1, 0.2],)}, "single numbers"),
        ({"depth": (1, 2)}, "depth=1 is a linear model"),
        ({"noise": (0.1, -1)}, "noise=-1"),
    ],
)
def test_a_wrong_axis_is_refused_by_name(axes, message):
    with pytest.raises(InvalidInput, match=message):
        SweepSpec({"n": 40, "d": 20}, axes)


def test_planning_five_thousand_cells_takes_under_two_seconds():
    """In a process of its own, where nothing checks shapes and types at every call as tests do."""
    script = """
import time
from sweeps.plan import SweepSpec
axes = {"n": tuple(range(40, 2040, 2)), "noise": (0.1, 0.2, 0.3, 0.4, 0.5)}
start = time.process_time()
spec = SweepSpec({"steps": 3}, axes, {n: n // 2 for n in axes["n"]})
assert (len(spec.cells), len(spec.theory_groups)) == (5000, 5)
assert time.process_time() - start < 2
"""
    subprocess.run([sys.executable, "-c", script], check=True)
