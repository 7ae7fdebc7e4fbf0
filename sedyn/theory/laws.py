"""A training run against the laws that the theory predicts: of first-layer rows and of training pre-activations.

First-layer rows and samples are too many to keep, so what is compared is reduced to distances, quantiles and moments
here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float, Integer
from sedyn.errors import InvalidInput
from sedyn.model.observables import quantiles
from sedyn.model.problem import Problem
from sedyn.model.quadrature import interpolation
from sedyn.theory.distances import from_normal, from_sample
from sedyn.theory.weight_side import spectral_nodes

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SOLVER", "Laws", "compare", "laws_of", "whitening"]

# A unit whose noise is determined by the others' up to this share of its variance has none of its own to compare.
NEGLIGIBLE_SHARE = 1e-10
# Attributes that say how the theory was solved; they go with every comparison.
SOLVER = ("samples", "randomizations", "seed")

_VARIABLES = ("pre_activation_samples", "response_samples", "row_coefficients", "row_covariances")


class Laws(NamedTuple):
    """What the theory says about first-layer rows (docs/theory.md#law-of-rows) and samples, by iteration.

    Attributes
    ----------
    carried : array, shape (T + 1, B, q, q + k)
        [P_t, m_t] at each spectral node: a first-layer row with that eigenvalue has mean P_t w^0 + m_t mu.
    covariances : array, shape (T + 1, B, q, q)
        Of the row around this mean.
    interpolation : array, shape (E, B)
        From the nodes to every distinct eigenvalue, see `sedyn.model.quadrature.interpolation`.
    eigenvalue : array of int, shape (d,)
        Which of them each feature has.
    samples : array, shape (T + 1, 2, q, N)
        Draws of h^t and of h^t y, sorted along the last axis.
    """

    carried: Float[Array, "T+1 B q q+k"]
    covariances: Float[Array, "T+1 B q q"]
    interpolation: Float[Array, "E B"]
    eigenvalue: Integer[Array, " d"]
    samples: Float[Array, "T+1 2 q N"]


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

    Returns
    -------
    Laws

    Raises
    ------
    InvalidInput
        If the solution has no samples or is another problem's; the message names every difference. Only what the
        theory cannot see may differ, as n and d at the same ratio.
    """
    remedy = 'give what sedyn.state_evolution(problem, include=("samples",)) returns'
    missing = [name for name in _VARIABLES if name not in theory]
    missing += [f"attribute {name}" for name in ("n", "d", *SOLVER) if name not in theory.attrs]
    if missing:
        raise InvalidInput("theory", f"a dataset without {', '.join(missing)}", remedy)
    solved = Problem.from_mapping({name: theory.attrs[name] for name in problem.to_dict() if name in theory.attrs})
    if solved.theory_key != problem.theory_key:
        there, here = (json.loads(each.theory_key) for each in (solved, problem))
        names = sorted(name for name in {**there, **here} if there.get(name) != here.get(name))
        differences = ", ".join(f"{name} {getattr(solved, name)} instead of {getattr(problem, name)}" for name in names)
        raise InvalidInput("theory", f"of a problem with {differences}", f"{remedy} for this problem")
    values = {name: theory[name].values for name in _VARIABLES}
    h = values["pre_activation_samples"]
    samples = np.sort(np.stack([h, h * values["response_samples"]], axis=1))
    eigenvalues = problem.eigenvalues
    towards = interpolation(eigenvalues, spectral_nodes(problem.steps))
    _, which = np.unique(eigenvalues, return_inverse=True)
    parts = values["row_coefficients"], values["row_covariances"], towards, which, samples
    return Laws(*(backend.asarray(part, device) for part in parts))


def whitening(covariances: Float[Array, "*leading q q"]) -> Float[Array, "*leading q q"]:
    """Inverses of the Cholesky factors of covariances, which may be singular.

    Parameters
    ----------
    covariances : array, shape (..., q, q)

    Returns
    -------
    array, shape (..., q, q)
        Row a takes a vector to the part of its component a that the components before do not determine, standardized;
        NaN where there is no such part.
    """
    xp, width = array_namespace(covariances), covariances.shape[-1]
    factor = xp.zeros_like(covariances)
    for a in range(width):
        known = xp.matmul(factor, covariances[..., a, :, None])
        rest = -xp.matmul(xp.matrix_transpose(factor), known)[..., 0]
        rest[..., a] += 1
        variance = xp.sum(rest * xp.matmul(covariances, rest[..., None])[..., 0], axis=-1)
        own = variance > NEGLIGIBLE_SHARE * covariances[..., a, a]
        factor[..., a, :] = xp.where(own[..., None], rest / xp.sqrt(xp.where(own, variance, 1.0))[..., None], 0.0)
    return xp.where(xp.any(factor != 0, axis=-1, keepdims=True), factor, xp.nan)


def compare(
    laws: Laws,
    t: int,
    start: Float[Array, "qk d"],
    first_weights: Float[Array, "q d"],
    trained: Float[Array, "q n"],
    labels: Float[Array, "C n"],
) -> dict[str, Float[Array, "..."]]:
    """Compare a training run with the theory at iteration t.

    Parameters
    ----------
    laws : Laws
    t : int
    start : array, shape (q + k, d)
        [W^0, mu]^T.
    first_weights : array, shape (q, d)
        W^t.
    trained : array, shape (q, n)
        h^t.
    labels : array, shape (C, n)
        y, of which the first output's is looked at.

    Returns
    -------
    dict of str to array
        The variables of `sedyn.model.observables.COMPARED` without their iteration axis.
    """
    xp = array_namespace(first_weights)
    residuals = first_weights - _products(laws, _at_eigenvalues(laws, laws.carried[t, ...]), start)
    factors = whitening(_at_eigenvalues(laws, laws.covariances[t, ...]))
    whitened = xp.sort(_products(laws, factors, residuals), axis=-1)
    mean, deviation = xp.mean(whitened, axis=1, keepdims=True), xp.std(whitened, axis=1, keepdims=True)
    distances = from_normal(xp.stack([whitened, (whitened - mean) / deviation], axis=1))
    samples = xp.sort(xp.stack([trained, trained * labels[0, :]]), axis=-1)
    found = from_sample(samples, laws.samples[t, ...])
    return {
        "row_kolmogorov": distances.kolmogorov,
        "row_wasserstein": distances.wasserstein,
        "row_residual_quantiles": quantiles(whitened),
        "row_residual_covariance": xp.matmul(residuals, residuals.T) / residuals.shape[1],
        "pre_activation_kolmogorov": found.kolmogorov[0, :],
        "pre_activation_wasserstein": found.wasserstein[0, :],
        "pre_activation_quantiles": quantiles(samples[0, ...]),
        "pre_activation_response_kolmogorov": found.kolmogorov[1, :],
        "pre_activation_response_wasserstein": found.wasserstein[1, :],
    }


def _at_eigenvalues(laws: Laws, at_nodes: Float[Array, "B a b"]) -> Float[Array, "E a b"]:
    """Matrices for every distinct eigenvalue from those at the nodes (docs/theory.md#eigenvalue-interpolation)."""
    xp = array_namespace(at_nodes)
    flat = xp.matmul(laws.interpolation, xp.reshape(at_nodes, (at_nodes.shape[0], -1)))
    return xp.reshape(flat, (-1, *at_nodes.shape[1:]))


def _products(laws: Laws, matrices: Float[Array, "E a b"], columns: Float[Array, "b d"]) -> Float[Array, "a d"]:
    """Each column times the matrix of its eigenvalue."""
    xp = array_namespace(columns)
    found = []
    for a in range(matrices.shape[1]):
        entries = [xp.take(matrices[:, a, b], laws.eigenvalue, axis=0) * columns[b, :] for b in range(columns.shape[0])]
        found.append(sum(entries[1:], entries[0]))
    return xp.stack(found)
