from __future__ import annotations

import numpy as np
import pytest

from sedyn import selfcheck
from sedyn.arrays import backend
from sweeps import doctor
from tests.sedyn.conftest import pretend_gpu  # noqa: F401 - a fixture
from tests.sedyn.pretend_gpu import DEVICE, Array, draw_on_device

SMALL = ["--size", "60"]


@pytest.fixture
def usable_gpu(monkeypatch, pretend_gpu):  # noqa: F811
    monkeypatch.setattr(backend, "gpu_unusable_because", lambda: None)
    monkeypatch.setattr(backend, "gpu_memory", lambda: (2**33, 2**34))
    monkeypatch.setattr(backend, "gpu_count", lambda: 1)


def test_a_machine_without_a_gpu_is_well_and_told_what_is_missing(tmp_path, capsys, ray_session, monkeypatch):
    monkeypatch.setattr(backend, "gpu_unusable_because", lambda: "cupy is not installed (pip install 'sedyn[gpu]')")
    monkeypatch.setattr(doctor, "NVIDIA_GPUS", tmp_path / "absent")
    assert doctor.main([*SMALL, "--store", str(tmp_path / "stores")]) == 0
    shown = capsys.readouterr().out
    assert "gpu: none found; cupy is not installed (pip install 'sedyn[gpu]'); sweeps run on the CPU" in shown
    assert "ready in" in shown
    assert "a sweep of 2 tasks" in shown
    assert shown.count("differs by") == len(selfcheck.kernels(60, 64))
    assert shown.splitlines()[-1] == "all that is there works"
    assert not list(tmp_path.iterdir())


def test_every_kernel_is_compared_on_a_device(usable_gpu, monkeypatch):
    moved = []
    asarray = backend.asarray
    monkeypatch.setattr(backend, "asarray", lambda array, device: moved.append(device) or asarray(array, device))
    draw_on_device(monkeypatch)
    findings = list(selfcheck.check_kernels("gpu", 60, 256))
    assert {finding.kernel for finding in findings} == set(selfcheck.kernels(60, 64))
    assert all(finding.works and finding.difference < selfcheck.TOLERANCE for finding in findings), findings
    assert "gpu" in moved


def test_a_kernel_that_fails_or_differs_on_a_gpu_is_named(usable_gpu, monkeypatch, tmp_path, capsys):
    matched_normals, mean_response = selfcheck.matched_normals, selfcheck.mean_response

    def on_gpu(array):
        return isinstance(array, Array) and array.device == DEVICE

    def failing(uniforms):
        if on_gpu(uniforms):
            raise RuntimeError("no kernel image is available\nand more")
        return matched_normals(uniforms)

    monkeypatch.setattr(selfcheck, "matched_normals", failing)
    monkeypatch.setattr(
        selfcheck,
        "mean_response",
        lambda curvatures, weight_response: mean_response(curvatures, weight_response) + on_gpu(curvatures),
    )
    answers = {answer.text.partition(": ")[0]: answer for answer in doctor.kernels("gpu", 60)}
    assert answers["sampling"] == ("sampling: RuntimeError: no kernel image is available", False)
    assert not answers["gradient response (replicates together)"].works
    assert sum(not answer.works for answer in answers.values()) == 2


def test_a_gpu_that_is_there_and_unusable_is_a_fault(tmp_path, monkeypatch):
    (tmp_path / "stores" / "0000:00").mkdir(parents=True)
    monkeypatch.setattr(doctor, "NVIDIA_GPUS", tmp_path / "stores")
    monkeypatch.setattr(backend, "gpu_unusable_because", lambda: "cupy finds no CUDA device")
    assert ("gpu: there is one, but cupy finds no CUDA device", False) in list(doctor.devices())


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_a_place_for_stores_is_tried(tmp_path, place):
    location = f"memory://{tmp_path}/stores" if place == "memory" else str(tmp_path / "stores")
    answers = list(doctor.store_access(location))
    assert all(answer.works for answer in answers)
    assert answers[0].text.startswith("write ")


def test_a_place_that_takes_no_store_is_a_fault(tmp_path, capsys, monkeypatch):
    (tmp_path / "stores").write_text("a file")
    for section in ("ray_starts", "kernels"):
        monkeypatch.setattr(doctor, section, lambda *_: iter(()))
    assert doctor.main([*SMALL, "--store", str(tmp_path / "stores")]) == 1
    shown = capsys.readouterr().out
    assert "DOES NOT WORK: " in shown
    assert shown.splitlines()[-1] == "faults: 1; see above"


def test_differences_are_relative_to_the_largest_entry():
    expected = np.array([1.0, -4.0, np.nan])
    assert selfcheck._difference(expected + np.array([0.0, 1e-3, 0.0]), expected) == pytest.approx(2.5e-4)
    assert selfcheck._difference(np.array([1.0, np.nan, np.nan]), expected) == np.inf
