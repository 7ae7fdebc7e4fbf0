import dataclasses
import tracemalloc

import pytest

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.arrays import backend, machine
from sedyn.descent import engines
from sedyn.descent.engines import (
    choose_engine,
    memory_needed,
    predicted_seconds,
    replicates_that_fit,
    replicates_together,
)
from sedyn.kernels.cpu.tiles import UNITS

SMALL = Problem(n=60, d=40, width=2, steps=60)
LARGE = Problem(n=20_000, d=20_000, width=4)


def test_auto_takes_the_faster():
    assert choose_engine(SMALL).engine == "dense"
    assert choose_engine(LARGE).engine == "deferred"
    assert "predicted faster" in choose_engine(LARGE).reason
    for problem in (SMALL, LARGE):
        other = {"dense": "deferred", "deferred": "dense"}[choose_engine(problem).engine]
        assert predicted_seconds(problem, choose_engine(problem).engine) <= predicted_seconds(problem, other)


def test_only_dense_draws_other_laws():
    choice = choose_engine(Problem(n=300, d=200, features="rademacher"))
    assert choice.engine == "dense"
    assert "rademacher" in choice.reason
    with pytest.raises(InvalidInput, match="needs Gaussian features"):
        choose_engine(Problem(features="uniform"), "deferred")


def test_auto_takes_what_fits(monkeypatch):
    problem = Problem(n=3000, d=3000, width=1, depth=1, steps=80)
    monkeypatch.setattr(machine, "memory_limit", lambda: 70e6)
    assert choose_engine(problem, estimate=False).reason == "the only one that fits in memory"


def test_on_a_gpu_its_memory_and_its_bytes_and_launches_decide(monkeypatch):
    monkeypatch.setattr(backend, "gpu_memory", lambda: (1, 80 * 10**9))
    small, large, larger = (Problem(n=n, d=n, width=4) for n in (4000, 40_000, 100_000))
    assert choose_engine(small).engine == "deferred"
    assert choose_engine(small, device="gpu").engine == "dense"  # few launches
    choice = choose_engine(large, device="gpu")
    assert choice.engine == "deferred"  # few bytes
    assert "by bytes and launches alone" in choice.reason
    assert choose_engine(larger, device="gpu").reason == "the only one that fits in memory"
    with pytest.raises(InvalidInput, match=r"needs 8\d.* GB \(dense\) of 64"):
        choose_engine(larger, "dense", device="gpu")


def test_refusal_names_needed_and_available_memory(monkeypatch):
    monkeypatch.setattr(machine, "memory_limit", lambda: 10e6)
    with pytest.raises(InvalidInput, match=r"needs .* GB \(dense\) and .* GB \(deferred\) of 0\.0 GB"):
        choose_engine(LARGE)
    with pytest.raises(InvalidInput, match=r"GB \(dense\) of"):
        choose_engine(LARGE, "dense")


def test_unknown_names():
    with pytest.raises(InvalidInput, match="did you mean 'dense'"):
        choose_engine(SMALL, "dens")
    with pytest.raises(InvalidInput, match="did you mean 'float32'"):
        sedyn.simulate(SMALL, 1, dtype="float3")


def test_the_dataset_says_which_and_why():
    runs = sedyn.simulate(SMALL, 1)
    assert runs.attrs["engine"] == "dense"
    assert runs.attrs["engine_reason"]
    assert sedyn.simulate(SMALL, 1, engine="deferred").attrs["engine_reason"] == "asked for"


def test_storage_counts():
    problem = Problem(n=5000, d=5000)
    gaussian = memory_needed(problem, "dense")
    assert memory_needed(problem, "dense", dtype="float32") < 0.6 * gaussian
    assert memory_needed(Problem(n=5000, d=5000, features="rademacher"), "dense") < 0.3 * gaussian
    assert memory_needed(Problem(n=5000, d=5000, features="sparse(0.01)"), "dense") < 0.2 * gaussian
    assert memory_needed(problem, "dense", estimate=False) < gaussian


def test_memory_on_a_gpu_is_that_of_floats_and_of_what_is_computed_there():
    laws = [Problem(n=20_000, d=20_000, features=law) for law in ("rademacher", "uniform", "sparse(0.01)")]
    needed = {memory_needed(problem, "dense", device="gpu") for problem in laws}
    assert len(needed) == 1
    assert needed.pop() > memory_needed(laws[0], "dense")
    long = Problem(n=5000, d=5000, width=8, steps=100)
    added = memory_needed(long, "deferred", device="gpu") - memory_needed(long, "deferred")
    assert added == 8 * 5000 * 100 * 8**2  # an adjoint beside each curvature


def test_replicates_that_fit_leave_a_margin():
    assert replicates_that_fit(1000, 100) == 9
    assert replicates_that_fit(999, 100) == 8
    assert replicates_that_fit(10, 100) == 1


@pytest.mark.parametrize(
    ("engine", "fields", "dtype", "estimate"),
    [
        ("dense", {"n": 2000, "d": 2000}, "float64", True),
        ("dense", {"n": 2000, "d": 2000}, "float32", False),
        ("dense", {"n": 3000, "d": 3000, "features": "rademacher"}, "float64", False),
        ("dense", {"n": 100, "d": 20_000, "features": "uniform"}, "float32", False),
        ("deferred", {"n": 10_000, "d": 5000}, "float64", False),
        ("deferred", {"n": 10_000, "d": 5000}, "float64", True),
    ],
)
def test_memory_needed_is_what_is_taken(engine, fields, dtype, estimate):
    predicted, taken = predicted_and_taken(Problem(**fields, width=4, steps=12), engine, dtype, estimate)
    assert 0.8 < predicted / taken < 1.5


@pytest.mark.parametrize("estimate", [True, False])
@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1000, "d": 100, "width": 4, "steps": 60},
        {"n": 1000, "d": 100, "width": 1, "steps": 60},
        {"n": 500, "d": 500, "width": 4, "steps": 30},
    ],
)
def test_all_iterations_of_small_replicates_take_memory_at_once(fields, estimate):
    problem = Problem(**fields)
    assert engines.stacks(problem)
    predicted, taken = predicted_and_taken(problem, "dense", "float64", estimate)
    assert 0.8 < predicted / taken < 1.2


def predicted_and_taken(problem, engine, dtype, estimate):
    """Bytes that one replicate is said to need, and the most that there were."""
    # Compiling what is not compiled yet takes memory too.
    sedyn.simulate(dataclasses.replace(problem, steps=1), 1, engine=engine, dtype=dtype, estimate=estimate)
    tracemalloc.start()
    try:
        sedyn.simulate(problem, 1, engine=engine, dtype=dtype, estimate=estimate)
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return memory_needed(problem, engine, dtype=dtype, estimate=estimate), taken


def test_times_are_predicted_for_the_tiles_of_the_kernels():
    assert engines.TILE == UNITS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "dens"}, "engine='dens': did you mean 'dense'"),
        ({"engine": "deferred", "features": "rademacher"}, "engine='deferred': needs Gaussian features"),
        ({"dtype": "float16"}, "dtype='float16': did you mean"),
    ],
)
def test_memory_is_told_only_of_what_there_is(arguments, message):
    problem = Problem(n=60, d=40, features=arguments.pop("features", "gaussian"))
    with pytest.raises(InvalidInput, match=message):
        engines.memory_needed(problem, **arguments)


def test_replicates_on_a_gpu_are_as_many_as_its_grid_has(monkeypatch):
    monkeypatch.setattr(backend, "gpu_memory", lambda: (2**40, 2**40))
    assert replicates_together(Problem(n=20, d=10, steps=1), "dense", "gpu") == 65_535


@pytest.mark.parametrize("engine", engines.ENGINES)
def test_more_replicates_go_side_by_side_where_no_estimate_keeps_curvatures(engine):
    problem = Problem(n=128, d=64, width=16, depth=3, steps=15)
    some, more = (replicates_together(problem, engine, estimate=estimate) for estimate in (True, False))
    assert more > 3 * some
