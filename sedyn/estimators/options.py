"""What an estimator is constructed with: the training fields of `sedyn.Problem`, and some of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, make_dataclass
from typing import Any

import numpy as np

from sedyn.checks import FLAG
from sedyn.estimators.features import random_state, spectrum
from sedyn.model.fields import field, kept_fields
from sedyn.model.problem import TRAINING, Problem

__all__ = ["Options", "training_field"]

_FIELDS = {known.name: known for known in dataclasses.fields(Problem)}
# Where a user's data ask for another default than simulated data.
_DEFAULTS = {"width": 4, "depth": 2, "learning_rate": 0.1, "steps": 50}
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


def _declared(name: str) -> tuple[str, Any, Any]:
    return name, _FIELDS[name].type, training_field(name, _DEFAULTS.get(name, _FIELDS[name].default))


# A field that `Problem` marks as one of training is an option of every estimator from then on.
Training: Any = make_dataclass("Training", map(_declared, TRAINING), eq=False, repr=False)


@dataclass(eq=False, repr=False, kw_only=True)
class Options(Training):
    """Options of every estimator; the constructor keeps them as they are, as scikit-learn asks, and `fit` checks."""

    early_stopping: bool = field(
        True, FLAG, "Keep the weights of the iteration with the least estimated test error, not the last."
    )
    spectrum: str | Sequence[float] | np.ndarray = field(
        "ledoit_wolf",
        spectrum,
        "Of the feature covariance: ``ledoit_wolf`` (shrunk), ``identity``, or an eigenvalue for each feature; or "
        "``modes``, which asks for none and takes the features at hand.",
    )
    standardize: bool = field(
        True, FLAG, "Subtract the mean and divide by the standard deviation, of features and targets."
    )
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

    def _problem(self, **data: Any) -> Problem:
        """Describe the training to the kernels.

        Parameters
        ----------
        **data : object
            The fields of `Problem` that describe the data.

        Returns
        -------
        Problem

        Raises
        ------
        InvalidInput
            If an option is out of range, or contradicts another one or the data.
        """
        return Problem(**{name: getattr(self, name) for name in TRAINING}, **data)
