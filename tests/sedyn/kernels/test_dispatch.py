"""One place chooses between definitions and kernels; either gives the same."""

import re
from contextlib import nullcontext

import numpy as np
import pytest

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.kernels import dispatch
from sedyn.kernels.cpu import serving
from sedyn.kernels.cuda import launch
from sedyn.model.functions import ACTIVATIONS, LOSSES, Activation, Loss
from sedyn.model.registry import Registry

OPERATIONS = [value for value in vars(dispatch).values() if isinstance(value, dispatch.Operation)]
PROBLEMS = {
    "one pass over single precision": ({"n": 700, "d": 500}, {"engine": "dense", "dtype": "float32"}, 1e-5),
    "one pass over integers": ({"n": 900, "d": 500, "features": "rademacher"}, {"engine": "dense"}, 1e-9),
    "classes, biases, skip and residual": (
        {
            **{"n": 700, "d": 500, "outputs": 3, "signals": 3, "labels": "classes", "loss": "softmax"},
            **{"bias": "all", "bias_init": 0.2, "skip": True, "residual": True, "activation": "gelu"},
        },
        {"engine": "dense"},
        1e-9,
    ),
    "wide": ({"n": 300, "d": 200, "width": 33, "steps": 2}, {"engine": "dense"}, 1e-9),
    "deferred": ({"n": 300, "d": 200}, {"engine": "deferred"}, 1e-9),
}


@pytest.fixture
def failing_kernels(monkeypatch):
    """Put a kernel that serves everything and fails in front of the others of each operation."""

    def fail(*args, **kwargs):
        raise RuntimeError("a kernel was called")

    for operation in OPERATIONS:
        monkeypatch.setattr(operation, "_kernels", [(lambda *args, **kwargs: True, fail), *operation._kernels])


@pytest.mark.parametrize(("fields", "options", "tolerance"), PROBLEMS.values(), ids=PROBLEMS)
def test_without_kernels_numbers_are_the_same_to_rounding(fields, options, tolerance, monkeypatch):
    monkeypatch.setattr("sedyn.descent.engines.STACK_BYTES", 0)  # small designs too are passed over by kernels
    problem = Problem(**{"width": 3, "depth": 3, "steps": 5, "batch_fraction": 0.5, **fields})
    runs = []
    for way in (nullcontext(), dispatch.definitions_only()):
        with way:
            runs.append(sedyn.simulate(problem, 1, **options))
    for name in runs[0]:
        np.testing.assert_allclose(runs[1][name], runs[0][name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_without_kernels_the_theory_is_the_same_to_rounding():
    problem = Problem(n=60, d=40, width=3, depth=3, steps=5)
    expected = sedyn.state_evolution(problem, 128, 2, include=("responses",))
    with dispatch.definitions_only():
        found = sedyn.state_evolution(problem, 128, 2, include=("responses",))
    for name in expected:
        # All samples pass through kernels: sums keep digits of their largest entries, spreads of what they are of.
        size = max(1.0, float(np.nanmax(np.abs(expected[name.removesuffix("_stderr")]))))
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=1e-9 * size, err_msg=name)


@pytest.mark.usefixtures("failing_kernels")
@pytest.mark.parametrize(
    "compute",
    [
        lambda: sedyn.simulate(Problem(n=60, d=40, steps=2), 1, engine="dense"),
        lambda: sedyn.simulate(Problem(n=60, d=40, steps=2), 1, engine="deferred"),
        lambda: sedyn.state_evolution(Problem(n=60, d=40, steps=2), 64, 2),
    ],
    ids=["dense", "deferred", "theory"],
)
def test_no_kernel_is_called_where_definitions_alone_are_wanted(compute):
    with pytest.raises(RuntimeError, match="a kernel was called"):
        compute()
    with dispatch.definitions_only():
        compute()
    with pytest.raises(RuntimeError, match="a kernel was called"):
        compute()


def test_every_operation_has_a_kernel():
    assert len(OPERATIONS) == 18
    assert all(operation._kernels for operation in OPERATIONS)


def test_the_kernel_registered_last_is_asked_first():
    operation = dispatch.Operation(lambda x: "definition")
    operation.register(lambda x: x > 0, lambda x: "first")
    operation.register(lambda x: x > 1, lambda x: "second")
    assert [operation(x) for x in (0, 1, 2)] == ["definition", "first", "second"]
    with dispatch.definitions_only():
        assert operation(2) == "definition"


FORMS = [
    (ACTIVATIONS, Activation, "compiled", "functions.py", {"compiled": "elu", "cuda": "tanh_"}),
    (ACTIVATIONS, Activation, "cuda", "network.cu", {"compiled": "tanh", "cuda": "elu"}),
    (LOSSES, Loss, "compiled", "functions.py", {"compiled": "tanh", "cuda": "squared"}),
    (LOSSES, Loss, "cuda", "network.cu", {"compiled": "squared", "cuda": "tanh_"}),
]


@pytest.mark.parametrize(("registry", "entry", "form", "source", "names"), FORMS)
def test_a_form_that_is_not_written_is_refused_when_it_is_named(registry, entry, form, source, names):
    jet = next(iter(registry.values())).jet
    with pytest.raises(
        InvalidInput, match=f"{registry.kind}='new': its {form} form '\\w+' is not in {source}; there: "
    ):
        registry.register("new", entry(jet, **names))
    assert "new" not in registry
    registry.register("new", entry(jet))  # as users do: the array form serves


@pytest.mark.parametrize(("registry", "entry", "form", "source", "names"), FORMS)
def test_a_built_in_without_a_form_is_refused_at_import(registry, entry, form, source, names):
    kernel = {"functions.py": serving, "network.cu": launch}[source]
    pattern, built_in = kernel.FORMS[registry.kind], dict(registry)
    dispatch.require_form(Registry(registry.kind, built_in), form, kernel.NETWORK, pattern)
    incomplete = Registry(registry.kind, {**built_in, "new": entry(next(iter(registry.values())).jet)})
    with pytest.raises(InvalidInput, match=f"'new': its {form} form None is not in {source}"):
        dispatch.require_form(incomplete, form, kernel.NETWORK, pattern)


def test_every_form_in_the_sources_is_named_by_an_entry():
    for registry in (ACTIVATIONS, LOSSES):
        assert {entry.compiled for entry in registry.values()} == known(serving, registry)
        assert {entry.cuda for entry in registry.values()} == known(launch, registry)


def known(kernel, registry):
    """The names of forms in the source of a kernel."""
    return set(re.findall(kernel.FORMS[registry.kind], kernel.NETWORK.read_text()))
