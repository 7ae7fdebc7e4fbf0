"""What an estimator is constructed with: the training fields of `sedyn.Problem`, and some of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from typing import Any

import numpy as np

from sedyn.checks import COUNT, FLAG, Check, optional
from sedyn.errors import InvalidInput, require_flag, require_one_of
from sedyn.estimators.features import random_state, spectrum
from sedyn.model.fields import field, kept_fields
from sedyn.model.problem import TRAINING, Problem

__all__ = ["AUTO", "Options", "training_field"]

AUTO = "auto"
_FIELDS = {known.name: known for known in dataclasses.fields(Problem)}
_POSITIONAL = ("width", "depth")


def training_field(name: str, default: Any) -> Any:
    """Declare a field as `Problem` does, with another default.

    Parameters
    ----------
    name : str
        One of `sedyn.model.problem.TRAINING`.
    default : object

    Returns
    -------
    dataclasses.Field
    """
    return dataclasses.field(default=default, metadata=_FIELDS[name].metadata, kw_only=name not in _POSITIONAL)


def _or_auto(check: Check | None) -> Check | None:
    """Let a value be left to the fit; others pass their own check."""
    return None if check is None else lambda field, value: value if _is_auto(value) else check(field, value)


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def _own(name: str, default: Any, type_: str, words: str, check: Check | None = None) -> tuple[str, Any, Any]:
    """Declare a training field that an estimator may also leave open."""
    known = _FIELDS[name]
    metadata = {**known.metadata, "check": check or _or_auto(known.metadata["check"]), "description": words}
    return name, type_, dataclasses.field(default=default, metadata=metadata, kw_only=True)


def _of_estimate(field: str, value: Any) -> Any:
    """Check what is to be estimated, and how."""
    if isinstance(value, str):
        return require_one_of(field, value, ("exact", "last"))
    return require_flag(field, value)


# Where a user's data ask for more, or for another default, than simulated data.
_OPEN = {
    "learning_rate": _own(
        "learning_rate",
        AUTO,
        "float | Sequence[float] | str",
        "Of the mean loss; ``auto``: `sedyn.estimators.rates.AUTO_SHARE` over the largest curvature of the start.",
    ),
    "momentum": _own(
        "momentum",
        AUTO,
        "float | str",
        "In [0, 1); ``auto``: t/(t + 3) at iteration t in Nesterov's form, with ``learning_rate='auto'``, else 0.",
    ),
    "weight_decay": _own(
        "weight_decay",
        AUTO,
        "float | str",
        "Not negative; ``auto``: with ``learning_rate='auto'``, a linear model inside and outputs that start at zero, "
        "that of the linear model of least leave-one-out error, from which training begins, and of the linear units "
        "alone; else 0.",
    ),
    "steps": _own(
        "steps",
        None,
        "int | None",
        "Gradient-descent steps; None: until the estimate has turned, see `patience` and `max_steps`.",
        optional(COUNT),
    ),
}
_DEFAULTS = {"width": 4, "depth": 2, "skip": True, "deep_init": "zero"}


def _declared(name: str) -> tuple[str, Any, Any]:
    if name in _OPEN:
        return _OPEN[name]
    known = _FIELDS[name]
    return name, known.type, training_field(name, _DEFAULTS.get(name, known.default))


# A field that `Problem` marks as one of training is an option of every estimator from then on.
Training: Any = make_dataclass("Training", map(_declared, TRAINING), eq=False, repr=False)


@dataclass(eq=False, repr=False, kw_only=True)
class Options(Training):
    """Options of every estimator; the constructor keeps them as they are, as scikit-learn asks, and `fit` checks."""

    estimate: bool | str = field(
        True,
        _of_estimate,
        "Of the test error: True: by exact leave-one-out where that takes less than a second or so, else from one run; "
        "``exact``: always so; ``last``: at the last iteration alone; False: none.",
    )
    max_steps: int = field(1000, COUNT, "Steps at most, where `steps` leaves their number open.")
    patience: int = field(
        150,
        COUNT,
        "Steps without a lower estimate after which training ends; or half of those up to the lowest, if that is more.",
    )
    early_stopping: bool = field(
        True,
        FLAG,
        "Keep the weights of the iteration with the least estimated test error, not the last; those of the linear "
        "model that training begins with, if none is clearly lower.",
    )
    fit_intercept: bool = field(
        True,
        FLAG,
        "Whether units have biases, unless `bias` says which; where training begins with no linear model, outputs "
        "start at the mean of the targets or at the prior log-odds.",
    )
    spectrum: str | Sequence[float] | np.ndarray = field(
        "modes",
        spectrum,
        "What the estimate knows of the features: ``modes``, those at hand; or the spectrum of their covariance, "
        "``ledoit_wolf`` (shrunk), ``identity``, or an eigenvalue for each feature.",
    )
    standardize: bool = field(
        True, FLAG, "Subtract the mean and divide by the standard deviation, of features and targets."
    )
    warm_start: bool = field(False, FLAG, "Begin with the weights of the fit before, where there is one.")
    verbose: bool = field(False, FLAG, "Whether long fits say how far they are, on standard output.")
    random_state: int | np.random.RandomState | None = field(
        None, random_state, "Of starting weights and mini-batches."
    )

    def _check(self) -> None:
        """Refuse an option out of range; what it must have to do with the data is for those who meet them.

        Raises
        ------
        InvalidInput
            Naming the option.
        """
        kept_fields(self)

    def _begins_linear(self, problem: Problem) -> bool:
        """Whether training begins at the solution of the linear model inside."""
        linear_inside = problem.skip or problem.depth == 1
        at_zero = problem.deep_init == "zero" and problem.bias_init == 0
        return _is_auto(self.weight_decay) and _is_auto(self.learning_rate) and linear_inside and at_zero

    @property
    def _accelerated(self) -> bool:
        """Whether momentum is that of `sedyn.estimators.rates.updates_of_fit`."""
        return _is_auto(self.momentum) and _is_auto(self.learning_rate)

    def _problem(self, **data: Any) -> Problem:
        """Describe the training to the kernels, with learning rate 1 where it is open.

        Parameters
        ----------
        **data : object
            The fields of `Problem` that describe the data; and of those of training what the data decide.

        Returns
        -------
        Problem

        Raises
        ------
        InvalidInput
            If an option is out of range, or contradicts another one or the data.
        """
        given = {name: getattr(self, name) for name in TRAINING}
        if _is_auto(self.learning_rate):
            given["learning_rate"] = 1.0
        for name in ("momentum", "weight_decay"):
            if _is_auto(given[name]):
                given[name] = 0.0
        if self.steps is None:
            if self.epochs is not None:
                raise InvalidInput("epochs", self.epochs, "needs a number of steps, which share the epochs; set steps")
            given["steps"] = self.max_steps
        if self.depth == 1:  # a linear model already, with a unit for each output
            given |= {"width": data["outputs"], "skip": False}
        if self.fit_intercept and self.bias == "none":
            given["bias"] = "all"
        return Problem(**(given | data))
