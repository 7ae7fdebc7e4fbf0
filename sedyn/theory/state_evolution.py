"""The theory's prediction as one dataset: state evolution on independent randomizations, together and apart."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.threads import one_blas_thread
from sedyn.checks import COUNT, DEVICE, POSITIVE, SEED, checked, listed, one_of, optional, whole
from sedyn.model.network import has_kink
from sedyn.model.observables import INCLUDED, parts_of, predicted, to_dataset
from sedyn.model.problem import A_PROBLEM, Problem
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import updates_of
from sedyn.theory.drift import spectrum_drift
from sedyn.theory.inputs import (
    RANDOMIZATIONS,
    draw_points,
    draws_of_points,
    randomizations_together,
    require_samples,
)
from sedyn.theory.memory import require_theory_memory, samples_that_fit
from sedyn.theory.run import run, run_each
from sedyn.versions import versions

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["state_evolution"]


@checked(
    problem=A_PROBLEM,
    samples=whole(1, condition="a power of two"),
    randomizations=RANDOMIZATIONS,
    seed=SEED,
    target_stderr=optional(POSITIVE),
    max_samples=COUNT,
    include=listed(one_of(*INCLUDED), f"a list of names among {', '.join(INCLUDED)}"),
    device=DEVICE,
)
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
        Independent randomizations, at least 2; results are those of their samples together, and standard errors come
        from what each by itself gives: from the spread of these results, and from how far off they are together.
    seed : int, optional
        Base seed. The numbers depend on `Problem.theory_key`, `samples`, `randomizations` and this.
    target_stderr : float, optional
        Double `samples` until the standard error of the test error is at most this at every iteration.
    max_samples : int, optional
        Where doubling stops, or earlier where memory ends; a warning says that the target was missed and by how much.
    include : collection of str, optional
        ``responses`` adds R_w and R_g (`weight_response`, `gradient_response`), ``samples`` adds draws of (h^t, y) from
        the first randomization and the law of first-layer rows at each node of the features' spectrum, see
        `sedyn.theory.laws`.
    device : {'auto', 'cpu', 'gpu'}, optional

    Returns
    -------
    xarray.Dataset
        What `sedyn.model.observables.predicted` names, each with its ``_stderr``: `train_error`, `test_error`,
        `initial_overlap`, `signal_overlap`, `weight_gram`, `row_average` (NaN where the spectrum of the features
        changes with d), `deep_weights`, the law of first-layer rows (`init_coefficient`, `signal_coefficient`,
        `noise_covariance`, means over the spectrum) and `pre_activation_quantiles`; with classes also
        `train_error_rate` and `test_error_rate`, with biases `biases`. From a divergence on, values are
        NaN, and attribute ``diverged_at`` is the first iteration without a value (-1 if there is none). Where the
        spectrum changes with d, ``spectrum_drift`` is the `sedyn.theory.drift.spectrum_drift`, and a warning says so
        where that is noticed: no standard error does.

    Raises
    ------
    InvalidInput
        If an argument is out of range, the device is not usable, or memory does not suffice.

    Notes
    -----
    Source: docs/theory.md#effective-signal to docs/theory.md#predicted-overlaps; Han and Imaizumi (arXiv 2505.04898),
    state evolution of the first layer with deterministic deeper layers. Standard errors are those of
    docs/theory.md#standard-error.

    Examples
    --------
    >>> theory = state_evolution(Problem(steps=3), samples=1024, randomizations=4)
    >>> theory.test_error.dims
    ('iteration',)
    """
    device = backend.resolve_device(device)
    samples, keep = require_samples(problem, samples), "samples" in include
    require_theory_memory(problem, samples, randomizations, device, keep_samples=keep)
    max_samples = min(max_samples, samples_that_fit(problem, randomizations, device, keep_samples=keep))
    while True:
        arrays = _randomized(problem, samples, randomizations, seed, device, keep_samples=keep)
        reached = float(np.nanmax(arrays["test_error_stderr"]))
        if target_stderr is None or reached <= target_stderr or 2 * samples > max_samples:
            break
        samples *= 2
    if target_stderr is not None and reached > target_stderr:
        warnings.warn(
            f"standard error {reached:.2g} of test_error missed target_stderr={target_stderr:g} at max_samples="
            f"{max_samples}; about {samples * (reached / target_stderr) ** 2:.0f} samples would reach it",
            stacklevel=3,  # past the check of the arguments
        )
    drift = spectrum_drift(problem, seed)
    if drift.noticed:
        warnings.warn(f"covariance={problem.covariance!r}: {drift}", stacklevel=3)
    finite = np.isfinite(arrays["test_error"])
    attributes = {
        "samples": samples,
        "randomizations": randomizations,
        "seed": seed,
        "device": backend.device_description(device),
        "diverged_at": -1 if finite.all() else int(np.argmin(finite)),
        "response": "stein" if has_kink(problem) else "adjoint",
        **({"spectrum_drift": drift.change} if problem.spectrum_law.changes_with_d else {}),
        **versions(),
    }
    observables = {**predicted(parts_of(problem)), **{k: v for name in include for k, v in INCLUDED[name].items()}}
    return to_dataset(problem, arrays, observables, attributes=attributes)


def _randomized(
    problem: Problem, samples: int, randomizations: int, seed: int, device: str, *, keep_samples: bool
) -> dict[str, np.ndarray]:
    """Solutions of randomizations put together, and their whole standard error (docs/theory.md#standard-error).

    All randomizations that there is room for are solved side by side, and then as one, of the same points. Samples, if
    wanted, are of the first randomization.
    """
    seeds, updates = randomization_seeds(problem, seed, randomizations), updates_of(problem)
    groups = math.ceil(randomizations / randomizations_together(samples, randomizations))
    parts = [part.tolist() for part in np.array_split(np.arange(randomizations), groups)]
    apart: list[dict[str, np.ndarray]] = []
    together: list[dict[str, np.ndarray]] = []
    largest = problem.steps * problem.units**2 * samples * len(parts[0])
    with backend.use_device(device), one_blas_thread(largest):
        for part in parts:
            points = draw_points(problem, samples, [seeds[r] for r in part], device)
            apart.append(run_each(problem, points, updates, keep_samples=keep_samples and not apart))
            if len(part) == 1:
                together.append({name: values[0] for name, values in apart[-1].items()})
            else:
                points = points.together()
                together.append(run(problem, draws_of_points(problem, points), updates))
    shares = np.array([len(part) for part in parts]) / randomizations
    arrays: dict[str, np.ndarray] = {}
    with np.errstate(over="ignore", invalid="ignore"):  # the last finite values before a divergence are huge
        for name in together[0]:
            each = np.concatenate([solutions[name] for solutions in apart])
            arrays[name] = np.tensordot(shares, np.stack([solution[name] for solution in together]), axes=1)
            spread = each.std(axis=0, ddof=1) / math.sqrt(randomizations)
            bias = (each.mean(axis=0) - arrays[name]) * groups / (randomizations - groups)
            arrays[name + "_stderr"] = np.hypot(spread, bias)
    drawn = {name: values for name, values in apart[0].items() if name not in together[0]}
    return drawn | arrays
