"""Monte Carlo: gradient descent on independent data sets, as one dataset."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.threads import one_blas_thread, thread_count
from sedyn.checks import DEVICE, FLAG, SEED, checked, dataset, listed, one_of, optional, whole
from sedyn.descent.engines import DTYPES, ENGINES, Choice, choose_engine, replicates_together, require_results_memory
from sedyn.descent.halves import half_of
from sedyn.descent.inputs import draw
from sedyn.descent.readout import readout_of
from sedyn.descent.run import run
from sedyn.errors import InvalidInput, require_whole
from sedyn.estimate.protocol import no_estimate_because
from sedyn.model.observables import COMPARED, HALVES, Observable, of_halves, parts_of, simulated, to_dataset
from sedyn.model.problem import A_PROBLEM, Problem
from sedyn.model.seeds import MOST_INDEX, Streams, streams_of
from sedyn.model.update import updates_together
from sedyn.theory.laws import SOLVER, Laws, laws_of
from sedyn.versions import versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["MOST_REPLICATES", "simulate", "simulate_together"]

MOST_REPLICATES = 2**20  # of one call, or of a cell of a sweep


_REPLICATES_IN_WORDS = "a whole number >= 1, or different indices of replicates from 0 to 2**32 - 1"
_INDICES = listed(whole(0, MOST_INDEX, condition=_REPLICATES_IN_WORDS), _REPLICATES_IN_WORDS, most=MOST_REPLICATES)
_CELLS_IN_WORDS = "pairs (problem, replicates) of a sedyn.Problem and what `simulate` takes as replicates"
_SOLUTION = optional(dataset('what sedyn.state_evolution(problem, include=("samples",)) returns, or None'))


def _replicates(field: str, value: Any) -> range | tuple[int, ...]:
    """Check replicates, by number or by index, and give their indices."""
    if not isinstance(value, Iterable):
        return range(require_whole(field, value, 1, MOST_REPLICATES, condition=_REPLICATES_IN_WORDS))
    indices = _INDICES(field, value)
    if not indices or len(set(indices)) < len(indices):
        raise InvalidInput(field, value, _REPLICATES_IN_WORDS)
    return indices


def _cell(field: str, value: Any) -> tuple[Problem, range | tuple[int, ...]]:
    """Check a problem and its replicates."""
    if not (isinstance(value, tuple | list) and len(value) == 2):
        raise InvalidInput(field, value, _CELLS_IN_WORDS)
    return A_PROBLEM(field, value[0]), _replicates("replicates", value[1])


_HOW = {
    "seed": SEED,
    "engine": one_of("auto", *ENGINES),
    "estimate": FLAG,
    "device": DEVICE,
    "dtype": one_of(*DTYPES),
    "halves": FLAG,
}


@checked(problem=A_PROBLEM, replicates=_replicates, theory=_SOLUTION, **_HOW)
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
    halves: bool = False,
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
        On a GPU Gaussian features are the same but for rounding; other laws are drawn by its own generator.
    dtype : {'float64', 'float32'}, optional
        How a dense design stores its entries and multiplies with them: in single precision the same data rounded, in
        half the memory and about half the time. Everything else, and the deferred engine, is in double precision.
    theory : Dataset, optional
        What `sedyn.state_evolution` says about the problem, with ``include=("samples",)``. Each replicate then also
        compares the laws of its first-layer rows and of its training pre-activations with it.
    halves : bool, optional
        Whether every replicate also runs as two halves, of half the samples and features, on the same innovations
        (`sedyn.descent.halves`); takes the deferred engine, and twice the time. The mean of both less the run shows
        the bias of order 1/n with most of the fluctuation cancelled.

    Returns
    -------
    xarray.Dataset
        What `sedyn.model.observables.simulated` names, along `replicate`: `train_error`, `test_error` (with its
        ``_stderr``), `estimated_test_error`, `initial_overlap`, `signal_overlap`, `weight_gram`, `row_average` and
        `deep_weights`; with classes also `train_error_rate`, `test_error_rate` (with its ``_stderr``) and
        `estimated_test_error_rate`, with biases `biases`. From a divergence on, values are NaN. `estimated_test_error`
        is NaN where it cannot be had, and attribute ``no_estimate_because`` says why.

        With `halves` also ``<name>_halves`` of each without a standard error's, along ``half``: what runs of half the
        size give, of exactly the law of any such runs.

        With `theory` also those of `sedyn.model.observables.COMPARED`:

        - `row_kolmogorov`, `row_wasserstein`: distances from N(0, 1) of the residuals of first-layer rows,
          w_j - P_t w_j^0 - m_t mu_j, whitened by the predicted covariance, as they are (``scale='predicted'``) and
          standardized (``'own'``); `row_residual_quantiles` of the whitened ones, and `row_residual_covariance` before
          whitening. NaN where a unit's weights have no noise of their own, as at iteration 0. Mean and covariance are
          those that the theory has for the row's own eigenvalue of the feature covariance.
        - `pre_activation_kolmogorov`, `pre_activation_wasserstein`: distances of h^t from the theory's draws, the same
          for the product h^t y (`pre_activation_response_...`), and `pre_activation_quantiles`. They cannot fall
          below the error of these draws: give the theory more `samples` than n (attribute ``theory_samples``).

    Raises
    ------
    InvalidInput
        If an argument is out of range, the engine does not apply or does not fit, the device is not usable, the
        theory is another problem's or has no samples, or the problem has no halves.

    Notes
    -----
    Source: docs/theory.md#descent (gradient descent), docs/theory.md#estimated-test-error (estimate),
    docs/theory.md#deferred-product (deferred engine) and docs/theory.md#halves.

    Examples
    --------
    >>> runs = simulate(Problem(n=300, d=200, steps=3), replicates=4)
    >>> runs.train_error.dims
    ('replicate', 'iteration')
    """
    return simulate_together(
        [(problem, replicates)],
        seed,
        engine,
        estimate=estimate,
        device=device,
        dtype=dtype,
        theories=[theory],
        halves=halves,
    )[0]


@checked(
    cells=listed(_cell, _CELLS_IN_WORDS), theories=optional(listed(_SOLUTION, "a sequence of datasets or None")), **_HOW
)
def simulate_together(
    cells: Iterable[tuple[Problem, int | Iterable[int]]],
    seed: int = 0,
    engine: str = "auto",
    *,
    estimate: bool = True,
    device: str = "auto",
    dtype: str = "float64",
    theories: Sequence[xr.Dataset | None] | None = None,
    halves: bool = False,
) -> list[xr.Dataset]:
    """Run gradient descent on independent data sets of several problems, side by side where they have the same shape.

    Every number is the one that `simulate` gives. Small problems take less time: those that differ in numbers of the
    update, noise, initialization or batches alone, see `sedyn.model.problem.INDIVIDUAL`, share every call of the array
    library, and every launch on a GPU.

    Parameters
    ----------
    cells : iterable of (Problem, replicates)
        Replicates as for `simulate`.
    seed, engine, estimate, device, dtype, halves : optional
        As for `simulate`.
    theories : sequence of Dataset or None, optional
        For each problem what `simulate` is given as `theory`.

    Returns
    -------
    list of xarray.Dataset
        For each problem what `simulate` returns.

    Raises
    ------
    InvalidInput
        As for `simulate`.

    Examples
    --------
    >>> problems = [Problem(n=60, d=40, steps=3, noise=noise) for noise in (0.1, 0.2)]
    >>> quiet, loud = simulate_together([(problem, 4) for problem in problems])
    >>> quiet.sizes == loud.sizes
    True
    """
    device = backend.resolve_device(device)
    asked: Any = cells  # every one with the indices of its replicates
    theories = theories or [None] * len(asked)
    if len(theories) != len(asked):
        raise InvalidInput("theories", f"{len(theories)} of them", f"one for each of the {len(asked)} problems")
    resolved = [
        _resolve(problem, replicates, engine, estimate, device, dtype, theory, halves)
        for (problem, replicates), theory in zip(asked, theories, strict=True)
    ]
    alike: dict[Any, list[int]] = {}
    for number, cell in enumerate(resolved):
        alike.setdefault((cell.problem.stack_key, cell.laws is None), []).append(number)
    arrays: dict[int, dict[str, np.ndarray]] = {}
    if device == "cpu" and thread_count() > 1:
        from sedyn.kernels.cpu.ready import make_ready  # loads a compiler

        make_ready(thread_count())
    largest = max(cell.problem.n * cell.problem.d * cell.problem.units for cell in resolved)
    with backend.use_device(device), one_blas_thread(largest):
        for numbers in alike.values():
            found = _run_together([resolved[number] for number in numbers], seed, device, dtype)
            arrays |= dict(zip(numbers, found, strict=True))
    common = {"seed": seed, "device": backend.device_description(device), "dtype": dtype, **versions()}
    return [cell.dataset(arrays[number], common) for number, cell in enumerate(resolved)]


class _Cell(NamedTuple):
    """A problem and all that is decided before its replicates run."""

    problem: Problem
    indices: Sequence[int]
    choice: Choice
    no_estimate_because: str | None
    laws: Laws | None
    solver: dict[str, Any]
    halves: bool

    @property
    def observables(self) -> dict[str, Observable]:
        """Everything that its replicates report."""
        found = simulated(parts_of(self.problem))
        return found | (of_halves(found) if self.halves else {}) | ({} if self.laws is None else COMPARED)

    def dataset(self, arrays: dict[str, np.ndarray], attributes: dict[str, Any]) -> xr.Dataset:
        """Put words and coordinates to arrays of every replicate."""
        own = {
            "engine": self.choice.engine,
            "engine_reason": self.choice.reason,
            "no_estimate_because": self.no_estimate_because or "",
            **self.solver,
        }
        attributes = {**attributes, **own}
        return to_dataset(self.problem, arrays, self.observables, replicates=self.indices, attributes=attributes)


class _Replicate(NamedTuple):
    """One training run."""

    problem: Problem
    number: int
    laws: Laws | None


def _resolve(
    problem: Problem,
    replicates: Sequence[int],
    engine: str,
    estimate: bool,
    device: str,
    dtype: str,
    theory: xr.Dataset | None,
    halves: bool,
) -> _Cell:
    """Decide what can be decided before anything runs."""
    reason = no_estimate_because(problem) if estimate else "it was not asked for"
    laws = None if theory is None else laws_of(problem, theory, device)
    solver = {} if theory is None else {f"theory_{name}": theory.attrs[name] for name in SOLVER}
    choice = choose_engine(problem, engine, dtype=dtype, estimate=reason is None, device=device, halves=halves)
    require_results_memory(problem, len(replicates), halves=halves)
    return _Cell(problem, replicates, choice, reason, laws, solver, halves)


def _run_together(cells: Sequence[_Cell], seed: int, device: str, dtype: str) -> list[dict[str, np.ndarray]]:
    """Run problems with one `Problem.stack_key`, as many replicates side by side as there is room for."""
    engine, estimate, halves = cells[0].choice.engine, cells[0].no_estimate_because is None, cells[0].halves
    replicates = [_Replicate(cell.problem, number, cell.laws) for cell in cells for number in cell.indices]
    together = replicates_together(cells[0].problem, engine, device, dtype, estimate=estimate)
    parts = [
        _run(replicates[start : start + together], seed, engine, estimate, device, dtype, halves)
        for start in range(0, len(replicates), together)
    ]
    whole = parts[0]
    if len(parts) > 1:
        whole = {name: np.concatenate([part[name] for part in parts]) for name in whole}
    ends = np.cumsum([len(cell.indices) for cell in cells])
    return [
        {name: values[end - len(cell.indices) : end] for name, values in whole.items()}
        for cell, end in zip(cells, ends, strict=True)
    ]


def _run(
    replicates: Sequence[_Replicate], seed: int, engine: str, estimate: bool, device: str, dtype: str, halves: bool
) -> dict[str, np.ndarray]:
    """Draw some replicates and run them side by side, and their halves after them."""
    problems = [replicate.problem for replicate in replicates]
    streams = streams_of(problems, seed, [replicate.number for replicate in replicates])
    laws = [replicate.laws for replicate in replicates if replicate.laws is not None]
    found = _descend(problems, problems, streams, engine, estimate, device, dtype, laws)
    if not halves:
        return found
    half = {problem: half_of(problem) for problem in set(problems)}
    halved = [half[problem] for problem in problems]
    each = [_descend(problems, halved, streams.of_half(one), engine, estimate, device, dtype) for one in (0, 1)]
    return found | {f"{name}{HALVES}": np.stack([one[name] for one in each], axis=1) for name in each[0]}


def _descend(
    problems: Sequence[Problem],
    run_as: Sequence[Problem],
    streams: Streams,
    engine: str,
    estimate: bool,
    device: str,
    dtype: str,
    laws: Sequence[Laws] = (),
) -> dict[str, np.ndarray]:
    """Draw and run replicates as problems of their size or of half of it, with the readout of theirs."""
    data = draw(run_as, streams, engine, device, dtype, estimate=estimate)
    signals = data.start[:, run_as[0].units :, :] * data.scales
    readout = readout_of(problems, signals, data.scales, streams.readout, device)
    return run(run_as[0], data, updates_together(run_as, data.start), readout, laws)
