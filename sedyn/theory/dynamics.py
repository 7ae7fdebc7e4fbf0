"""State evolution: the deterministic limit of gradient descent, iteration by iteration (THEORY section 2).

`init`, `step` and `observe` mirror those of `sedyn.descent.dynamics`, which do to a data set what these do to a
representative sample. Histories (gradients, curvatures, responses) are arrays for all iterations that each step fills
in place; everything else in a state is new.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace, to_host
from sedyn.errors import InvalidInput, require_known
from sedyn.kernels.dispatch import differentiate, mean_response
from sedyn.model.adjoint import onsager_term
from sedyn.model.batching import limit_dimensions, limit_weights
from sedyn.model.evaluation import mean_error
from sedyn.model.initialization import initial_deep_weights, initial_overlaps
from sedyn.model.labels import labels_of
from sedyn.model.network import DeepWeights, Network, has_kink
from sedyn.model.observables import (
    PREDICTED,
    Observable,
    pad_deep_weights,
    quantiles,
    stack_iterations,
    stack_records,
    to_dataset,
    with_standard_errors,
)
from sedyn.model.problem import Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.model.row_averages import normal_averages
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import update_of
from sedyn.theory.sampling import CausalFactor, matched_normals, sobol_uniforms
from sedyn.theory.weight_side import (
    EffectiveSignal,
    WeightResponse,
    averaged,
    carried_covariance,
    init_effective_signal,
    init_weight_response,
    noise_covariance,
    row_covariances,
    start_covariance,
    step_effective_signal,
    step_weight_response,
)
from sedyn.versions import versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "Draws",
    "State",
    "draw",
    "init",
    "observe",
    "require_samples",
    "solve",
    "spectral_nodes",
    "state_evolution",
    "step",
]

EXTRAS: dict[str, dict[str, Observable]] = {
    "responses": with_standard_errors(
        {
            "weight_response": Observable(
                ("iteration", "iteration_", "neuron", "neuron_"),
                "response R_w of weights to earlier gradients",
            ),
            "gradient_response": Observable(
                ("iteration", "iteration_", "neuron", "neuron_"),
                "response R_g of gradients to pre-activations",
            ),
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


class Draws(NamedTuple):
    """The randomness of N representative samples, all iterations at once.

    Attributes
    ----------
    innovations : array, shape (k + q (T + 1), N)
        Standard normals that z_*, z^0, ..., z^T are made of, in this order.
    noise : array, shape (N,)
        Standardized label noise xi.
    batches : array, shape (draws of batches, N)
        Uniforms that decide on mini-batches.
    """

    innovations: Array
    noise: Array
    batches: Array


class State(NamedTuple):
    """State evolution at one iteration t.

    Attributes
    ----------
    iteration : int
    labels : array, shape (N,)
        y.
    fresh : array, shape (q, N)
        z^t, the pre-activations of fresh rows.
    trained : array, shape (q, N)
        h^t, the pre-activations of training rows.
    deep, previous_deep : tuple of array
        V^t and V^{t-1}.
    rows : EffectiveSignal
        P and m up to t.
    weight_response : WeightResponse
        R_w up to t.
    factor : CausalFactor
        Of the covariance of z_*, z^0..z^t.
    gradients : array, shape (T, q, N)
        g^s, filled for s < t.
    curvatures : array, shape (T, q, q, N), or None
        D^s, filled for s < t; None where responses come from Stein's identity.
    gradient_covariance : ndarray, shape (T, T, q, q)
        C_u(a, b), filled for a, b < t.
    gradient_response : ndarray, shape (T, T, q, q)
        R_g(a, b), filled for b <= a < t.
    """

    iteration: int
    labels: Array
    fresh: Array
    trained: Array
    deep: DeepWeights
    previous_deep: DeepWeights
    rows: EffectiveSignal
    weight_response: WeightResponse
    factor: CausalFactor
    gradients: Array
    curvatures: Array | None
    gradient_covariance: np.ndarray
    gradient_response: np.ndarray


def draw(problem: Problem, samples: int, seed: np.random.SeedSequence, device: str = "cpu") -> Draws:
    """Draw the randomness of N representative samples: scrambled Sobol points with matched moments.

    Parameters
    ----------
    problem : Problem
    samples : int
        N, a power of two, more than the k + q (T + 1) + 1 normal variables of a sample.
    seed : SeedSequence
    device : {'cpu', 'gpu'}, optional
        Where the draws go.
    """
    normal_dimensions = _normal_dimensions(problem)
    uniforms = backend.asarray(sobol_uniforms(seed, normal_dimensions + limit_dimensions(problem), samples), device)
    normals = matched_normals(uniforms[:normal_dimensions, :])
    xp, k = array_namespace(normals), problem.signals
    # The label noise comes second, so that its Sobol coordinate is among the evenest.
    innovations = xp.concat([normals[:k, :], normals[k + 1 :, :]], axis=0)
    return Draws(innovations, normals[k, :], uniforms[normal_dimensions:, :])


def init(problem: Problem, draws: Draws) -> State:
    """State evolution at iteration 0, where P_0 = I, m_0 = 0 and h^0 = z^0.

    Parameters
    ----------
    problem : Problem
    draws : Draws
    """
    xp = array_namespace(draws.innovations)
    q, k, steps = problem.width, problem.signals, problem.steps
    samples = draws.noise.shape[0]
    like = _like(draws)
    measure = gauss_quadrature(problem.eigenvalues, spectral_nodes(steps))
    overlaps = initial_overlaps(problem)
    deep = tuple(xp.asarray(weights, **like) for weights in initial_deep_weights(problem))
    factor = CausalFactor()
    indices = xp.matmul(_moved(factor.append([overlaps[q:, q:]]), draws), draws.innovations[:k, :])
    rows = init_effective_signal(measure, steps, overlaps, q)
    weight_response = init_weight_response(measure, steps, q, overlaps)
    fresh = _draw_fresh(draws, factor, _fresh_covariances(rows, weight_response, 0, np.empty((0, 0, q, q))))
    return State(
        iteration=0,
        labels=labels_of(problem, indices, problem.noise * draws.noise),
        fresh=fresh,
        trained=fresh,
        deep=deep,
        previous_deep=deep,
        rows=rows,
        weight_response=weight_response,
        factor=factor,
        gradients=xp.empty((steps, q, samples), **like),
        curvatures=None if has_kink(problem) else xp.empty((steps, q, q, samples), **like),
        gradient_covariance=np.zeros((steps, steps, q, q)),
        gradient_response=np.zeros((steps, steps, q, q)),
    )


def step(problem: Problem, draws: Draws, state: State) -> State:
    """Advance from iteration t to t + 1.

    Parameters
    ----------
    problem : Problem
    draws : Draws
    state : State
        At t < T.
    """
    t = state.iteration
    delta = float(problem.aspect_ratio)
    update = update_of(problem, t)

    # Sample side: g^t = dl/dh (h^t; y, V^t), D^t and E[dl/dV].
    network = Network.of(problem, state.deep, state.labels, limit_weights(problem, t, draws.batches))
    derivatives = differentiate(state.trained, network, curvature=state.curvatures is not None)
    state.gradients[t, ...] = derivatives.gradient
    if state.curvatures is not None:
        state.curvatures[t, ...] = derivatives.curvature

    # C_u(t, s) = delta E[g^t g^sT], R_g(t, s) and R_g(t, *).
    moments = _moments(problem, draws, state, derivatives.gradient)
    products = delta * moments["covariance"]
    state.gradient_covariance[t, : t + 1] = products
    state.gradient_covariance[: t + 1, t] = np.swapaxes(products, 1, 2)
    responses, signal = _responses(problem, state, moments)
    state.gradient_response[t, : t + 1] = responses

    # Weight side and deeper layers.
    rows = step_effective_signal(state.rows, state.weight_response, t, responses, signal, update, delta)
    weight_response = step_weight_response(state.weight_response, t, responses, update, delta)
    deep = state.deep
    if problem.train == "all":
        deep = tuple(
            update(*weights) for weights in zip(state.deep, state.previous_deep, derivatives.deep_gradient, strict=True)
        )

    # Sample side at t + 1: z conditionally on the past draws, h = z + sum over s of R_w(t + 1, s) g^s.
    covariances = _fresh_covariances(rows, weight_response, t + 1, state.gradient_covariance)
    fresh = _draw_fresh(draws, state.factor, covariances)
    response_row = _moved(weight_response.mean[t + 1, : t + 1], draws)
    return state._replace(
        iteration=t + 1,
        fresh=fresh,
        trained=fresh + onsager_term(response_row, state.gradients[: t + 1, ...]),
        deep=deep,
        previous_deep=state.deep,
        rows=rows,
        weight_response=weight_response,
    )


def observe(problem: Problem, state: State) -> dict[str, Array]:
    """Everything the theory predicts at the state's iteration (THEORY section 2, *Predictions*).

    Returns
    -------
    dict of str to array
        The observables of `sedyn.model.observables.PREDICTED` without their iteration axis, standard errors apart; and
        the law of rows at each spectral node.
    """
    t, q = state.iteration, problem.width
    spectrum_, coefficients = state.weight_response.spectrum, state.rows.coefficients[t]
    carried = averaged(spectrum_, coefficients)
    overlap = start_covariance(state.rows, state.weight_response, t)[t]
    noise = noise_covariance(state.weight_response, t, state.gradient_covariance)
    of_rows = row_covariances(state.weight_response, t, state.gradient_covariance)
    return {
        "train_error": mean_error(problem, state.trained, state.labels, state.deep),
        "test_error": mean_error(problem, state.fresh, state.labels, state.deep),
        "initial_overlap": overlap[:, :q],
        "signal_overlap": overlap[:, q:],
        "weight_gram": carried_covariance(state.rows, state.weight_response, t)[t] + noise[t],
        "row_average": _row_averages(problem, state, of_rows),
        "deep_weights": pad_deep_weights(problem, state.deep, state.trained),
        "init_coefficient": carried[:, :q],
        "signal_coefficient": carried[:, q:],
        "noise_covariance": averaged(spectrum_, of_rows),
        "pre_activation_quantiles": quantiles(state.trained),
        "row_coefficients": coefficients,
        "row_covariances": of_rows,
    }


def _row_averages(problem: Problem, state: State, covariances: np.ndarray) -> np.ndarray:
    """Averages of test functions over rows, shape (functions, q).

    NaN where the spectrum changes with d: rows with few neighbours of their eigenvalue start as no normal vectors, see
    `sedyn.model.initialization.initial_weights_and_signals`.
    """
    nodes, weights = state.weight_response.spectrum
    overlaps = state.rows.overlaps / nodes[:, None, None]
    laws = zip(state.rows.coefficients[state.iteration], overlaps, covariances, strict=True)
    averages = np.einsum("n,nfa->fa", weights, np.stack([normal_averages(*law) for law in laws]))
    return np.full_like(averages, np.nan) if problem.spectrum_law.changes_with_d else averages


def spectral_nodes(steps: int) -> int:
    """Nodes that the theory takes of a spectrum with many eigenvalues.

    After T steps it averages polynomials of degree 2T + 1 in the eigenvalues, and the law of a row has coefficients of
    degree T and a covariance of degree 2T - 1: T + 1 nodes give the averages, and 2T every row's own law.
    """
    return max(2 * steps, 2)


def _like(draws: Draws) -> dict[str, Any]:
    return {"dtype": draws.innovations.dtype, "device": draws.innovations.device}


def _normal_dimensions(problem: Problem) -> int:
    return problem.signals + 1 + problem.width * (problem.steps + 1)


def _moved(matrix: np.ndarray, draws: Draws) -> Array:
    """Take a matrix of the weight side to where the samples are."""
    return array_namespace(draws.innovations).asarray(matrix, **_like(draws))


def _mean_products(left: Array, right: Array) -> Array:
    """Mean over samples of left right_s^T for each s: (q, N), (S, p, N) -> (S, q, p)."""
    xp = array_namespace(left)
    flat = xp.reshape(right, (-1, right.shape[-1]))
    products = xp.matmul(left, flat.T) / left.shape[-1]
    return xp.moveaxis(xp.reshape(products, (left.shape[0], right.shape[0], right.shape[1])), 0, 1)


def _fresh_covariances(
    rows: EffectiveSignal, weight_response: WeightResponse, t: int, gradient_covariance: np.ndarray
) -> list[np.ndarray]:
    """Covariances of z^t with z_*, z^0, ..., z^t."""
    with_fresh = carried_covariance(rows, weight_response, t) + noise_covariance(
        weight_response, t, gradient_covariance
    )
    with_indices = start_covariance(rows, weight_response, t)[t][:, with_fresh.shape[-1] :]
    return [with_indices, *with_fresh]


def _draw_fresh(draws: Draws, factor: CausalFactor, covariances: list[np.ndarray]) -> Array:
    """Draw z^t conditionally on z_*, z^0, ..., z^{t-1}."""
    xp = array_namespace(draws.innovations)
    row = _moved(factor.append(covariances), draws)
    return xp.matmul(row, draws.innovations[: row.shape[1], :])


def _moments(problem: Problem, draws: Draws, state: State, gradient: Array) -> dict[str, np.ndarray]:
    """All that the weight side learns from the samples once g^t and D^t are in the histories, in one transfer.

    Parameters
    ----------
    problem : Problem
    draws : Draws
    state : State
    gradient : array, shape (q, N)
        g^t.

    Returns
    -------
    dict of str to ndarray
        `covariance`, E[g^t g^sT] for s = 0..t; `innovations`, E[g^t eps^T] for those that responses take; and
        `response`, the mean of dg^t/dz^s for s = 0..t, where it is defined.
    """
    t, known = state.iteration, problem.signals
    found = {"covariance": _mean_products(gradient, state.gradients[: t + 1, ...])}
    if state.curvatures is None:
        known += problem.width * (t + 1)
    else:
        weight_response = _moved(state.weight_response.mean[: t + 1, : t + 1], draws)
        found["response"] = mean_response(state.curvatures[: t + 1, ...], weight_response)
    found["innovations"] = _mean_products(gradient, draws.innovations[None, :known, :])[0, ...]
    return to_host(found)


def _responses(problem: Problem, state: State, moments: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """R_g(t, s) for s = 0..t, shape (t + 1, q, q), and R_g(t, *), shape (q, k), from moments with g^t.

    From derivatives where they exist; the signal's by Stein's identity, which asks nothing of the link. Where the
    activation has a kink all of them by Stein's identity, in the basis of the innovations.
    """
    t, delta = state.iteration, float(problem.aspect_ratio)
    with_innovations = delta * moments["innovations"]
    if state.curvatures is None:
        signal, *fresh = state.factor.solve(with_innovations)
        return np.stack(fresh), signal
    responses = delta * moments["response"]
    indices = state.factor.rows[0]
    with_indices = with_innovations @ indices.T
    with_signal = start_covariance(state.rows, state.weight_response, t)[:, :, problem.width :]
    through_fresh = np.einsum("sab,sbk->ak", responses, with_signal)
    return responses, np.linalg.solve(indices @ indices.T, (with_indices - through_fresh).T).T


def solve(problem: Problem, draws: Draws, *, keep_samples: bool = False) -> dict[str, np.ndarray]:
    """Run state evolution for all iterations on one set of draws.

    Parameters
    ----------
    problem : Problem
    draws : Draws
    keep_samples : bool, optional
        Whether the draws of (h^t, y) themselves are wanted.

    Returns
    -------
    dict of str to ndarray
        Each observable along a leading axis of iterations, NaN from the iteration at which it stopped being finite,
        and both responses R_w and R_g.
    """
    state = init(problem, draws)
    records: list[dict[str, Array]] = []
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(problem.steps + 1):
            record = observe(problem, state)
            if not np.all(np.isfinite(record["weight_gram"])):
                break
            if keep_samples:
                record["pre_activation_samples"] = state.trained
            records.append(record)
            if t < problem.steps:
                try:
                    state = step(problem, draws, state)
                except np.linalg.LinAlgError:  # a covariance that is no longer finite
                    break
    kept = {"response_samples": state.labels} if keep_samples else {}
    found = to_host(stack_records(records) | kept)
    finite = np.isfinite(found["train_error"]) & np.isfinite(found["test_error"])
    count = int(np.argmin([*finite, False]))  # up to the first that is not
    arrays = {name: stack_iterations(problem, found[name][:count]) for name in records[0]}
    arrays |= {name: found[name] for name in kept}
    arrays["weight_response"] = state.weight_response.mean
    arrays["gradient_response"] = np.pad(state.gradient_response, ((0, 1), (0, 1), (0, 0), (0, 0)))
    return arrays


def require_samples(problem: Problem, samples: int, field: str = "samples") -> None:
    """Refuse a number of quadrature points that a problem cannot be solved with.

    Raises
    ------
    InvalidInput
        If it is no power of two, or not larger than the normal variables of a sample; the message names `field`.
    """
    least = 2 ** (_normal_dimensions(problem) + 1).bit_length()
    if isinstance(samples, bool) or not isinstance(samples, int) or samples < least or samples & (samples - 1):
        raise InvalidInput(field, samples, f"a power of two, at least {least} for this width and number of steps")


def state_evolution(
    problem: Problem,
    samples: int = 2**14,
    randomizations: int = 8,
    seed: int = 0,
    *,
    target_stderr: float | None = None,
    max_samples: int = 2**20,
    include: Collection[str] = (),
    device: str = "auto",
) -> xr.Dataset:
    """Predict gradient descent on a problem: errors, overlaps, weights and the law of first-layer rows.

    Parameters
    ----------
    problem : Problem
        Its n and d enter by their ratio only (and d by the spectrum of the features, where that is not flat).
    samples : int, optional
        Quadrature points of each randomization, a power of two.
    randomizations : int, optional
        Independent randomizations, at least 2; results are their mean, standard errors come from their spread.
    seed : int, optional
        Base seed. The numbers depend on `Problem.theory_key`, `samples`, `randomizations` and this.
    target_stderr : float, optional
        Double `samples` until the standard error of the test error is at most this at every iteration.
    max_samples : int, optional
        Where doubling stops; a warning says that the target was missed and by how much.
    include : collection of str, optional
        ``responses`` adds R_w and R_g (`weight_response`, `gradient_response`), ``samples`` adds draws of (h^t, y) from
        the first randomization and the law of rows at each node of the features' spectrum, see `sedyn.theory.laws`.
    device : {'auto', 'cpu', 'gpu'}, optional

    Returns
    -------
    xarray.Dataset
        The variables of `sedyn.model.observables.PREDICTED`, each with its ``_stderr``: `train_error`, `test_error`,
        `initial_overlap`, `signal_overlap`, `weight_gram`, `row_average` (NaN where the spectrum of the features
        changes with d), `deep_weights`, the law of rows (`init_coefficient`, `signal_coefficient`, `noise_covariance`,
        means over the spectrum) and `pre_activation_quantiles`. After a divergence values are NaN and attribute
        ``diverged_at`` is the first iteration without a value (-1 if there is none).

    Raises
    ------
    InvalidInput
        If an argument is out of range or the device is not usable.

    Notes
    -----
    THEORY section 2; Han and Imaizumi (arXiv 2505.04898), state evolution of the first layer with deterministic
    deeper layers.

    Examples
    --------
    >>> theory = state_evolution(Problem(steps=3), samples=1024, randomizations=4)
    >>> theory.test_error.dims
    ('iteration',)
    """
    device = backend.resolve_device(device)
    require_samples(problem, samples)
    if randomizations < 2:
        raise InvalidInput("randomizations", randomizations, "at least 2, since the standard error is their spread")
    require_known("include", include, EXTRAS)
    while True:
        arrays = _randomized(problem, samples, randomizations, seed, device, keep_samples="samples" in include)
        reached = float(np.nanmax(arrays["test_error_stderr"]))
        if target_stderr is None or reached <= target_stderr or 2 * samples > max_samples:
            break
        samples *= 2
    if target_stderr is not None and reached > target_stderr:
        warnings.warn(
            f"standard error {reached:.2g} of test_error missed target_stderr={target_stderr:g} at max_samples="
            f"{max_samples}; about {samples * (reached / target_stderr) ** 2:.0f} samples would reach it",
            stacklevel=2,
        )
    finite = np.isfinite(arrays["test_error"])
    attributes = {
        "samples": samples,
        "randomizations": randomizations,
        "seed": seed,
        "device": backend.device_description(device),
        "diverged_at": -1 if finite.all() else int(np.argmin(finite)),
        "response": "stein" if has_kink(problem) else "adjoint",
        **versions(),
    }
    observables = {**PREDICTED, **{k: v for name in include for k, v in EXTRAS[name].items()}}
    return to_dataset(problem, arrays, observables, attributes=attributes)


def _randomized(
    problem: Problem, samples: int, randomizations: int, seed: int, device: str, *, keep_samples: bool
) -> dict[str, np.ndarray]:
    """Means and standard errors over randomizations; samples, if wanted, of the first."""
    seeds = randomization_seeds(problem, seed, randomizations)
    with backend.use_device(device):
        solutions = [
            solve(problem, draw(problem, samples, stream, device), keep_samples=keep_samples and i == 0)
            for i, stream in enumerate(seeds)
        ]
    arrays: dict[str, np.ndarray] = {}
    with np.errstate(over="ignore", invalid="ignore"):  # the last finite values before a divergence are huge
        for name in solutions[-1]:
            values = np.stack([solution[name] for solution in solutions])
            arrays[name] = values.mean(axis=0)
            arrays[name + "_stderr"] = values.std(axis=0, ddof=1) / math.sqrt(randomizations)
    return {**solutions[0], **arrays}
