"""Networks as programs: every kind of layer in every combination by compiled code, and what is left to definitions."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest

import sedyn
from sedyn import Problem
from sedyn.designs.dense import DenseDesign
from sedyn.designs.protocol import Design
from sedyn.designs.stacked import StackedDesign
from sedyn.kernels import dispatch
from sedyn.kernels.cpu.several import SAMPLES as SAMPLES_OF_A_PART
from sedyn.kernels.dispatch import definitions_only
from sedyn.kernels.program import MOST_UNITS, Kind, form_of, no_form_because, program_of
from sedyn.model.architecture import layers_of
from sedyn.model.functions import ACTIVATIONS, loss_named
from sedyn.model.layers import Backward, Bias, Dense, Elementwise, Forward, Layer, Residual, Stack
from sedyn.model.network import Derivatives, Network, differentiate, forward
from tests.networks import assert_same_derivatives, drawn_network, zeros
from tests.sedyn.model.test_losses import MEMBERS

SAMPLES = 203
LOSSES = [*MEMBERS, "softmax"]
STRUCTURES = [
    *({"depth": 1, "bias": bias} for bias in (False, True)),
    {"depth": 2, "bias": True, "skip": True},
    *(
        dict(zip(("bias", "skip", "residual"), each, strict=True))
        for each in itertools.product([False, True], repeat=3)
    ),
]
# Each activation twice, with two others.
PAIRS = list(zip(ACTIVATIONS.built_in, [*ACTIVATIONS.built_in[3:], *ACTIVATIONS.built_in[:3]], strict=True))


def passed(h, network, dtype="float64"):
    """What the compiled passes over a design find, alone and as one of two replicates, and what the definition does."""
    rng = np.random.default_rng(0)
    matrix, weights = rng.standard_normal((SAMPLES, 11)).astype(dtype), rng.standard_normal((h.shape[0], 11))
    design = DenseDesign(matrix, 0.5)
    found = design.samples.descend(weights, network, design.scale, curvature=True)
    other = network._replace(labels=network.labels[:, ::-1])
    both = [(matrix[::-1].copy(), weights[::-1], other), (matrix, weights, network)]
    side_by_side = StackedDesign(np.stack([each[0] for each in both]), design.scale)
    together = side_by_side.descend(np.stack([each[1] for each in both]), stacked(both), curvature=True)
    assert_same_pass(of_replicate(together, 1), found, 1e-12 if dtype == "float64" else 1e-4)
    with definitions_only():
        return found, Design.descend(DenseDesign(matrix.astype(float), 0.5), weights, network, curvature=True)


def stacked(both):
    """Networks side by side."""
    one, two = (each[2] for each in both)
    deep = tuple(map(np.stack, zip(one.deep, two.deep, strict=True)))
    weights = None if one.sample_weights is None else np.stack([one.sample_weights, two.sample_weights])
    return one._replace(deep=deep, labels=np.stack([one.labels, two.labels]), sample_weights=weights)


def of_replicate(found, r):
    """What was found for one of several replicates."""
    trained, (losses, gradient, deep, curvature), products = found
    own = Derivatives(losses[r], gradient[r], tuple(layer[r] for layer in deep), curvature[r])
    return trained[r], own, products[r]


def assert_same_pass(found, expected, tolerance=1e-12):
    scale = max(1.0, np.abs(expected[1].gradient).max(), np.abs(expected[2]).max())
    assert_same_derivatives(found[1], expected[1], rtol=tolerance, atol=tolerance * scale)
    np.testing.assert_allclose(found[0], expected[0], rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(found[2], expected[2], rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_compiled_networks_are_their_definitions(loss, dtype):
    cases = itertools.product(STRUCTURES, [1, 3, 8], [False, True])
    for number, (structure, outputs, weighted) in enumerate(cases, LOSSES.index(loss)):
        structure = {**structure, "outputs": outputs, "activations": PAIRS[number % len(PAIRS)]}
        network = drawn_network(np.random.default_rng(number), SAMPLES, structure, loss, weighted)
        found, expected = passed(*network, dtype)
        assert_same_pass(found, expected, 1e-12 if dtype == "float64" else 1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_samples_without_a_design_are_taken_in_parts_and_replicates_each_by_itself(loss):
    structure = {"bias": True, "skip": True, "outputs": 3, "depth": 3, "activations": PAIRS[0]}
    count = SAMPLES_OF_A_PART + 77
    h, network = drawn_network(np.random.default_rng(0), count, structure, loss, True)
    leading = (2, 3)
    several = np.random.default_rng(1).standard_normal((*leading, *h.shape))
    shared = dispatch.differentiate(several, network, curvature=True)
    assert_same_derivatives(shared, differentiate(several, network), rtol=1e-12, atol=1e-12)
    own = network._replace(deep=tuple(np.stack([layer * r for r in (1, 0.5, 0.1)]) for layer in network.deep))
    assert_same_derivatives(
        dispatch.differentiate(several, own, curvature=True), differentiate(several, own), rtol=1e-12, atol=1e-12
    )
    found = dispatch.forward(several, own.deep, own.layers)
    np.testing.assert_allclose(found, forward(several, own.deep, own.layers), rtol=1e-12, atol=1e-12)
    alone = dispatch.forward(several[1, 2], tuple(layer[2] for layer in own.deep), own.layers)
    np.testing.assert_array_equal(alone, found[1, 2])
    assert dispatch.forward.chosen(several, own.deep, own.layers) is not dispatch.forward.definition


@pytest.mark.parametrize("activations", PAIRS)
def test_two_activations_in_one_network(activations):
    structure = {"bias": True, "skip": True, "residual": True, "outputs": 2, "depth": 5, "activations": activations}
    assert_same_pass(*passed(*drawn_network(np.random.default_rng(0), SAMPLES, structure, "softmax")))


def test_a_residual_layer_of_one_operation_overwrites_nothing():
    rng = np.random.default_rng(0)
    gelu = Elementwise(ACTIVATIONS["gelu"])
    stack = Stack((Residual(Bias()), Residual(Residual(gelu)), Residual(Stack(())), Dense(1, zeros)))
    deep = (rng.standard_normal(3), rng.standard_normal((3, 1)))
    network = Network(stack, loss_named("squared"), deep, rng.standard_normal((1, SAMPLES)))
    assert_same_pass(*passed(rng.standard_normal((3, SAMPLES)), network))


def test_a_program_sets_each_row_once_and_knows_what_it_depends_on():
    for structure in STRUCTURES:
        h, network = drawn_network(np.random.default_rng(0), 4, {**structure, "outputs": 2})
        program = program_of(network.layers, h.shape[0])
        assert [each.shape for each in network.deep] == [*program.shapes]
        known = {*range(program.inputs)}
        for each in program.operations:
            read = {*range(each.source, each.source + each.given)}
            if each.kind == Kind.add:
                read |= {*range(each.place, each.place + each.units)}
            found = {*range(each.target, each.target + each.units)}
            assert read <= known
            assert not found & known
            known |= found
        assert known == {*range(program.rows)}
        tangents = np.broadcast_to(np.eye(len(h))[:, :, None], (len(h), len(h), 4))
        tangents = network.layers.forward(network.deep, Forward(h, tangents), 2).tangents
        reached = [program.reached[row] for row in program.outputs]
        np.testing.assert_array_equal(reached, (tangents != 0).any(axis=-1))


# --- what has no form -----------------------------------------------------------------------------------------------


class Doubled(NamedTuple):
    """A user's kind of layer: each signal twice as large."""

    parameters: int = 0

    def units(self, given):
        return given

    def start(self, given, rng):
        return ()

    def forward(self, parameters, given, order):
        return Forward(2 * given.signals, None if given.tangents is None else 2 * given.tangents)

    def backward(self, parameters, memo, pull):
        return Backward(2 * pull, ())


class DerivedFromBias(Bias):
    """A kind of its own, though it is derived from one that has a form."""

    def forward(self, parameters, given, order):
        return Forward(given.signals + 2 * parameters[0][..., :, None], given.tangents)

    def backward(self, parameters, memo, pull):
        return Backward(pull, (2 * pull.mean(axis=-1),))


class WithoutHash(Doubled):
    """No value that could be kept."""

    __hash__ = None


@pytest.mark.parametrize("layer", [Doubled(), DerivedFromBias(0.5), WithoutHash()])
@pytest.mark.parametrize("engine", ["dense", "deferred"])
def test_a_kind_of_layer_without_a_form_is_left_to_its_definition(layer, engine, monkeypatch):
    monkeypatch.setattr("sedyn.descent.engines.STACK_BYTES", 0)  # small designs too are passed over by kernels
    sedyn.register_hidden("own", lambda parts: Stack((layer, Dense(parts.width, parts.draw))))
    problem = Problem(n=60, d=40, steps=3, hidden="own")
    assert program_of(layers_of(problem), problem.units) is None
    runs = sedyn.simulate(problem, 1, engine=engine)
    assert runs.attrs["engine_reason"] == (
        "asked for; the network by array operations: hidden layer 'own' has no compiled form"
    )
    with definitions_only():
        expected = sedyn.simulate(problem, 1, engine=engine)
    np.testing.assert_allclose(runs.train_error, expected.train_error, rtol=1e-12)


class LooksLikeResidual(NamedTuple):
    """A layer of a user's with the entries of one that has a form."""

    inner: Layer

    parameters = 1

    def units(self, given):
        return given


def test_a_layer_with_the_entries_of_a_known_one_is_not_taken_for_it():
    inner = Dense(2, zeros)
    assert program_of(Stack((Residual(inner),)), 2) is not None
    assert program_of(Stack((LooksLikeResidual(inner),)), 2) is None


def test_a_hidden_layer_of_known_kinds_has_forms():
    sedyn.register_hidden(
        "twice", lambda parts: Stack(2 * (Dense(parts.width, parts.draw), Elementwise(parts.activation)))
    )
    assert no_form_because(Problem(hidden="twice"), "cpu") is None
    assert no_form_because(Problem(hidden="twice"), "gpu") is None


def test_reasons_are_in_the_words_of_the_problem():
    sedyn.register_activation("own", np.sin, np.cos, lambda x: -np.sin(x))
    sedyn.register_loss("own", loss_named("squared").jet)
    own = Elementwise(ACTIVATIONS["own"])
    sedyn.register_hidden("own", lambda parts: Stack((Dense(parts.width, parts.draw), own)))
    classes = {"outputs": 9, "signals": 9, "labels": "classes", "loss": "softmax"}
    reasons = {
        "activation 'own' has no {} form": {"activation": "own"},
        "loss 'own' has no {} form": {"loss": "own"},
        "hidden layer 'own' has no {} form": {"hidden": "own"},
        "more than {most} units in a layer, 40": {"width": 40},
    }
    for device, form in (("cpu", "compiled"), ("gpu", "CUDA")):
        for reason, fields in reasons.items():
            problem, expected = Problem(**fields), reason.format(form, most=MOST_UNITS[device])
            assert no_form_because(problem, device) == expected
            h, deep = np.ones((problem.units, 2)), layers_of(problem).start(problem.units, np.random.default_rng(0))
            network = Network.of(problem, deep, np.ones((problem.outputs, 2)))
            assert form_of(network, len(h), device) is None
        for fields in ({}, {"depth": 1, "width": 1, "activation": "own"}, {"bias": "all", "skip": True}):
            assert no_form_because(Problem(**fields), device) is None
    assert no_form_because(Problem(**classes), "cpu") is None
    assert no_form_because(Problem(**classes), "gpu") == "more than 8 units in a layer, 9"


@pytest.mark.parametrize("engine", ["dense", "deferred"])
def test_the_reason_is_said_only_where_it_is_one(engine):
    assert (
        sedyn.simulate(Problem(n=60, d=40, steps=1, bias="all"), 1, engine=engine).attrs["engine_reason"] == "asked for"
    )
