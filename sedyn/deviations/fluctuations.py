"""The covariance of what runs show around their theory, as one dataset."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sedyn.arrays import machine
from sedyn.arrays.shapes import Float
from sedyn.checks import SEED, checked, whole
from sedyn.deviations.influence import Covariance, covariance, influences
from sedyn.deviations.inputs import draw_innovations, features_of_each_level
from sedyn.errors import InvalidInput
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.network import has_kink
from sedyn.model.observables import (
    Observable,
    dimension_sizes,
    fluctuating,
    fluctuations_of,
    pad_deep_weights,
    parts_of,
    to_dataset,
)
from sedyn.model.problem import A_PROBLEM, Problem
from sedyn.model.row_averages import ROW_FUNCTIONS
from sedyn.model.seeds import randomization_seeds
from sedyn.theory.inputs import RANDOMIZATIONS, require_samples
from sedyn.theory.memory import in_gigabytes
from sedyn.versions import versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["fluctuations", "fluctuations_memory", "observed_entries", "require_fluctuations"]


@checked(
    problem=A_PROBLEM,
    samples=whole(1, condition="a power of two"),
    randomizations=RANDOMIZATIONS,
    seed=SEED,
)
def fluctuations(problem: Problem, samples: int = 2**12, randomizations: int = 4, seed: int = 0) -> xr.Dataset:
    """Predict how far a run is from its theory: the covariance of sqrt(n) (run - theory) across iterations.

    Parameters
    ----------
    problem : Problem
        Its n and d enter by their ratio only, as for `state_evolution`.
    samples : int, optional
        Representative samples of each randomization, a power of two; of features there are about as many.
    randomizations : int, optional
        Independent randomizations, at least 2; results are their mean, standard errors come from their spread.
    seed : int, optional
        Base seed. The numbers depend on `Problem.theory_key`, `samples`, `randomizations` and this.

    Returns
    -------
    xarray.Dataset
        For `train_error`, `test_error`, `estimated_test_error` and `estimate_minus_test_error` (NaN for a loss whose
        second derivative jumps, as Huber's), `initial_overlap`, `signal_overlap`, `weight_gram`, `row_average`,
        `deep_weights` and, with biases, `biases`: the covariance of sqrt(n) (run - theory), entry by entry, of the
        observable's own dimensions and ``iteration_``; its ``_stderr``; and ``<name>_sample_share``, the part of the
        variance that samples make (features and gradient noise make the rest), NaN where nothing varies. Over n these
        are covariances of a run's deviation from theory at n samples. NaN from a divergence of the theory on.

    Raises
    ------
    InvalidInput
        If an argument is out of range; if the activation has a kink.

    Notes
    -----
    Source: docs/theory.md#influence and docs/theory.md#fluctuation-covariance.

    Examples
    --------
    >>> problem = Problem(n=400, d=200, width=1, depth=1, steps=2)
    >>> predicted = fluctuations(problem, samples=256, randomizations=2)
    >>> predicted.test_error.dims
    ('iteration', 'iteration_')
    """
    require_fluctuations(problem, samples)
    solutions = [_solution(problem, samples, stream) for stream in randomization_seeds(problem, seed, randomizations)]
    arrays: dict[str, np.ndarray] = {}
    observables: dict[str, Observable] = {}
    for name, known in fluctuating(parts_of(problem)).items():
        described = fluctuations_of(name, known)
        observables |= described
        if name not in solutions[0]:
            arrays |= {own: _nothing(problem, one) for own, one in described.items()}
            continue
        total = np.stack([solution[name].total for solution in solutions])
        of_samples = np.stack([solution[name].of_samples for solution in solutions])
        mean = total.mean(axis=0)
        arrays[name] = _own_dims_first(mean)
        arrays[name + "_stderr"] = _own_dims_first(total.std(axis=0, ddof=1) / math.sqrt(randomizations))
        variance = np.moveaxis(np.diagonal(mean), -1, 0)
        part = np.moveaxis(np.diagonal(of_samples.mean(axis=0)), -1, 0)
        varies = variance > NEGLIGIBLE_VARIANCE
        arrays[name + "_sample_share"] = np.divide(part, variance, out=np.full_like(part, np.nan), where=varies)
    return to_dataset(
        problem,
        arrays,
        observables,
        attributes={"samples": samples, "randomizations": randomizations, "seed": seed, **versions()},
    )


# A variance below this is rounding.
NEGLIGIBLE_VARIANCE = 1e-12


def require_fluctuations(problem: Problem, samples: int, field: str = "samples") -> None:
    """Refuse what has no predicted fluctuations, or needs other samples or more memory.

    Parameters
    ----------
    problem : Problem
    samples : int
        As for `fluctuations`.
    field : str, optional
        What a user knows the samples by.

    Raises
    ------
    InvalidInput
        If the activation has a kink, or the samples are too few or too many.
    """
    if has_kink(problem):
        remedy = "has a kink, where a sample's gradient jumps; use a smooth one, for example softplus or gelu"
        raise InvalidInput("activation", problem.activation, remedy)
    require_samples(problem, samples, field)
    needed, there = fluctuations_memory(problem, samples), machine.room("cpu")
    if needed > there:
        raise InvalidInput(field, samples, f"this needs {in_gigabytes(needed, there)}; take fewer, or shrink steps")


def fluctuations_memory(problem: Problem, samples: int) -> int:
    """Predict the bytes that derivatives of all that is observed take, with an adjoint for each at work.

    Parameters
    ----------
    problem : Problem
    samples : int
        As for `fluctuations`.
    """
    levels, features = features_of_each_level(problem, samples)
    rows, q, steps = samples + levels * features, problem.units, problem.steps
    entries = observed_entries(problem)
    parameters = sum(start.size for start in initial_deep_weights(problem))
    kept = 2 * entries * (steps + 1) + 4 * entries * (q * steps + problem.signals)
    kept += steps * q * (2 * q + parameters + 8 * levels)
    return int(8 * rows * kept)


def observed_entries(problem: Problem) -> int:
    """Count the numbers at each iteration whose derivatives are found."""
    q, parameters = problem.units, sum(start.size for start in initial_deep_weights(problem))
    return 4 + q * (2 * q + problem.signals + len(ROW_FUNCTIONS)) + parameters


def _solution(problem: Problem, samples: int, stream: np.random.SeedSequence) -> dict[str, Covariance]:
    """Covariances in one randomization, entries in the shape of their observable."""
    inputs = draw_innovations(problem, samples, stream)
    found, deep = {}, []
    for name, influence in influences(problem, inputs).items():
        entries = covariance(problem, inputs, influence)
        shaped = Covariance(*(part.reshape(*part.shape[:2], *influence.shape) for part in entries))
        if name.startswith("deep_weights"):
            deep.append(shaped)
        elif name.endswith("_error"):
            found[name] = Covariance(*(part[..., 0, 0] for part in shaped))
        else:
            found[name] = shaped
    shapes = [start.shape for start in initial_deep_weights(problem)]
    padded = []
    for parts in zip(*deep, strict=True) if deep else ((), ()):
        own = tuple(part.reshape(*part.shape[:2], *shape) for part, shape in zip(parts, shapes, strict=True))
        padded.append(pad_deep_weights(problem, own, found["weight_gram"].total))
    for name in padded[0]:
        found[name] = Covariance(*(each[name] for each in padded))
    return {name: Covariance(*(_with_all_iterations(problem, part) for part in own)) for name, own in found.items()}


def _with_all_iterations(
    problem: Problem, values: Float[np.ndarray, "s t ..."]
) -> Float[np.ndarray, "iteration iteration_ ..."]:
    """Put NaN where a divergence left no value."""
    missing = problem.steps + 1 - len(values)
    return np.pad(values, [(0, missing)] * 2 + [(0, 0)] * (values.ndim - 2), constant_values=np.nan)


def _own_dims_first(values: Float[np.ndarray, "iteration iteration_ ..."]) -> Float[np.ndarray, "iteration ... _"]:
    """The observable's own dimensions, and the second iteration after them."""
    return np.moveaxis(values, 1, -1)


def _nothing(problem: Problem, known: Observable) -> Float[np.ndarray, "..."]:
    """NaN in the shape of a variable."""
    sizes = dimension_sizes(problem)
    return np.full([sizes[dim] for dim in known.dims], np.nan)
