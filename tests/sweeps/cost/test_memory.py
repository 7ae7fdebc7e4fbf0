from __future__ import annotations

from sedyn.arrays import backend
from sweeps.cost import largest_memory, memory_of
from tests.sweeps.stores import spec_of


def test_memory_is_predicted_for_the_device(monkeypatch):
    monkeypatch.setattr(backend, "gpu_memory", lambda: (2**40, 2**40))

    def integers(device):
        base = {"n": 2000, "d": 2000, "steps": 3, "features": "rademacher"}
        return spec_of(base=base, engine="dense", device=device)

    spec, matrix = integers("cpu"), 2000**2
    task = spec.simulation_task(spec.cells[0], (), (0,))
    assert largest_memory(integers("gpu")) > largest_memory(spec) + 7 * matrix  # floats in place of bytes
    halved = spec_of(base={"n": 2000, "d": 2000, "steps": 3}, dtype="float32", engine="dense")
    assert largest_memory(halved) < 6 * matrix
    assert memory_of(task, "gpu") == largest_memory(integers("gpu"))
    theory = spec.theory_task(spec.cells[0], ((),))
    added = memory_of(theory, "gpu") - memory_of(theory)
    together = 64 * spec.randomizations  # an adjoint beside each curvature, of all samples
    assert added == 8 * together * 3 * spec.cells[0].problem.width ** 2
