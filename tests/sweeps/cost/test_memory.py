from __future__ import annotations

from sweeps.cost import largest_memory, memory_of
from tests.sweeps.stores import spec_of


def test_memory_is_predicted_for_the_device():
    integers = spec_of(base={"n": 2000, "d": 2000, "steps": 3, "features": "rademacher"}, engine="dense")
    task, matrix = integers.simulation_task(integers.cells[0], (), (0,)), 2000**2
    assert largest_memory(integers, "gpu") > largest_memory(integers) + 7 * matrix  # floats in place of bytes
    halved = spec_of(base={"n": 2000, "d": 2000, "steps": 3}, dtype="float32", engine="dense")
    assert largest_memory(halved) < 6 * matrix
    assert memory_of(task, "gpu") == largest_memory(integers, "gpu")
    theory = integers.theory_task(integers.cells[0], ((),))
    added = memory_of(theory, "gpu") - memory_of(theory)
    assert added == 8 * 64 * 3 * integers.cells[0].problem.width ** 2  # an adjoint beside each curvature
