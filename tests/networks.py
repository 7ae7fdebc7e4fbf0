"""Networks for tests, from parts that no problem names."""

import numpy as np

from sedyn.model.functions import ACTIVATIONS, loss_named
from sedyn.model.layers import Beside, Bias, Dense, Elementwise, Residual, Stack
from sedyn.model.network import Network


def plain_network(activation, loss, deep, labels, sample_weights=None):
    """A plain network of given weights and labels, (..., n) for its one output; functions by name, or themselves."""
    activation = ACTIVATIONS[activation] if isinstance(activation, str) else activation
    loss = loss_named(loss) if isinstance(loss, str) else loss
    layers = [layer for weights in deep for layer in (Elementwise(activation), Dense(weights.shape[-1], np.zeros))]
    return Network(Stack(tuple(layers)), loss, tuple(deep), np.expand_dims(labels, -2), sample_weights)


def zeros(fan_in, fan_out, rng):
    """Start weights that a test sets."""
    return np.zeros((fan_in, fan_out))


def drawn_network(rng, n, structure, loss="squared", weighted=True, replicates=()):
    """A network of layers that `structure` describes, every parameter drawn, with pre-activations and n labels.

    `structure` has ``depth`` and ``width``, the names of ``activations``, which alternate from layer to layer,
    ``outputs``, and whether there are ``bias``, ``skip`` and ``residual``.
    """
    known = {"depth": 4, "width": 3, "activations": ("tanh",), "outputs": 1}
    known |= {"bias": False, "skip": False, "residual": False, **structure}
    depth, width, outputs, names = (known[name] for name in ("depth", "width", "outputs", "activations"))
    layers, loss = [], loss_named(loss)
    biases = (Bias(),) if known["bias"] else ()
    for layer in range(depth - 1):
        dense = (Dense(width, zeros),) if layer else ()
        made = Stack((*dense, *biases, Elementwise(ACTIVATIONS[names[layer % len(names)]])))
        layers.append(Residual(made) if layer and known["residual"] else made)
    units = outputs if depth == 1 else width + outputs * known["skip"]
    stack = Stack((*layers, *((Dense(outputs, zeros),) if depth > 1 else ()), *biases))
    stack = Stack((Beside(stack, width),)) if known["skip"] else stack

    def drawn(*shape):
        return rng.standard_normal((*replicates, *shape))

    deep = tuple(drawn(*start.shape) for start in stack.start(units, rng))
    labels = drawn(outputs, n)
    if loss.joint:
        labels = 1.0 * (labels == labels.max(axis=-2, keepdims=True))
    elif loss.binary:
        labels = np.sign(labels)
    weights = rng.integers(0, 3, (*replicates, n)) * 1.0 if weighted else None
    return drawn(units, n), Network(stack, loss, deep, labels, weights)


def assert_same_derivatives(found, expected, **tolerances):
    """Hold `Derivatives` against others, shapes included."""
    assert (found.curvature is None) == (expected.curvature is None)
    assert len(found.deep_gradient) == len(expected.deep_gradient)
    pairs = [(found.loss, expected.loss), (found.gradient, expected.gradient), (found.curvature, expected.curvature)]
    for one, other in [*pairs, *zip(found.deep_gradient, expected.deep_gradient, strict=True)]:
        if other is not None:
            assert one.shape == other.shape
            np.testing.assert_allclose(one, other, **tolerances)
