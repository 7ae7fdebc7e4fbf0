"""A training run against the laws that the theory predicts: of first-layer rows and of training pre-activations.

Rows and samples are too many to keep, so what is compared is reduced to distances, quantiles and moments here.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import xarray as xr

from sedyn import backend
from sedyn.backend import Array, array_namespace
from sedyn.covariance import spectrum
from sedyn.distances import from_normal, from_sample
from sedyn.errors import InvalidInput
from sedyn.observables import quantiles
from sedyn.problem import Problem

__all__ = ["SOLVER", "Laws", "compare", "laws_of", "whitening"]

# A unit whose row noise is determined by the others' up to this share of its variance has none of its own to compare.
NEGLIGIBLE_SHARE = 1e-10
# Attributes that say how the theory was solved; they go with every comparison.
SOLVER = ("samples", "randomizations", "seed")

_VARIABLES = (
    "init_coefficient",
    "signal_coefficient",
    "noise_covariance",
    "pre_activation_samples",
    "response_samples",
)


class Laws(NamedTuple):
    """What the theory says about rows and samples, by iteration.

    Attributes
    ----------
    carried : array, shape (T + 1, q, q + k)
        [P_t, m_t]: a row has mean P_t w^0 + m_t mu. NaN where rows differ in law by their eigenvalue.
    whitening : array, shape (T + 1, q, q)
        Takes a row's noise to independent standard normals, see `whitening`.
    samples : array, shape (T + 1, 2, q, N)
        Draws of h^t and of h^t y, sorted along the last axis.
    """

    carried: Array
    whitening: Array
    samples: Array


def laws_of(problem: Problem, theory: xr.Dataset, device: str = "cpu") -> Laws:
    """Read the laws from a solution of the theory.

    Parameters
    ----------
    problem : Problem
        That will be simulated.
    theory : Dataset
        From `sedyn.state_evolution`, with ``include=("samples",)``.
    device : {'cpu', 'gpu'}, optional
        Where the laws go.

    Raises
    ------
    InvalidInput
        If the solution has no samples or is another problem's; the message names every difference. Only what the
        theory cannot see may differ, as n and d at the same ratio.
    """
    remedy = 'give what sedyn.state_evolution(problem, include=("samples",)) returns'
    missing = [name for name in _VARIABLES if name not in theory]
    missing += [f"attribute {name}" for name in (*problem.to_dict(), *SOLVER) if name not in theory.attrs]
    if missing:
        raise InvalidInput("theory", f"a dataset without {', '.join(missing)}", remedy)
    solved = Problem.from_mapping({name: theory.attrs[name] for name in problem.to_dict()})
    if solved.theory_key != problem.theory_key:
        there, here = (json.loads(each.theory_key) for each in (solved, problem))
        names = sorted(name for name in {**there, **here} if there.get(name) != here.get(name))
        differences = ", ".join(f"{name} {getattr(solved, name)} instead of {getattr(problem, name)}" for name in names)
        raise InvalidInput("theory", f"of a problem with {differences}", f"{remedy} for this problem")
    values = {name: theory[name].values for name in _VARIABLES}
    carried = np.concatenate([values["init_coefficient"], values["signal_coefficient"]], axis=-1)
    if np.ptp(spectrum(problem.covariance, problem.d)) > 0:
        carried = np.full_like(carried, np.nan)
    h = values["pre_activation_samples"]
    whitened = np.stack([whitening(covariance) for covariance in values["noise_covariance"]])
    samples = np.sort(np.stack([h, h * values["response_samples"]], axis=1))
    return Laws(*(backend.asarray(part, device) for part in (carried, whitened, samples)))


def whitening(covariance: np.ndarray) -> np.ndarray:
    """Inverse of the Cholesky factor of a covariance, which may be singular.

    Parameters
    ----------
    covariance : ndarray, shape (q, q)

    Returns
    -------
    ndarray, shape (q, q)
        Row a takes a vector to the part of its component a that the components before do not determine, standardized;
        NaN where there is no such part.
    """
    factor = np.zeros_like(covariance)
    for a, own in enumerate(np.eye(covariance.shape[0])):
        rest = own - (covariance[a] @ factor[:a].T) @ factor[:a]
        variance = rest @ covariance @ rest
        if variance > NEGLIGIBLE_SHARE * covariance[a, a]:
            factor[a] = rest / np.sqrt(variance)
    factor[~np.any(factor, axis=1)] = np.nan
    return factor


def compare(laws: Laws, t: int, start: Array, first: Array, trained: Array, responses: Array) -> dict[str, Array]:
    """Compare a training run with the theory at iteration t.

    Parameters
    ----------
    laws : Laws
    t : int
    start : array, shape (q + k, d)
        [W^0, mu]^T.
    first : array, shape (q, d)
        W^t.
    trained : array, shape (q, n)
        h^t.
    responses : array, shape (n,)
        y.

    Returns
    -------
    dict of str to array
        The variables of `sedyn.observables.COMPARED` without their iteration axis.
    """
    xp = array_namespace(first)
    residuals = first - xp.matmul(laws.carried[t, ...], start)
    whitened = xp.sort(xp.matmul(laws.whitening[t, ...], residuals), axis=-1)
    mean, deviation = xp.mean(whitened, axis=1, keepdims=True), xp.std(whitened, axis=1, keepdims=True)
    rows = from_normal(xp.stack([whitened, (whitened - mean) / deviation], axis=1))
    samples = xp.sort(xp.stack([trained, trained * responses]), axis=-1)
    found = from_sample(samples, laws.samples[t, ...])
    return {
        "row_kolmogorov": rows.kolmogorov,
        "row_wasserstein": rows.wasserstein,
        "row_residual_quantiles": quantiles(whitened),
        "row_residual_covariance": xp.matmul(residuals, residuals.T) / residuals.shape[1],
        "pre_activation_kolmogorov": found.kolmogorov[0, :],
        "pre_activation_wasserstein": found.wasserstein[0, :],
        "pre_activation_quantiles": quantiles(samples[0, ...]),
        "pre_activation_response_kolmogorov": found.kolmogorov[1, :],
        "pre_activation_response_wasserstein": found.wasserstein[1, :],
    }
