"""Names, dimensions and words of everything that simulation and theory report: the schema of their datasets.

Simulation and theory use the same names for the same quantity, so ``runs - theory`` aligns; whoever stores datasets
reads shapes here before anything has run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float, Shaped
from sedyn.model.architecture import places
from sedyn.model.network import DeepWeights
from sedyn.model.problem import Problem
from sedyn.model.row_averages import ROW_FUNCTIONS

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "COMPARED",
    "HALVES",
    "INCLUDED",
    "PARTS",
    "PREDICTED",
    "PROBABILITIES",
    "SCALES",
    "SIMULATED",
    "Observable",
    "beside_theory",
    "brought_by",
    "coordinates_of",
    "dimension_sizes",
    "fluctuating",
    "fluctuations_beside_theory",
    "fluctuations_of",
    "numbers_in",
    "of_halves",
    "pad_deep_weights",
    "parts_of",
    "predicted",
    "quantiles",
    "simulated",
    "stack_iterations",
    "stack_records",
    "to_dataset",
    "until_divergence",
]


class Observable(NamedTuple):
    """One variable of a dataset.

    Attributes
    ----------
    dims : tuple of str
        Dimensions after the replicate (simulation) or alone (theory).
    long_name : str
        What a plot's axis says.
    units : str
        ``1`` where the variable has none.
    """

    dims: tuple[str, ...]
    long_name: str
    units: str = "1"


_ERRORS = {
    "train_error": Observable(("iteration",), "training error", "response^2"),
    "test_error": Observable(("iteration",), "test error", "response^2"),
}
_ERROR_RATES = {
    "train_error_rate": Observable(("iteration",), "training error rate"),
    "test_error_rate": Observable(("iteration",), "test error rate"),
}
_BIASES = {"biases": Observable(("iteration", "bias_layer", "fan_out"), "biases")}
_WEIGHTS = {
    "initial_overlap": Observable(
        ("iteration", "neuron", "neuron_"), "overlap of first-layer weights and initialization"
    ),
    "signal_overlap": Observable(("iteration", "neuron", "index"), "overlap of first-layer weights and signal"),
    "weight_gram": Observable(("iteration", "neuron", "neuron_"), "Gram matrix of first-layer weights"),
    # Predicted where the spectrum of the features is the same for every d.
    "row_average": Observable(("iteration", "function", "neuron"), "average over first-layer rows"),
    "deep_weights": Observable(("iteration", "layer", "fan_in", "fan_out"), "deeper weights"),
}
_LAW_OF_ROWS = {
    "init_coefficient": Observable(("iteration", "neuron", "neuron_"), "initialization carried by a first-layer row"),
    "signal_coefficient": Observable(("iteration", "neuron", "index"), "signal carried by a first-layer row"),
    "noise_covariance": Observable(("iteration", "neuron", "neuron_"), "conditional covariance of a first-layer row"),
}
_QUANTILES = {
    "pre_activation_quantiles": Observable(
        ("iteration", "neuron", "probability"), "quantiles of training pre-activations"
    ),
}
_SIMULATED_ONLY = {
    "test_error_stderr": Observable(("iteration",), "standard error of the average over fresh data", "response^2"),
    "estimated_test_error": Observable(("iteration",), "test error estimated from training data", "response^2"),
}
_ERROR_RATES_SIMULATED_ONLY = {
    "test_error_rate_stderr": Observable(("iteration",), "standard error of the average over fresh data"),
    "estimated_test_error_rate": Observable(("iteration",), "test error rate estimated from training data"),
}


def _with_standard_errors(observables: Mapping[str, Observable]) -> dict[str, Observable]:
    """Add to each observable the standard error that the solver of the theory reports for it."""
    return {
        name + suffix: observable._replace(long_name=prefix + observable.long_name)
        for name, observable in observables.items()
        for suffix, prefix in (("", ""), ("_stderr", "standard error of the solver: "))
    }


SIMULATED: dict[str, Observable] = {**_ERRORS, **_SIMULATED_ONLY, **_WEIGHTS}
"""What every simulation reports; see `simulated`."""
PREDICTED: dict[str, Observable] = _with_standard_errors({**_ERRORS, **_WEIGHTS, **_LAW_OF_ROWS, **_QUANTILES})
"""What every solution of the theory reports; see `predicted`."""


class Part(NamedTuple):
    """What a problem may have that adds variables to its datasets.

    Attributes
    ----------
    field : str
        The field of the problem that decides.
    has : callable
        Whether a value of the field brings the part.
    simulated, predicted : dict of str to Observable
        What simulations and solutions of the theory have besides.
    """

    field: str
    has: Callable[[str], bool]
    simulated: dict[str, Observable]
    predicted: dict[str, Observable]


PARTS = {
    "classes": Part(
        "labels",
        lambda labels: labels == "classes",
        _ERROR_RATES | _ERROR_RATES_SIMULATED_ONLY,
        _with_standard_errors(_ERROR_RATES),
    ),
    "biases": Part("bias", lambda bias: bias != "none", _BIASES, _with_standard_errors(_BIASES)),
}


def parts_of(problem: Problem) -> tuple[str, ...]:
    """Which of `PARTS` a problem has."""
    return tuple(name for name, part in PARTS.items() if part.has(getattr(problem, part.field)))


def simulated(parts: Iterable[str]) -> dict[str, Observable]:
    """Name what simulations of problems report that have some of `PARTS`."""
    return SIMULATED | {name: known for part in parts for name, known in PARTS[part].simulated.items()}


def predicted(parts: Iterable[str]) -> dict[str, Observable]:
    """Name what solutions of the theory report for problems that have some of `PARTS`."""
    return PREDICTED | {name: known for part in parts for name, known in PARTS[part].predicted.items()}


HALVES = "_halves"
"""What the names of variables end in that halves of runs report."""


def of_halves(observables: Mapping[str, Observable]) -> dict[str, Observable]:
    """Name what the two halves of each run report (`sedyn.descent.halves`), of what a whole one reports.

    Parameters
    ----------
    observables : mapping of str to Observable
        From `simulated`.

    Returns
    -------
    dict of str to Observable
        ``<name>_halves``, along ``half``; without standard errors.
    """
    return {
        f"{name}{HALVES}": known._replace(dims=("half", *known.dims), long_name=f"{known.long_name}, of half the size")
        for name, known in observables.items()
        if not name.endswith("_stderr")
    }


_ESTIMATE_DEVIATION = {
    "estimate_minus_test_error": Observable(("iteration",), "estimated minus true test error", "response^2")
}


def fluctuating(parts: Iterable[str]) -> dict[str, Observable]:
    """Name what a problem's fluctuations are predicted of that has some of `PARTS`: all but rates of wrong classes."""
    rates = {*_ERROR_RATES, *_ERROR_RATES_SIMULATED_ONLY}
    known = simulated(parts) | _ESTIMATE_DEVIATION
    return {name: one for name, one in known.items() if name not in rates and not name.endswith("_stderr")}


def fluctuations_of(name: str, known: Observable) -> dict[str, Observable]:
    """Describe what `sedyn.fluctuations` says of an observable.

    Parameters
    ----------
    name : str
        Of the observable.
    known : Observable
        As simulations report it.

    Returns
    -------
    dict of str to Observable
        A covariance, its standard error and the share of samples, as `sedyn.fluctuations` names them.
    """
    what, dims = f"covariance of sqrt(n) (run - theory): {known.long_name}", (*known.dims, "iteration_")
    units = known.units if known.units == "1" else f"({known.units})^2"
    share = f"share of samples in the variance of a run: {known.long_name}"
    return {
        name: Observable(dims, what, units),
        name + "_stderr": Observable(dims, f"standard error of the {what}", units),
        name + "_sample_share": Observable(known.dims, share),
    }


def beside_theory(parts: Iterable[str]) -> dict[str, str]:
    """From the names in `sedyn.fluctuations` to those under which a store has them beside theory's own."""
    named: dict[str, str] = {}
    for name in fluctuating(parts):
        named |= {name: f"{name}_covariance", f"{name}_stderr": f"{name}_covariance_stderr"}
        named[f"{name}_sample_share"] = f"{name}_sample_share"
    return named


def fluctuations_beside_theory(parts: Iterable[str]) -> dict[str, Observable]:
    """Describe what a store has beside theory's own variables where it also has fluctuations."""
    parts = tuple(parts)
    named = beside_theory(parts)
    found: dict[str, Observable] = {}
    for name, known in fluctuating(parts).items():
        found |= {named[own]: one for own, one in fluctuations_of(name, known).items()}
    return found


def brought_by(part: str) -> set[str]:
    """Name all variables that a store has for one of `PARTS`."""
    fluctuating = fluctuations_beside_theory([part]).keys() - fluctuations_beside_theory([]).keys()
    return {*PARTS[part].simulated, *PARTS[part].predicted, *fluctuating}


def _distances(name: str, dims: tuple[str, ...], between: str) -> dict[str, Observable]:
    return {
        f"{name}_kolmogorov": Observable(dims, f"Kolmogorov distance {between}"),
        f"{name}_wasserstein": Observable(dims, f"Wasserstein distance {between}"),
    }


_EACH_UNIT = ("iteration", "neuron")
COMPARED: dict[str, Observable] = {
    **_distances("row", (*_EACH_UNIT, "scale"), "of whitened row residuals from the standard normal law"),
    "row_residual_quantiles": Observable((*_EACH_UNIT, "probability"), "quantiles of whitened row residuals"),
    "row_residual_covariance": Observable((*_EACH_UNIT, "neuron_"), "mean outer product of row residuals"),
    **_distances("pre_activation", _EACH_UNIT, "of training pre-activations from theory"),
    **_distances("pre_activation_response", _EACH_UNIT, "of training pre-activations times response from theory"),
    **_QUANTILES,
}
"""What a simulation that is given its theory has besides: see `sedyn.theory.laws`."""

_RESPONSE = ("iteration", "iteration_", "neuron", "neuron_")
INCLUDED: dict[str, dict[str, Observable]] = {
    "responses": _with_standard_errors(
        {
            "weight_response": Observable(_RESPONSE, "response R_w of weights to earlier gradients"),
            "gradient_response": Observable(_RESPONSE, "response R_g of gradients to pre-activations"),
        }
    ),
    "samples": {
        "pre_activation_samples": Observable(("iteration", "neuron", "sample"), "training pre-activations h"),
        "response_samples": Observable(("sample",), "response y"),
        "row_coefficients": Observable(
            ("iteration", "node", "neuron", "start"), "initialization and signals carried by a row, at spectral nodes"
        ),
        "row_covariances": Observable(
            ("iteration", "node", "neuron", "neuron_"), "conditional covariance of a row, at spectral nodes"
        ),
    },
}
"""What a solution of the theory has besides, by what it is asked to include: see `sedyn.state_evolution`."""

SCALES = ("predicted", "own")
"""How whitened residuals are taken: as they are, or standardized, which leaves the shape of their law."""

_TAIL = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05]
PROBABILITIES = np.array([*_TAIL, *np.arange(1, 10) / 10, *(1 - p for p in reversed(_TAIL))])
"""Where quantiles are taken."""


def dimension_sizes(problem: Problem) -> dict[str, int]:
    """Sizes of the dimensions in the datasets of a problem, `replicate` apart."""
    return {
        "iteration": problem.steps + 1,
        "iteration_": problem.steps + 1,
        "neuron": problem.units,
        "neuron_": problem.units,
        "index": problem.signals,
        "function": len(ROW_FUNCTIONS),
        "scale": len(SCALES),
        "probability": len(PROBABILITIES),
        "layer": problem.depth - 1,
        "bias_layer": problem.depth,
        "fan_in": problem.width,
        "fan_out": max(problem.width, problem.outputs),
        "half": 2,
    }


def numbers_in(problem: Problem, observables: Mapping[str, Observable]) -> int:
    """Count the numbers that some observables of a problem have, in one replicate or one randomization.

    Parameters
    ----------
    problem : Problem
    observables : mapping of str to Observable
    """
    return _numbers(tuple(dimension_sizes(problem).items()), tuple(known.dims for known in observables.values()))


@lru_cache(maxsize=64)
def _numbers(sizes: tuple[tuple[str, int], ...], arrays: tuple[tuple[str, ...], ...]) -> int:
    """Count the numbers of arrays with these dimensions; a sweep asks it for every cell."""
    size = dict(sizes)
    return sum(math.prod(size[dim] for dim in dims) for dims in arrays)


def coordinates_of(sizes: Mapping[str, int]) -> dict[str, Shaped[np.ndarray, " _"]]:
    """Coordinates of dimensions of given sizes, by name.

    Layers are counted as in docs/theory.md#network: the deeper weights are W_2 .. W_depth, and layer 1 may have biases.
    """
    named = {"function": np.array(list(ROW_FUNCTIONS)), "scale": np.array(SCALES), "probability": PROBABILITIES}
    first = {"layer": 2, "bias_layer": 1}
    return {dim: named[dim] if dim in named else np.arange(size) + first.get(dim, 0) for dim, size in sizes.items()}


@lru_cache(maxsize=64)  # merging variables and indexes is most of what a small dataset costs
def _without_values(
    variables: tuple[tuple[str, tuple[str, ...], Observable, tuple[int, ...]], ...],
    sizes: tuple[tuple[str, int], ...],
    replicates: tuple[int, ...] | None,
) -> xr.Dataset:
    """Make a dataset of variables with these names, dimensions, words and shapes, for others to be copied from.

    Those dimensions that are used are indexed, in the order of their sizes; replicates come last.
    """
    import xarray as xr  # slow to load, and many who want these names make no dataset

    used = {dim for _, dims, *_ in variables for dim in dims}
    found: dict[str, np.ndarray] = coordinates_of(dict(sizes))
    if replicates is not None:
        found["replicate"] = np.asarray(replicates, dtype=np.int64)
    shared = {name: np.array(values) for name, values in found.items() if name in used}
    for values in shared.values():
        values.setflags(write=False)
    nothing = np.array(np.nan)
    return xr.Dataset(
        {
            name: (dims, np.broadcast_to(nothing, shape), {"long_name": known.long_name, "units": known.units})
            for name, dims, known, shape in variables
        },
        coords=xr.Coordinates(shared),
    )


def quantiles(values: Float[Array, "*leading N"]) -> Float[Array, "*leading probabilities"]:
    """Quantiles at `PROBABILITIES` along the last axis; numpy's, by linear interpolation."""
    xp = array_namespace(values)
    places = (values.shape[-1] - 1) * PROBABILITIES
    below = np.floor(places).astype(np.int64)
    parts = places - below

    def moved(numbers: np.ndarray) -> Array:
        return xp.asarray(numbers, device=values.device)

    ordered = xp.sort(values, axis=-1, stable=False)  # several times as fast, and numbers that are equal are the same
    low, high = (xp.take(ordered, moved(np.minimum(below + k, values.shape[-1] - 1)), axis=-1) for k in (0, 1))
    # From the nearer end, so that equal ends give exactly their value.
    found = xp.where(moved(parts < 0.5), low + (high - low) * moved(parts), high - (high - low) * moved(1 - parts))
    return xp.where(xp.isnan(ordered[..., -1:]), xp.nan, found)


def pad_deep_weights(
    problem: Problem, deep: DeepWeights, like: Float[Array, "*replicates q N"]
) -> dict[str, Float[Array, "*replicates layers ..."]]:
    """Stack the deeper parameters of all layers, NaN where a layer has no entry.

    Parameters
    ----------
    problem : Problem
    deep : tuple of array
        V.
    like : array, shape (..., q, N)
        Gives library, dtype, device and the axes in front.

    Returns
    -------
    dict of str to array
        `deep_weights`, shape (..., L - 1, fan_in, fan_out), the first matrix of each layer from the second on; and
        `biases`, shape (..., L, fan_out), the first vector of each layer, where the problem has biases.
    """
    xp, sizes, replicates = array_namespace(like), dimension_sizes(problem), like.shape[:-2]

    def padded(first_layer: int, *shape: int) -> Array:
        whole = (*replicates, problem.depth + 1 - first_layer, *shape)
        found = xp.full(whole, np.nan, dtype=like.dtype, device=like.device)
        for layer, place in places(problem).items():
            of_kind = [entries for entries in deep[place] if entries.ndim == len(replicates) + len(shape)]
            if layer >= first_layer and of_kind:
                own = tuple(slice(size) for size in of_kind[0].shape[len(replicates) :])
                found[(..., layer - first_layer, *own)] = of_kind[0]
        return found

    found = {"deep_weights": padded(2, sizes["fan_in"], sizes["fan_out"])}
    return found | {"biases": padded(1, sizes["fan_out"])} if "biases" in parts_of(problem) else found


def stack_iterations(problem: Problem, values: Sequence[Any] | Shaped[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Stack values by iteration, NaN for the iterations up to `steps` that have none.

    Parameters
    ----------
    problem : Problem
        Its steps T.
    values : sequence, at most T + 1
        Numbers or arrays of one shape, from iteration 0 on.

    Returns
    -------
    ndarray, shape (T + 1, ...)
    """
    stacked = np.asarray(values, dtype=float)
    missing = problem.steps + 1 - len(values)
    return np.pad(stacked, [(0, missing)] + [(0, 0)] * (stacked.ndim - 1), constant_values=np.nan)


def stack_records(records: Sequence[Mapping[str, Float[Array, "..."]]]) -> dict[str, Float[Array, "..."]]:
    """Stack the arrays that were recorded at each iteration, name by name; iterations are the first axis."""
    return {
        name: array_namespace(first).stack([record[name] for record in records]) for name, first in records[0].items()
    }


def until_divergence(found: Mapping[str, Float[np.ndarray, "..."]]) -> dict[str, Float[np.ndarray, "..."]]:
    """Put NaN from the first iteration on at which an error or an overlap of the weights is not finite.

    A replicate that has diverged goes on beside the others, and what it gives is of no use.

    Parameters
    ----------
    found : mapping of str to ndarray
        Observables, each of shape (iterations, ...), with axes of replicates next if `train_error` has them; among
        them `train_error`, `test_error`, `signal_overlap` and `weight_gram`.

    Returns
    -------
    dict of str to ndarray
        Of the same shapes.
    """
    finite = np.isfinite(found["train_error"]) & np.isfinite(found["test_error"])
    for name in ("signal_overlap", "weight_gram"):
        finite &= np.isfinite(found[name]).all(axis=(-2, -1))
    alive = np.logical_and.accumulate(finite)
    if alive.all():
        return dict(found)
    return {
        name: np.where(alive.reshape(*alive.shape, *[1] * (values.ndim - alive.ndim)), values, np.nan)
        for name, values in found.items()
    }


def to_dataset(
    problem: Problem,
    arrays: Mapping[str, Shaped[np.ndarray, "..."]],
    observables: Mapping[str, Observable],
    *,
    replicates: Sequence[int] | None = None,
    attributes: Mapping[str, Any],
) -> xr.Dataset:
    """Assemble named arrays into a dataset with dimensions, coordinates and words.

    Parameters
    ----------
    problem : Problem
        Gives coordinates and attributes.
    arrays : mapping of str to ndarray
        One array for each observable, of its dimensions, with a leading replicate axis if `replicates` is given.
    observables : mapping of str to Observable
        Which variables the dataset has.
    replicates : sequence of int, optional
        Coordinate of the replicate dimension.
    attributes : mapping
        Recorded beside the problem's fields.

    Returns
    -------
    xarray.Dataset
    """
    leading = () if replicates is None else ("replicate",)
    values = {name: np.asarray(arrays[name]) for name in observables}
    variables = tuple((name, (*leading, *known.dims), known, values[name].shape) for name, known in observables.items())
    sizes = tuple(dimension_sizes(problem).items())
    found = _without_values(variables, sizes, None if replicates is None else tuple(replicates)).copy(data=values)
    # Nothing is no value of an attribute in a file.
    found.attrs = {name: value for name, value in problem.to_dict().items() if value is not None} | dict(attributes)
    return found
