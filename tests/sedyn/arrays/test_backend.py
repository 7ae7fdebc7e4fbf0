"""The kernels on a device that is not the host: what works on the pretend GPU works on cupy."""

import array_api_strict
import numpy as np
import pytest
from scipy import sparse, stats

import sedyn
from sedyn import Problem
from sedyn.arrays import backend
from sedyn.arrays.backend import resolve_device
from sedyn.designs import entries
from sedyn.designs.deferred import DeferredDesign
from sedyn.errors import InvalidInput
from sedyn.kernels.dispatch import definitions_only
from sedyn.model.features import FEATURES, feature_law
from tests.helpers import stream
from tests.sedyn import cupy_interface
from tests.sedyn.pretend_gpu import DeviceGenerator, count_launches, count_transfers, draw_on_device, on_device

# One problem for each way through the kernels.
PROBLEMS = {
    "full batch": {"width": 2, "depth": 3},
    "shuffled logistic with momentum": {
        "width": 3, "depth": 2, "loss": "logistic", "labels": "binary", "batch_fraction": 0.5, "batching": "shuffle",
        "momentum": 0.5, "activation": "gelu", "link": "hermite2",
    },
    "two signals by Stein": {"width": 2, "depth": 2, "activation": "relu", "signals": 2, "combine": "product"},
    "huber, erf": {"width": 2, "depth": 2, "activation": "erf", "link": "erf", "loss": "huber", "batch_fraction": 0.5},
    "correlated features, softplus": {
        "width": 2, "depth": 2, "covariance": "power_law(0.3)", "activation": "softplus", "link": "softplus",
    },
    "student's noise": {"width": 2, "depth": 2, "noise_law": "student_t(5)"},
    "laplace's noise, classes, absolute loss": {
        "width": 2, "depth": 2, "noise_law": "laplace", "labels": "binary", "loss": "absolute(0.5)",
    },
    "flipped classes": {"width": 2, "depth": 2, "noise_law": "flip(0.1)", "labels": "binary", "loss": "logistic"},
    "nesterov, gradient noise, one pass": {
        "width": 2, "depth": 2, "momentum": 0.5, "momentum_form": "nesterov", "temperature": 0.1, "epochs": 1,
        "batching": "one_pass", "deep_learning_rate": 0.3,
    },
    "linear": {"width": 1, "depth": 1, "activation": "identity", "weight_decay": 0.1},
}  # fmt: skip


def assert_same(found, expected):
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_state_evolution_on_another_device(fields):
    problem = Problem(n=400, d=200, steps=4, **fields)
    with definitions_only():  # other libraries' arrays are met by no kernel, and at a kink rounding is magnified
        expected, found = (
            sedyn.state_evolution(problem, 128, 2, include=("responses", "samples"), device=device)
            for device in ("cpu", "gpu")
        )
    assert_same(found, expected)


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("engine", ["dense", "deferred"])
@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_simulation_on_another_device(fields, engine):
    problem = Problem(n=60, d=40, steps=4, **fields)
    theory = sedyn.state_evolution(problem, 128, 2, include=("samples",), device="cpu")
    expected, found = (
        sedyn.simulate(problem, 2, engine=engine, device=device, theory=theory) for device in ("cpu", "gpu")
    )
    assert_same(found, expected)


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("law", ["rademacher", "student_t(5)", "sparse(0.05)"])
def test_other_features_and_fresh_samples_on_another_device(law, dtype):
    problem = Problem(n=60, d=40, steps=3, features=law)
    expected, found = (sedyn.simulate(problem, 2, device=device, dtype=dtype) for device in ("cpu", "gpu"))
    if dtype == "float64":
        assert_same(found, expected)
    else:
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5, err_msg=name)


@pytest.mark.usefixtures("pretend_gpu")
def test_deferred_design_completes_on_another_device():
    designs = [DeferredDesign(9, 7, stream(1), device, capacity=1) for device in ("cpu", "gpu")]
    weights, gradients = np.random.default_rng(0).standard_normal((2, 7)), np.ones((1, 9))
    for design, convert in zip(designs, (np.asarray, on_device), strict=True):
        design.matmul(convert(weights))
        design.rmatmul(convert(gradients))
    expected, found = (design.complete(np.random.default_rng(2)).matrices for design in designs)
    np.testing.assert_allclose(found.get(), expected, atol=1e-12)
    with np.errstate(invalid="ignore"):
        assert np.isnan(designs[1].matmul(on_device(np.full((2, 7), np.inf))).get()).all()


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("steps", [3, 7])
@pytest.mark.parametrize("law", ["gaussian", "rademacher"])
@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_what_a_dense_task_finds_leaves_the_device_once(fields, law, steps, monkeypatch):
    problem = Problem(n=60, d=40, steps=steps, features=law, **fields)
    theory = sedyn.state_evolution(problem, 128, 2, include=("samples",), device="cpu")
    ways = count_transfers(monkeypatch)
    sedyn.simulate(problem, 3, engine="dense", device="gpu", theory=theory)
    assert ways == ["get"]


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("law", ["gaussian", "rademacher"])
def test_problems_side_by_side_on_another_device(law, monkeypatch):
    problems = [
        Problem(n=60, d=40, width=2, steps=3, features=law, noise=noise, learning_rate=rate, batch_fraction=0.5)
        for noise, rate in ((0.1, 0.8), (0.5, 0.3), (0.0, 1.1))
    ]
    monkeypatch.setattr(backend, "gpu_memory", lambda: (2**30, 2**30))  # room for all of them
    ways = count_transfers(monkeypatch)
    found = sedyn.simulate_together([(problem, 2) for problem in problems], device="gpu")
    assert ways == ["get"]
    for problem, runs in zip(problems, found, strict=True):
        assert_same(runs, sedyn.simulate(problem, 2, device="cpu"))


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("steps", [3, 7])
def test_what_a_deferred_task_finds_leaves_the_device_once(steps, monkeypatch):
    ways = count_transfers(monkeypatch)
    sedyn.simulate(Problem(n=60, d=40, steps=steps), 3, engine="deferred", device="gpu")
    assert ways == ["get"]


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("engine", ["dense", "deferred"])
@pytest.mark.parametrize("fields", PROBLEMS.values(), ids=PROBLEMS)
def test_nothing_is_launched_for_a_replicate_by_itself(fields, engine, monkeypatch):
    launches, problem = count_launches(monkeypatch), Problem(n=60, d=40, steps=3, **fields)
    monkeypatch.setattr(backend, "gpu_memory", lambda: (2**30, 2**30))  # room for all of them
    counts = []
    for replicates in (2, 3, 11):
        launches.clear()
        sedyn.simulate(problem, replicates, engine=engine, device="gpu")
        counts.append(len(launches))
    assert counts == [counts[0]] * 3


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize("steps", [3, 7])
def test_what_control_flow_needs_leaves_the_device_too(steps, monkeypatch):
    """Moments for the theory's small matrices, once a step."""
    problem, ways = Problem(n=60, d=40, steps=steps), count_transfers(monkeypatch)
    sedyn.state_evolution(problem, 128, 2, include=("samples",), device="gpu")
    assert ways == ["get"] * 2 * (steps + 1)  # of two randomizations side by side, and of both together


@pytest.mark.usefixtures("pretend_gpu")
@pytest.mark.parametrize(("engine", "law"), [("dense", "rademacher"), ("dense", "student_t(5)")])
def test_a_device_draws_its_own_numbers_by_replicate(engine, law, monkeypatch):
    draw_on_device(monkeypatch)
    monkeypatch.setattr(entries, "ENTRIES_PER_DEVICE_DRAW", 17 * 40)
    problem = Problem(n=60, d=40, steps=3, features=law)
    runs = [sedyn.simulate(problem, which, engine=engine, device="gpu", dtype="float32") for which in ([0, 1], [1])]
    assert_same(runs[0].sel(replicate=[1]), runs[1])
    assert (runs[0].train_error.sel(replicate=0) != runs[0].train_error.sel(replicate=1)).all()
    on_host = sedyn.simulate(problem, [1], engine=engine, device="cpu", dtype="float32")
    assert (on_host.train_error != runs[1].train_error).all()


# Normals are counted, and the same on every device.
LAWS = ["rademacher", "uniform", "laplace", "student_t(5)", "sparse(0.02)", "sparse(0.3)", "exponential"]


@pytest.mark.parametrize("law", LAWS)
def test_laws_drawn_on_a_device_are_those_drawn_on_the_host(law):
    drawn = feature_law(law)
    shape = (200, 200)
    found = drawn.device_draw(DeviceGenerator(np.random.SeedSequence(1), convert=np.asarray), shape)
    expected = drawn.draw(np.random.default_rng(2), shape)
    expected = expected.toarray() if sparse.issparse(expected) else expected
    assert found.shape == shape
    assert found.dtype == np.float64
    assert stats.ks_2samp(found.ravel(), expected.ravel()).pvalue > 1e-3 / len(LAWS)


def test_every_law_of_the_package_can_be_drawn_on_a_device():
    assert {law.partition("(")[0] for law in LAWS} == {name for name in FEATURES if FEATURES[name].device_draw}


@pytest.mark.usefixtures("pretend_gpu")
def test_the_pretend_device_refuses_what_a_gpu_would():
    x = on_device(np.ones((2, 2)))
    xp = backend.array_namespace(x)
    for mistake in (
        lambda: np.sqrt(x),
        lambda: np.asarray(x),
        lambda: x + np.ones((2, 2)),
        lambda: x + array_api_strict.ones((2, 2)),
        lambda: x.__setitem__((0, ...), np.ones(2)),
        lambda: xp.sum(x, axes=0),
        lambda: x.to_device,
        lambda: xp.from_dlpack(x),
        lambda: range(10)[xp.astype(x[0, 0], xp.int64)],
    ):
        with pytest.raises((RuntimeError, ValueError, TypeError, AssertionError)):
            mistake()


def test_every_name_of_cupy_that_the_package_uses_was_seen_in_cupy():
    assert sorted(cupy_interface.names_in_package()) == cupy_interface.load()["taken by sedyn"]


def test_table_of_cupy_is_true():
    pytest.importorskip("cupy", reason="cupy is not installed; its table was made where it is")
    actual, table = cupy_interface.read_cupy(), cupy_interface.load()
    if actual["versions"] == table["versions"]:
        assert actual == table
    for kind in ("functions", "generator"):
        assert set(table[kind]) <= set(actual[kind])


def test_missing_gpu_is_one_clear_line():
    if backend.gpu_unusable_because() is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(InvalidInput, match=r"device='gpu': .*; use device=cpu or device=auto"):
        resolve_device("gpu")
    assert resolve_device("auto") == "cpu"
