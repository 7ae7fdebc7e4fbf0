"""sedyn: gradient descent on finite-width multi-layer networks, and its state evolution, side by side.

The public interface is what this module exports; see the README for how it is used.
"""

from sedyn.engines import memory_needed
from sedyn.errors import InvalidInput
from sedyn.features import register_features
from sedyn.functions import register_activation, register_link
from sedyn.problem import Problem
from sedyn.simulation import simulate
from sedyn.state_evolution import state_evolution

__all__ = [
    "InvalidInput",
    "Problem",
    "memory_needed",
    "register_activation",
    "register_features",
    "register_link",
    "simulate",
    "state_evolution",
]
