"""A table of cells says what the cells one by one would."""

from __future__ import annotations

import itertools
from collections import defaultdict

import pytest

from sedyn.errors import InvalidInput
from sedyn.model.problem import AMOUNTS, INDIVIDUAL
from sweeps.plan import SweepSpec
from sweeps.plan import cells as plan_cells
from tests.sweeps.stores import BASE, spec_of

AXES = {
    "n": (40, 80),
    "d": (20, 40),
    "features": ("gaussian", "uniform"),
    "noise": (0.0, 0.1, 0.3),
    "learning_rate": (0.1, 0.8),
    "covariance": ("identity", "power_law(0.25)"),
}
ROWS = [{"noise": 0.1, "steps": 3}, {"noise": 0.2, "steps": 3}, {"noise": 0.2, "steps": 2}]


def specs() -> dict[str, SweepSpec]:
    batches = {"n": (40, 80), "batch_size": (None, 20), "learning_rate": (0.1, 0.8)}
    following = SweepSpec({k: BASE[k] for k in BASE if k not in ("n", "d")}, {"n": (40, 80)}, {40: 20, 80: 40})
    return {
        "grid": spec_of(AXES),
        "rows": spec_of({"n": (40, 80), "features": ("gaussian", "uniform")}, rows=ROWS),
        "rows alone": spec_of(rows=ROWS),
        "batches": spec_of(batches),
        "d follows n": following,
        "single": spec_of(),
    }


@pytest.mark.parametrize("name", list(specs()))
def test_cells_of_a_table_are_all_combinations_each_of_the_kind_that_it_is(name):
    spec = specs()[name]
    rows, places = spec.rows or ({},), itertools.product(*spec.axes.values())
    expected = [
        spec.problem_at({**row, **dict(zip(spec.axes, values, strict=True))})
        for row, values in itertools.product(rows, list(places))
    ]
    assert [cell.problem for cell in spec.table] == expected
    assert len(spec.table) == len(expected)
    assert spec.table[-1] == spec.table[len(expected) - 1]
    for index, cell in enumerate(spec.table):
        first = spec.table.kinds[spec.table.kind[index]]
        assert cell.engine == first.engine
        for field, value in first.problem.to_dict().items():
            assert field in AMOUNTS or getattr(cell.problem, field) == getattr(first.problem, field) == value


@pytest.mark.parametrize("name", list(specs()))
def test_cells_share_a_theory_in_the_table_where_their_problems_do(name):
    spec = specs()[name]
    groups = defaultdict(list)
    for index, cell in enumerate(spec.table):
        groups[cell.problem.theory_key].append(index)
    found = defaultdict(list)
    for index, number in enumerate(spec.theories.tolist()):
        found[number].append(index)
    assert list(found.values()) == list(groups.values())
    assert list(found) == list(range(spec.theory_count))


def test_amounts_are_what_replicates_side_by_side_may_differ_in():
    assert set(AMOUNTS) < set(INDIVIDUAL)


def test_a_single_wrong_combination_of_a_large_grid_is_refused():
    noises = tuple(k / 1000 for k in range(2000))
    with pytest.raises(InvalidInput, match="depth=1 is a linear model"):
        spec_of({"noise": noises, "depth": (1, 2), "width": (1, 2)}).cells  # noqa: B018


def test_problems_of_a_large_grid_are_made_when_they_are_asked_for(monkeypatch):
    made = 0
    plain = SweepSpec.problem_at

    def counted(spec, values):
        nonlocal made
        made += 1
        return plain(spec, values)

    monkeypatch.setattr(SweepSpec, "problem_at", counted)
    spec = spec_of(
        {"noise": tuple(k / 1000 for k in range(1, 301)), "learning_rate": tuple(k / 100 for k in range(1, 301))}
    )
    assert spec.is_large
    assert len(spec.cells) == 90_000
    assert spec.theory_count == 90_000
    assert made < 1000
    assert spec.cells[301].values == (0.002, 0.02)
    with pytest.raises(IndexError):
        spec.cells[90_000]
    few = spec_of({"noise": (0.1, 0.2)})
    assert few.cells[0] is few.cells[0]
    monkeypatch.setattr(plan_cells, "MANY_CELLS", 2)
    assert spec_of({"noise": (0.1, 0.2)}).is_large
