"""CUDA kernels without a GPU: compiled for two of them, and compiled for the host and run there against their twins."""

import importlib.util
import itertools
import shutil
import subprocess

import numpy as np
import pytest

import sedyn
from sedyn.arrays import backend, normals
from sedyn.kernels.cuda import descent, launch, paths, points, rows
from sedyn.kernels.dispatch import definitions_only, differentiate, mean_response
from sedyn.kernels.program import MOST_UNITS, program_of
from sedyn.model.functions import ACTIVATIONS, LOSSES, Activation
from tests.networks import assert_same_derivatives, drawn_network, plain_network
from tests.sedyn.model.test_losses import MEMBERS
from tests.sedyn.model.test_network import sample_network

NAMES = list(itertools.product(ACTIVATIONS.built_in, MEMBERS))
EVERYTHING = {"bias": True, "skip": True, "residual": True, "outputs": 3, "activations": ("gelu", "tanh")}


def network_macros(structure, loss="logistic", weighted=True, curvature=True):
    """What the network's source is compiled for."""
    h, network = drawn_network(np.random.default_rng(0), 1, structure, loss)
    return launch.macros(program_of(network.layers, len(h)), network.loss, weighted=weighted, curvature=curvature)


def descent_macros(structure, number, warps, networks, columns, vector, tile, cluster=1, full=1, side=1):
    """What the source of a pass over designs is compiled for."""
    lag = int(networks > 0)
    own = descent.Cut(cluster, warps, networks, 1, side, columns, vector, full, tile, 1 + 2 * lag, lag, 1, 1)
    return network_macros(structure) | {"NUMBER": number, "SCALED": full} | own.macros


ADVANCE = {"NUMBER": "float", "INPUTS": 3, "PARAMETERS": 12, "NESTEROV": 0, "LEARNS": 1, "KICKED": 0}
SOURCES = {
    "network": (launch.NETWORK, network_macros({"activations": ("gelu",)})),
    "network, one layer": (launch.NETWORK, network_macros({"depth": 1}, "huber", weighted=False, curvature=False)),
    "network, wide": (launch.NETWORK, network_macros({"width": 8, "depth": 3})),
    "network, everything": (launch.NETWORK, network_macros(EVERYTHING, "softmax")),
    "normals": (normals.CUDA, {"NUMBER": "float"}),
    "response": (launch.RESPONSE, {"WIDTH": 4, "ITERATIONS": 4}),
    "rows": (rows.ROWS, {"UNITS": 3, "SIGNALS": 1, "THREADS": 256}),
    "rows, wide": (rows.ROWS, {"UNITS": 8, "SIGNALS": 4, "THREADS": 32}),
    "points": (points.POINTS, {"DIMENSIONS": 4, "THREADS": points.POINTS_THREADS}),
    "points, of many dimensions": (points.POINTS, {"DIMENSIONS": 16, "THREADS": points.POINTS_THREADS}),
    "scores of shifts": (paths.SPREAD, {"THREADS": paths.SCORES_BLOCK}),
    "advance": (paths.ADVANCE, ADVANCE),
    "advance, with everything": (paths.ADVANCE, ADVANCE | {"NESTEROV": 1, "KICKED": 1, "NUMBER": "double"}),
    "descent": (descent.DESCEND, descent_macros({"depth": 3}, "float", 4, 4, 8, 4, 4)),
    "descent, of few features": (descent.DESCEND, descent_macros({"depth": 3}, "double", 4, 0, 2, 2, 32, side=2)),
    "descent, wide": (descent.DESCEND, descent_macros({"width": 8, "depth": 3}, "double", 16, 4, 2, 1, 2)),
    "descent, in clusters": (descent.DESCEND, descent_macros(EVERYTHING, "float", 16, 4, 8, 4, 1, cluster=8, full=0)),
}


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize(("source", "macros"), SOURCES.values(), ids=SOURCES)
def test_kernels_compile_for_gpus(source, macros, architecture, tmp_path):
    if macros.get("CLUSTER", 1) > 1 and architecture < descent.CLUSTERED_ARCHITECTURE:
        pytest.skip("it has no clusters")
    if importlib.util.find_spec("cupy"):
        from cupy.cuda import nvrtc

        program = nvrtc.createProgram(backend.cuda_source(source, **macros), source.name, [], [])
        nvrtc.compileProgram(program, [f"-arch=sm_{architecture}"])
        assert len(nvrtc.getCUBIN(program)) > 1000
    elif shutil.which("nvcc"):
        code, cubin = tmp_path / "kernel.cu", tmp_path / "kernel.cubin"
        code.write_text(backend.cuda_source(source, **macros))
        options = ["-cubin", f"-arch=sm_{architecture}", "--Werror=all-warnings"]
        subprocess.run(["nvcc", *options, "-o", cubin, code], check=True, timeout=120)
        assert cubin.stat().st_size > 1000
    else:
        pytest.skip("no CUDA compiler: neither cupy's nor nvcc")


def assert_same(found, expected):
    scale = max(1.0, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * scale)


def compare(on_host, structure, loss, samples=200, replicates=(), weighted=True, curvature=True, seed=0):
    h, network = drawn_network(np.random.default_rng(seed), samples, structure, loss, weighted, replicates)
    expected = differentiate(h, network, curvature=curvature)
    found = on_host(differentiate, h, network, curvature=curvature)
    scale = max(1.0, np.abs(expected.gradient).max(), np.abs(expected.curvature).max() if curvature else 0.0)
    assert_same_derivatives(found, expected, rtol=1e-12, atol=1e-13 * scale)


@pytest.mark.parametrize(("activation", "loss"), NAMES)
def test_network_kernel_has_every_activation_and_loss(on_host, activation, loss):
    compare(on_host, {"activations": (activation,), "width": 2, "depth": 3}, loss)


@pytest.mark.parametrize(
    ("width", "depth"), [(1, 1), (1, 2), (2, 2), (3, 4), (4, 3), (5, 2), (6, 3), (7, 2), (8, 3), (2, 5)]
)
def test_network_kernel_has_every_width_and_depth(on_host, width, depth):
    compare(on_host, {"activations": ("gelu",), "width": width, "depth": depth}, "squared", seed=width)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("curvature", [False, True])
@pytest.mark.parametrize("replicates", [(), (3,), (2, 2)])
def test_network_kernel_with_and_without(on_host, weighted, curvature, replicates):
    compare(on_host, EVERYTHING, "softmax", 50, replicates, weighted, curvature)


# Every two of these meet in one network: bias, skip, residual, outputs, activations and loss.
NETWORKS = [
    ({"bias": False, "skip": False, "residual": True, "outputs": 1, "activations": ("erf", "relu")}, "absolute(0.3)"),
    ({"bias": True, "skip": False, "residual": False, "outputs": 2, "activations": ("silu",)}, "softmax"),
    ({"bias": False, "skip": True, "residual": False, "outputs": 3, "activations": ("tanh", "identity")}, "huber"),
    ({"bias": True, "skip": True, "residual": True, "outputs": 1, "activations": ("gelu", "softplus")}, "logistic"),
    ({"bias": False, "skip": True, "residual": True, "outputs": 2, "activations": ("sigmoid",)}, "squared"),
    ({"bias": True, "skip": True, "residual": False, "outputs": 5, "activations": ("tanh", "erf")}, "softmax"),
    ({"bias": False, "skip": False, "residual": False, "outputs": 8, "activations": ("gelu",)}, "softmax"),
    (
        {"bias": True, "skip": False, "residual": True, "outputs": 4, "activations": ("relu", "tanh", "gelu")},
        "huber(2)",
    ),
    ({"bias": True, "depth": 1, "outputs": 3}, "softmax"),
    ({"bias": False, "depth": 1, "outputs": 2}, "absolute(1)"),
    ({"bias": True, "skip": True, "depth": 2, "outputs": 2}, "logistic"),
]


@pytest.mark.parametrize(("structure", "loss"), NETWORKS)
def test_network_kernel_has_every_kind_of_layer(on_host, structure, loss):
    compare(on_host, structure, loss)


def test_network_kernel_with_several_samples_a_thread(on_host, monkeypatch):
    monkeypatch.setattr(launch, "MOST_THREADS", 256)
    compare(on_host, {"bias": True, "outputs": 2}, "huber", samples=1000)


def test_network_kernel_of_extreme_samples(on_host):
    h = np.array([[np.nan, np.inf, -np.inf, 700.0, -700.0, 0.0]])
    for activation, loss in [
        ("tanh", "logistic"),
        ("softplus", "huber"),
        ("relu", "squared"),
        ("gelu", "logistic"),
        ("erf", "absolute(2)"),
    ]:
        arguments = (h, plain_network(activation, loss, (np.full((1, 1), 40.0),), np.ones(6)))
        with np.errstate(all="ignore"):
            with definitions_only():  # kernels of a CPU leave them where zero meets infinity
                expected = differentiate(*arguments)
            found = on_host(differentiate, *arguments)
        np.testing.assert_allclose(found.loss, expected.loss, rtol=1e-12)
        np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-12, atol=1e-300)
        np.testing.assert_allclose(found.curvature, expected.curvature, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("count", [1, 700])
def test_numbers_drawn_by_a_kernel_are_those_of_the_host(on_host, count, monkeypatch):
    keys, places = (np.arange(1, 4, dtype=np.uint64) * np.uint64(prime) for prime in (2**61 - 1, 2**40 - 87))
    monkeypatch.setattr(backend, "asarray", lambda array, device: array)
    monkeypatch.setattr(backend, "empty", lambda shape, device, dtype="float64": np.full(shape, 0, dtype))
    expected = normals.random_words(keys, places, count), normals.standard_normals(keys, places, count)
    monkeypatch.setattr(backend, "launches", lambda device: device == "gpu")
    np.testing.assert_array_equal(on_host(normals.random_words, keys, places, count, "gpu"), expected[0])
    for dtype in ("float64", "float32"):
        found = on_host(normals.standard_normals, keys, places, count, dtype, "gpu")
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected[1], rtol=0, atol={"float64": 1e-14, "float32": 5e-7}[dtype])


@pytest.mark.parametrize("width", range(1, MOST_UNITS["gpu"] + 1))
def test_response_kernel_has_every_width(on_host, width):
    compare_responses(on_host, 13, width, 40)


@pytest.mark.parametrize("iterations", [1, 2, 8, 9, 10])
@pytest.mark.parametrize("replicates", [(), (3,)])
def test_response_kernel_of_few_iterations(on_host, iterations, replicates, monkeypatch):
    monkeypatch.setattr(launch, "ADJOINTS_PER_CHUNK", 1)
    compare_responses(on_host, iterations, 2, 150, replicates)


def compare_responses(on_host, iterations, width, samples, replicates=()):
    rng = np.random.default_rng(iterations)
    curvatures = rng.standard_normal((*replicates, iterations + 2, width, width, samples)) / width
    curvatures = (curvatures + np.swapaxes(curvatures, -3, -2))[..., :iterations, :, :, :]  # a past, not all of it
    weight_response = rng.standard_normal((*replicates, iterations, iterations, width, width)) / iterations
    weight_response[..., *np.triu_indices(iterations), :, :] = 0
    assert_same(on_host(mean_response, curvatures, weight_response), mean_response(curvatures, weight_response))


@pytest.mark.parametrize(
    "compute",
    [
        lambda problem: sedyn.state_evolution(problem, 256, 2, include=("responses",), device="cpu"),
        lambda problem: sedyn.simulate(problem, 2, engine="deferred", device="cpu"),
    ],
    ids=["state evolution", "simulation"],
)
@pytest.mark.parametrize(
    "fields", [{}, {"bias": "all", "skip": True, "outputs": 3, "signals": 3, "labels": "classes", "loss": "softmax"}]
)
def test_a_whole_computation_through_the_kernels(on_host, compute, fields):
    problem = sedyn.Problem(n=60, d=40, width=2, depth=3, steps=10, batch_fraction=0.5, **fields)
    expected, found = compute(problem), on_host(compute, problem)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-11, err_msg=name)


def test_kernels_leave_alone_what_they_do_not_have(monkeypatch):
    h, deep = sample_network(np.random.default_rng(0), 2, 2, 5)
    wide, wide_deep = sample_network(np.random.default_rng(0), MOST_UNITS["gpu"] + 1, 2, 5)
    own = Activation(ACTIVATIONS["tanh"].jet)
    monkeypatch.setattr(backend, "on_cuda", lambda x: True)
    monkeypatch.delattr(backend, "cuda_kernel")
    tanh, squared, y = ACTIVATIONS["tanh"], LOSSES["squared"], np.ones(5)
    assert differentiate.chosen(h, plain_network(tanh, squared, deep, y)) is launch.differentiate
    everything = drawn_network(np.random.default_rng(0), 5, EVERYTHING, "softmax")
    assert differentiate.chosen(*everything) is launch.differentiate
    for arguments in (
        (h, plain_network(own, squared, deep, y)),
        (wide, plain_network(tanh, squared, wide_deep, y)),
        (h.astype(np.float32), plain_network(tanh, squared, deep, y)),
    ):
        assert differentiate.chosen(*arguments) is not launch.differentiate
    for shape, served in ((2, 3, 3), True), ((2, MOST_UNITS["gpu"] + 1, MOST_UNITS["gpu"] + 1), False):
        chosen = mean_response.chosen(np.zeros((*shape, 3)), np.zeros((2, *shape)))
        assert (chosen is launch.mean_response) == served
