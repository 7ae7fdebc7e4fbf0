"""Networks that kernels know: one activation between matrices of weights, and one output."""

from __future__ import annotations

from sedyn.model.functions import ACTIVATIONS, Activation
from sedyn.model.layers import Dense, Elementwise, Layer, Stack
from sedyn.model.network import Network

__all__ = ["plain_activation"]


def plain_activation(network: Network) -> Activation | None:
    """Activation of a plain network; of one without layers the identity; None for any other network."""
    layers = _flat(network.layers)
    activations = {layer.activation for layer in layers[::2] if isinstance(layer, Elementwise)}
    alternate = all(isinstance(layer, (Elementwise, Dense)[place % 2]) for place, layer in enumerate(layers))
    if network.labels.shape[-2] != 1 or network.loss.joint or not alternate or len(layers) % 2 or len(activations) > 1:
        return None
    return activations.pop() if activations else ACTIVATIONS["identity"]


def _flat(layer: Layer) -> list[Layer]:
    return [inner for part in layer.layers for inner in _flat(part)] if isinstance(layer, Stack) else [layer]
