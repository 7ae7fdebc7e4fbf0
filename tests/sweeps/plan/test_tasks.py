from __future__ import annotations

from sweeps.plan import SweepSpec, blocks


def test_blocks_split_at_multiples():
    assert list(blocks([0, 1, 2, 5, 6, 7, 9], 4)) == [(0, 1, 2), (5, 6, 7), (9,)]


def test_tasks_are_named_by_the_axes():
    spec = SweepSpec({"n": 40, "d": 20, "steps": 3}, {"learning_rate": (0.25, 1.0), "activation": ("tanh", "erf")})
    cell = spec.cells[2]
    assert spec.simulation_task(cell, (0, 1), (2, 3)).name == (
        "simulation of n=40 d=20 activation=erf learning_rate=0.25, replicates 2..3"
    )
    assert spec.theory_task(cell, ((0, 1),)).name == "theory of n=40 d=20 activation=erf learning_rate=0.25"
