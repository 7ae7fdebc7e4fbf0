"""What a GPU is asked for, counted without one: launches a step, nothing for a replicate, and the right numbers."""

import shutil

import numpy as np
import pytest

import sedyn
from benchmarks import launches
from tests.sedyn.kernels.conftest import runtime  # noqa: F401
from tests.sedyn.kernels.cuda_host import host_kernel

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")

PLAIN = {"n": 60, "d": 40, "width": 2, "depth": 3, "noise": 0.2, "learning_rate": 0.3}
PROBLEMS = {
    "plain": {},
    "batches and Nesterov": {"batch_fraction": 0.5, "momentum": 0.3, "momentum_form": "nesterov"},
    "two signals, a spectrum": {"signals": 2, "covariance": "power_law(0.3)", "momentum": 0.4},
    "classes of sign": {"labels": "binary", "loss": "logistic", "bias": "all"},
    "one layer": {"depth": 1, "width": 1},
}


def counted(replicates, steps, fields, **how):
    return launches.counted(sedyn.Problem(**PLAIN | fields, steps=steps), replicates, **{"estimate": False} | how)


def numbers(events, kinds=("kernel", "launch", "transfer")):
    found = launches.totals(events)
    return [found[kind] for kind in kinds]


@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_nothing_is_asked_for_a_replicate(fields, dtype):
    few, many = (counted(replicates, 5, fields, dtype=dtype) for replicates in (4, 64))
    assert launches.totals(few) == launches.totals(many)
    assert [event[:4] for event in few] == [event[:4] for event in many]


@pytest.mark.parametrize("fields", [{}, PROBLEMS["two signals, a spectrum"], PROBLEMS["classes of sign"]])
def test_a_step_is_two_launches_and_nothing_else(fields):
    of = [counted(4, steps, fields) for steps in (3, 4, 12)]
    kernels, others, transfers, views = zip(*(launches.totals(events).values() for events in of), strict=True)
    assert (kernels[1] - kernels[0], kernels[2] - kernels[1]) == (2, 16)
    assert len(set(others)) == len(set(transfers)) == len(set(views)) == 1
    steps = [event for event in of[2] if event.phase == "steps"]
    assert len(steps) == 2 * 12 + 1


def test_a_whole_call_asks_for_little():
    """Beside its steps; there were 5, 211 and 20 before operations were joined into kernels."""
    events = counted(64, 15, {"width": 3}, dtype="float32")
    kernels, others, transfers = numbers([event for event in events if event.phase != "steps"])
    assert kernels <= 11
    assert others <= 43
    assert transfers <= 1
    assert sum(event.times for event in events if event.name == "get") == 1  # results, and nothing on the way


def test_what_it_counts_is_what_is_asked():
    with launches.pretended() as events:
        x = launches.DeviceArray(np.arange(12.0).reshape(3, 4))
        y = x[1:, :] * 2 + x[0, :]
        assert [event.name for event in events] == ["index", "__mul__", "index", "__add__"]
        assert numbers(events, ("launch", "view")) == [2, 2]
        np.testing.assert_array_equal(y.get(), np.arange(12.0).reshape(3, 4)[1:] * 2 + np.arange(4.0))
        events.clear()
        xp = x.__array_namespace__()
        xp.concat([x, y])
        xp.reshape(x, (-1,))
        xp.reshape(x.T, (-1,))
        x[0, ...] = 1.0
        bool(x[0, 0] > 0)
        assert numbers(events, ("launch", "view", "transfer")) == [2 + 1 + 1 + 1, 1 + 1 + 1, 1]
        with pytest.raises(TypeError, match="host"):
            x + np.ones(4)


@needs_compiler
@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_with_the_twins_of_its_kernels_it_finds_what_a_cpu_finds(fields, dtype, runtime):  # noqa: F811
    problem, how = sedyn.Problem(**PLAIN | fields, steps=4), {"engine": "dense", "estimate": False, "dtype": dtype}
    expected = sedyn.simulate(problem, 3, device="cpu", **how)
    with launches.pretended(lambda *args, **macros: host_kernel(runtime, *args, **macros)):
        found = sedyn.simulate(problem, 3, device="gpu", **how)
    tolerance = {"float64": 1e-9, "float32": 1e-4}[dtype]
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=tolerance, atol=tolerance, err_msg=name)


@needs_compiler
def test_with_the_estimate_too(runtime):  # noqa: F811
    problem = sedyn.Problem(**PLAIN, momentum=0.2, steps=4)
    expected = sedyn.simulate(problem, 3, engine="dense", device="cpu")
    with launches.pretended(lambda *args, **macros: host_kernel(runtime, *args, **macros)) as events:
        found = sedyn.simulate(problem, 3, engine="dense", device="gpu")
    assert "adjoints" in {event.name for event in events}
    np.testing.assert_allclose(found.estimated_test_error, expected.estimated_test_error, rtol=1e-9)


def test_the_script_prints_every_phase(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["launches.py", "--sites", "--replicates", "2", "--steps", "2"])
    launches.main()
    printed = capsys.readouterr().out
    for phase in ("start", "designs", "points and labels", "steps", "observations", "readout", "results", "all"):
        assert f"| {phase} |" in printed
    assert "kernels/cuda/paths.py" in printed
