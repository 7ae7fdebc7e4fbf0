"""sedyn: gradient descent on finite-width multi-layer networks, and its state evolution, side by side.

The public interface is what this module exports; see the README for how it is used.
"""

import sys
from typing import Any

if sys.platform == "win32":
    raise ImportError("sedyn runs on Linux and macOS; on Windows, run it in WSL (wsl --install)")

from sedyn.descent.engines import memory_needed
from sedyn.descent.simulation import simulate, simulate_together
from sedyn.deviations.fluctuations import fluctuations
from sedyn.errors import InvalidInput
from sedyn.estimate.tracking import track
from sedyn.model.features import register_features
from sedyn.model.functions import register_activation, register_link, register_loss
from sedyn.model.layers import register_hidden
from sedyn.model.noise import register_noise
from sedyn.model.problem import Problem
from sedyn.theory.online import online_limit
from sedyn.theory.state_evolution import state_evolution

__all__ = [
    "InvalidInput",
    "NetworkClassifier",
    "NetworkRegressor",
    "NetworkSearch",
    "Problem",
    "fluctuations",
    "memory_needed",
    "online_limit",
    "register_activation",
    "register_features",
    "register_hidden",
    "register_link",
    "register_loss",
    "register_noise",
    "simulate",
    "simulate_together",
    "state_evolution",
    "track",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from sedyn.versions import versions

        return versions()["sedyn_version"]
    # Simulation and theory do not need scikit-learn; who asks for an estimator waits for its import, and nobody else.
    if name in ("NetworkClassifier", "NetworkRegressor", "NetworkSearch"):
        from sedyn import estimators

        return getattr(estimators, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
