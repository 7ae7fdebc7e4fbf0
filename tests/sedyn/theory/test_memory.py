"""What the theory takes of memory: predicted as it is, and refused where there is less."""

import tracemalloc

import pytest

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.arrays import machine
from sedyn.theory.memory import theory_memory

SAMPLES = 2**14
PROBLEMS = {
    "default": {"steps": 10},
    "wide": {"width": 8, "steps": 4},
    "long": {"width": 2, "depth": 2, "steps": 40},
    "kinked": {"activation": "relu"},
    "batches": {"width": 2, "batch_fraction": 0.5},
    "deep": {"steps": 8, "depth": 6},
    "signals": {"width": 2, "steps": 8, "signals": 8},
    "classes": {
        "outputs": 10,
        "signals": 10,
        "labels": "classes",
        "loss": "softmax",
        "width": 6,
        "depth": 2,
        "steps": 3,
    },
    "many classes": {"outputs": 40, "signals": 40, "labels": "classes", "loss": "softmax", "depth": 2, "steps": 2},
    "many outputs": {"outputs": 40, "signals": 40, "width": 2, "depth": 2, "steps": 2},
    "linear": {"width": 1, "depth": 1, "steps": 5},
}


@pytest.mark.parametrize(
    ("name", "include"), [*((name, ()) for name in PROBLEMS), ("default", ("samples",)), ("long", ("samples",))]
)
def test_the_peak_is_predicted(name, include):
    problem = Problem(**PROBLEMS[name])
    sedyn.state_evolution(problem, 2**9, 2)  # loads what is loaded once
    tracemalloc.start()
    sedyn.state_evolution(problem, SAMPLES, 2, include=include)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    predicted = theory_memory(problem, SAMPLES, keep_samples=bool(include))
    assert 0.95 * peak < predicted < 2 * peak


def test_few_samples_take_at_least_what_the_drift_of_a_spectrum_takes():
    drifting, flat = (Problem(covariance=name, width=2, steps=12) for name in ("power_law(0.3)", "two_level(5, 0.25)"))
    assert theory_memory(drifting, 2**6) == theory_memory(drifting, 2**10) == theory_memory(flat, 2**11)
    assert theory_memory(drifting, 2**12) == theory_memory(flat, 2**12)


def test_what_has_no_room_is_refused_before_any_work(monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: int(1.5e9))
    with pytest.raises(
        InvalidInput, match=r"samples=4194304: .* needs .* GB of 1\.2 GB; take (\d+) or fewer"
    ) as caught:
        sedyn.state_evolution(Problem(), 2**22)
    fitting = int(str(caught.value).split("take ")[1].split()[0])
    assert theory_memory(Problem(), fitting) <= 1.2e9 < theory_memory(Problem(), 2 * fitting)
    with pytest.raises(InvalidInput, match=r"randomizations=1048576: their results take"):
        sedyn.state_evolution(Problem(), 2**10, 2**20)
    with pytest.raises(InvalidInput, match=r"replicates=1000000: their results take"):
        sedyn.simulate(Problem(), 10**6)


def test_doubling_stops_where_memory_ends(monkeypatch):
    problem = Problem(n=200, d=100, steps=3)
    monkeypatch.setattr(machine, "memory_limit", lambda: 1.3 * theory_memory(problem, 2**11))
    with pytest.warns(UserWarning, match="missed target_stderr=1e-09 at max_samples=2048"):
        theory = sedyn.state_evolution(problem, 2**9, 2, target_stderr=1e-9)
    assert theory.samples == 2**11


def test_more_variables_than_sobol_points_have_are_refused():
    with pytest.raises(InvalidInput, match=r"steps=20000: .* of which 21201 can be drawn"):
        sedyn.state_evolution(Problem(steps=20000), 2**18)
