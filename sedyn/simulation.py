"""Monte Carlo: gradient descent on independent data sets, as one dataset."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from sedyn import backend, gradient_descent
from sedyn.backend import Array
from sedyn.batching import batch_weights
from sedyn.deferred import DeferredDesign
from sedyn.design import Design, SeparateDesigns, dense_design, stacked_design
from sedyn.engines import choose_engine, replicates_together, stacks
from sedyn.errors import InvalidInput
from sedyn.features import feature_sampler, spectrum
from sedyn.fresh_data import fresh_data
from sedyn.generalization import estimated_descent, no_estimate_because
from sedyn.initialization import initial_deep_weights, initial_rows
from sedyn.labels import respond
from sedyn.laws import SOLVER, Laws, compare, laws_of
from sedyn.observables import COMPARED, SIMULATED, stack_iterations, to_dataset
from sedyn.problem import Problem, seed_sequence
from sedyn.spectral import gauss_quadrature
from sedyn.versions import versions

__all__ = ["simulate"]

DTYPES = ("float64", "float32")


def simulate(
    problem: Problem,
    replicates: int | Iterable[int] = 16,
    seed: int = 0,
    engine: str = "auto",
    *,
    estimate: bool = True,
    device: str = "auto",
    dtype: str = "float64",
    theory: xr.Dataset | None = None,
) -> xr.Dataset:
    """Run gradient descent on independent data sets.

    Parameters
    ----------
    problem : Problem
    replicates : int or iterable of int, optional
        How many, or which: replicate r is the same whether it runs alone or among others.
    seed : int, optional
        Base seed. A replicate depends on `Problem.key`, its index and this.
    engine : {'auto', 'dense', 'deferred'}, optional
        Form the design in memory, or draw only what its products reveal (Gaussian features only; the same law, other
        numbers). ``auto`` takes the faster one that fits; the choice and its reason are attributes.
    estimate : bool, optional
        Whether the test error is also estimated from training data alone; memory O(n T q^2).
    device : {'auto', 'cpu', 'gpu'}, optional
        A GPU draws features with a generator of its own: the same law as on a CPU, other numbers.
    dtype : {'float64', 'float32'}, optional
        How a dense design stores its entries and multiplies with them: in single precision the same data rounded, in
        half the memory and about half the time. Everything else, and the deferred engine, is in double precision.
    theory : Dataset, optional
        What `sedyn.state_evolution` says about the problem, with ``include=("samples",)``. Each replicate then also
        compares the laws of its first-layer rows and of its training pre-activations with it.

    Returns
    -------
    xarray.Dataset
        The variables of `sedyn.observables.SIMULATED` along `replicate`: `train_error`, `test_error` (with its
        ``_stderr``), `estimated_test_error`, `initial_overlap`, `signal_overlap`, `weight_gram`, `row_average` and
        `deep_weights`. From a divergence on, values are NaN. `estimated_test_error` is NaN where it cannot be had,
        and attribute ``no_estimate_because`` says why.

        With `theory` also those of `sedyn.observables.COMPARED`:

        - `row_kolmogorov`, `row_wasserstein`: distances from N(0, 1) of row residuals w_j - P_t w_j^0 - m_t mu_j,
          whitened by the predicted covariance, as they are (``scale='predicted'``) and standardized (``'own'``);
          `row_residual_quantiles` of the whitened ones, and `row_residual_covariance` before whitening. NaN where a
          unit's row has no noise of its own, as at iteration 0, and where eigenvalues of the features differ, since a
          row's law then depends on its eigenvalue.
        - `pre_activation_kolmogorov`, `pre_activation_wasserstein`: distances of h^t from the theory's draws, the same
          for the product h^t y (`pre_activation_response_...`), and `pre_activation_quantiles`. They cannot fall
          below the error of these draws: give the theory more `samples` than n (attribute ``theory_samples``).

    Raises
    ------
    InvalidInput
        If an argument is out of range, the engine does not apply or does not fit, the device is not usable, or the
        theory is another problem's or has no samples.

    Notes
    -----
    THEORY sections 1 (gradient descent), 4 (estimate) and 5 (deferred engine).

    Examples
    --------
    >>> runs = simulate(Problem(n=300, d=200, steps=3), replicates=4)
    >>> runs.train_error.dims
    ('replicate', 'iteration')
    """
    device = backend.resolve_device(device)
    indices = _replicate_indices(replicates)
    if dtype not in DTYPES:
        raise InvalidInput.unknown("dtype", dtype, DTYPES)
    reason = no_estimate_because(problem) if estimate else "it was not asked for"
    laws, observables, solver = None, SIMULATED, {}
    if theory is not None:
        laws, observables = laws_of(problem, theory), {**SIMULATED, **COMPARED}
        solver = {f"theory_{name}": theory.attrs[name] for name in SOLVER}
    choice = choose_engine(problem, engine, dtype=dtype, estimate=reason is None)
    together = replicates_together(problem, choice.engine, device, dtype)
    groups = [indices[start : start + together] for start in range(0, len(indices), together)]
    with backend.use_device(device):
        parts = [_run(problem, group, seed, choice.engine, reason is None, device, dtype, laws) for group in groups]
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in observables}
    attributes = {
        "seed": seed,
        "engine": choice.engine,
        "engine_reason": choice.reason,
        "device": backend.device_description(device),
        "dtype": dtype,
        "no_estimate_because": reason or "",
        **solver,
        **versions(),
    }
    return to_dataset(problem, arrays, observables, replicates=indices, attributes=attributes)


def _run(
    problem: Problem,
    replicates: Sequence[int],
    seed: int,
    engine: str,
    estimate: bool,
    device: str,
    dtype: str,
    laws: Laws | None,
) -> dict[str, np.ndarray]:
    """Some replicates side by side: every observable along leading axes of replicates and iterations."""
    streams = [seed_sequence(problem.key, seed, replicate).spawn(5) for replicate in replicates]
    row_seeds, design_seeds, noise_seeds, batch_seeds, fresh_seeds = zip(*streams, strict=True)

    def stacked(arrays: Iterable[np.ndarray]) -> Array:
        return backend.asarray(np.stack(list(arrays)), device)

    eigenvalues = spectrum(problem.covariance, problem.d)
    scales = backend.asarray(np.sqrt(eigenvalues), device)
    rows = stacked(initial_rows(problem, np.random.default_rng(own)) for own in row_seeds)
    first, signals = rows[:, : problem.width, :], rows[:, problem.width :, :] * scales
    deep = tuple(stacked([weights] * len(streams)) for weights in initial_deep_weights(problem))
    design = _design(problem, engine, design_seeds, device, dtype)
    noise = stacked(np.random.default_rng(own).standard_normal(problem.n) for own in noise_seeds)
    data = gradient_descent.Data(design, scales, respond(problem, design.matmul(signals), noise))
    measure = gauss_quadrature(eigenvalues, problem.steps + 1) if estimate else None
    steps = zip(*(batch_weights(problem, np.random.default_rng(own)) for own in batch_seeds), strict=True)
    batches = (None if problem.full_batch else stacked(step) for step in steps)

    fresh = fresh_data(problem, signals, fresh_seeds, device)
    records: list[dict[str, np.ndarray]] = []
    alive = np.ones(len(streams), dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):
        for state, estimated in estimated_descent(problem, data, first, deep, measure, batches):
            record = gradient_descent.observe(problem, data, rows, state)
            alive = alive & np.isfinite(record["train_error"]) & np.isfinite(record["weight_gram"]).all((-2, -1))
            if not alive.any():
                break
            record["estimated_test_error"] = estimated
            if laws is not None:
                whole = rows, state.first, state.trained, data.responses
                compared = [compare(laws, state.iteration, *(x[r, ...] for x in whole)) for r in range(len(streams))]
                record |= {name: np.stack([own[name] for own in compared]) for name in compared[0]}
            fresh.meet(state.first * scales, state.deep)
            records.append({name: _where(alive, values) for name, values in record.items()})
        test_error, test_error_stderr = fresh.errors()
    columns = {name: np.stack([record[name] for record in records]) for name in records[0]}
    finite = np.isfinite(columns["train_error"])
    for name, values in (("test_error", test_error), ("test_error_stderr", test_error_stderr)):
        columns[name] = np.where(finite, values, np.nan)
    return {name: np.moveaxis(stack_iterations(problem, values), 1, 0) for name, values in columns.items()}


def _design(problem: Problem, engine: str, seeds: Sequence[np.random.SeedSequence], device: str, dtype: str) -> Design:
    """A design of several replicates."""
    n, d, sampler = problem.n, problem.d, feature_sampler(problem.features)
    if engine == "deferred":
        directions = problem.signals + problem.width * (problem.steps + 1)
        return SeparateDesigns([DeferredDesign(n, d, seed, device, directions) for seed in seeds])
    if stacks(problem, device, dtype):
        return stacked_design(n, d, sampler, seeds, device, dtype)
    return SeparateDesigns([dense_design(n, d, sampler, seed, device, dtype) for seed in seeds])


def _where(alive: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values of the replicates that have not diverged, NaN for the others."""
    return np.where(alive.reshape(-1, *[1] * (values.ndim - 1)), values, np.nan)


def _replicate_indices(replicates: int | Iterable[int]) -> list[int]:
    """Indices of the replicates asked for, 0 and up."""
    try:
        indices = list(replicates) if isinstance(replicates, Iterable) else list(range(operator.index(replicates)))
        indices = [operator.index(index) for index in indices]
    except TypeError:
        raise InvalidInput("replicates", replicates, "a whole number, or the indices of replicates") from None
    if not indices or min(indices) < 0 or len(set(indices)) < len(indices):
        raise InvalidInput("replicates", replicates, "at least one replicate, with different indices from 0 up")
    return indices
