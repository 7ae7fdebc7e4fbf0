"""Networks for tests, from parts that no problem names."""

import numpy as np

from sedyn.model.architecture import plain_layers
from sedyn.model.functions import ACTIVATIONS, loss_named
from sedyn.model.network import Network


def plain_network(activation, loss, deep, labels, sample_weights=None):
    """A plain network of given weights and labels, (..., n) for its one output; functions by name, or themselves."""
    activation = ACTIVATIONS[activation] if isinstance(activation, str) else activation
    loss = loss_named(loss) if isinstance(loss, str) else loss
    layers = plain_layers(activation, deep[0].shape[-2] if deep else 1, len(deep) + 1)
    return Network(layers, loss, tuple(deep), np.expand_dims(labels, -2), sample_weights)
