"""The model of what tasks take, without a clock."""

from __future__ import annotations

import numpy as np
import pytest

from sedyn import Problem
from sedyn.arrays import backend
from sweeps.cost import probe
from sweeps.cost.probe import THEORY_PROBE_SECONDS, calibrate, shrunk
from sweeps.cost.work import simulation_work, theory_work
from tests.sweeps.stores import spec_of

LONG = {"n": 400, "d": 200, "steps": 36, "width": 2, "depth": 2}


@pytest.fixture
def machine(monkeypatch):
    """A machine that is slower in calls and faster in arithmetic than the model says, and no other work."""
    probed = []

    def solve(problem, samples, randomizations, device):
        calls, work = theory_work(problem, samples, randomizations)
        probed.append((calls, work))
        return 3.0 * calls + 0.5 * work

    monkeypatch.setattr(probe.sedyn, "state_evolution", solve)
    monkeypatch.setattr(probe.sedyn, "simulate", lambda *args, **how: 1.0)
    monkeypatch.setattr(probe, "_seconds", lambda run, device: run())
    return probed


@pytest.mark.parametrize("samples", [256, 2**17])
def test_the_probe_finds_what_calls_and_arithmetic_take(machine, samples):
    factors = calibrate(spec_of(base=LONG, samples=samples)).factors["theory"]
    np.testing.assert_allclose(factors, (3.0, 0.5))


def test_of_many_samples_the_probe_sees_arithmetic_more_than_calls(machine):
    calibrate(spec_of(base=LONG, samples=2**17))
    calls, work = machine[-1]
    assert calls < work <= THEORY_PROBE_SECONDS
    calibrate(spec_of(base=LONG, samples=256))
    assert machine[-1][1] < calls


def test_probes_shrink_below_what_a_spectrum_allows():
    small = shrunk(Problem(**LONG, covariance="two_level(3, 0.1)"), 1e-9, "dense")
    assert (small.n, small.d) == (6, 3)


@pytest.mark.usefixtures("machine")
def test_on_a_gpu_replicates_side_by_side_are_probed_and_share_their_calls(monkeypatch):
    monkeypatch.setattr(backend, "gpu_memory", lambda: (2**36, 2**36))
    probed = []

    def simulate(problem, replicates, *, engine, **how):
        probed.append(replicates)
        calls, moved = simulation_work(problem, engine, replicates, **how)
        return 3.0 * calls + 0.5 * moved

    monkeypatch.setattr(probe.sedyn, "simulate", simulate)
    spec = spec_of(base={"n": 2048, "d": 1024, "steps": 15}, device="gpu")
    model = calibrate(spec)
    np.testing.assert_allclose(model.factors["dense"], (3.0, 0.5))
    assert max(probed) > 100
    few, many = (model.seconds(spec.simulation_task(spec.cells[0], (), tuple(range(count)))) for count in (1, 64))
    assert few < many < 2 * few
