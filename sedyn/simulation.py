"""Monte Carlo: gradient descent on independent data sets, as one dataset."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from sedyn import backend, gradient_descent
from sedyn.backend import Array, to_numpy
from sedyn.batching import batch_weights
from sedyn.deferred import DeferredDesign
from sedyn.design import Design, dense_design
from sedyn.engines import choose_engine
from sedyn.errors import InvalidInput
from sedyn.features import feature_sampler, spectrum
from sedyn.fresh_data import draw_quadrature, fresh_rows_errors, quadrature_error
from sedyn.generalization import estimated_descent, no_estimate_because
from sedyn.initialization import initial_deep_weights, initial_rows
from sedyn.labels import respond
from sedyn.laws import SOLVER, Laws, compare, laws_of
from sedyn.network import DeepWeights
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
    with backend.use_device(device):
        records = [_run(problem, index, seed, choice.engine, reason is None, device, dtype, laws) for index in indices]
    arrays = {name: np.stack([record[name] for record in records]) for name in observables}
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
    replicate: int,
    seed: int,
    engine: str,
    estimate: bool,
    device: str,
    dtype: str,
    laws: Laws | None,
) -> dict[str, np.ndarray]:
    """One replicate: every observable along a leading axis of iterations."""
    streams = seed_sequence(problem.key, seed, replicate).spawn(5)
    rows_rng, noise_rng, batch_rng = (np.random.default_rng(streams[k]) for k in (0, 2, 3))
    eigenvalues = spectrum(problem.covariance, problem.d)
    scales = backend.asarray(np.sqrt(eigenvalues), device)
    rows = backend.asarray(initial_rows(problem, rows_rng), device)
    first, signals = rows[: problem.width, :], rows[problem.width :, :]
    deep = tuple(backend.asarray(weights, device) for weights in initial_deep_weights(problem))

    design: Design
    if engine == "deferred":
        directions = problem.signals + problem.width * (problem.steps + 1)
        design = DeferredDesign(problem.n, problem.d, streams[1], device, directions)
    else:
        design = dense_design(problem.n, problem.d, feature_sampler(problem.features), streams[1], device, dtype)
    noise = backend.asarray(noise_rng.standard_normal(problem.n), device)
    y = respond(problem, design.matmul(signals * scales), noise)

    data = gradient_descent.Data(design, scales, y)
    measure = gauss_quadrature(eigenvalues, problem.steps + 1) if estimate else None
    gaussian = problem.features == "gaussian"
    firsts: list[Array] = []
    deeps: list[DeepWeights] = []
    records: list[dict[str, np.ndarray]] = []
    batches = (None if batch is None else backend.asarray(batch, device) for batch in batch_weights(problem, batch_rng))
    with np.errstate(over="ignore", invalid="ignore"):
        for state, estimated in estimated_descent(problem, data, first, deep, measure, batches):
            record = gradient_descent.observe(problem, data, rows, state)
            if not all(np.all(np.isfinite(record[name])) for name in ("train_error", "weight_gram")):
                break
            if laws is not None:
                record |= compare(laws, state.iteration, rows, state.first, state.trained, y)
            records.append({**record, "estimated_test_error": np.asarray(estimated)})
            deeps.append(state.deep)
            if not gaussian:
                firsts.append(state.first * scales)
        if gaussian:
            signal_gram = to_numpy((signals * scales) @ (signals * scales).T) / problem.d
            points = draw_quadrature(problem, streams[4], device)
            overlaps = [(record["signal_overlap"], record["weight_gram"]) for record in records]
            errors = [
                quadrature_error(problem, points, *overlap, signal_gram, weights)
                for overlap, weights in zip(overlaps, deeps, strict=True)
            ]
            test_error, test_error_stderr = np.array(errors).T
        else:
            test_error, test_error_stderr = fresh_rows_errors(
                problem, firsts, deeps, signals * scales, streams[4], device
            )
    columns: dict[str, Sequence] = {name: [record[name] for record in records] for name in records[0]}
    columns |= {"test_error": test_error, "test_error_stderr": test_error_stderr}
    return {name: stack_iterations(problem, values) for name, values in columns.items()}


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
