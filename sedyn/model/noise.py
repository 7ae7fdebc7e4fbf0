"""Laws of the label noise, each a function of one standard normal for every label (docs/theory.md#noise-law).

Whoever draws labels draws standard normals for their noise, of a generator or as points of a quadrature. What law the
noise has is decided afterwards, by the function that turns a standard normal into it. So one draw serves every law, and
the Gaussian one, the identity, leaves it as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from sedyn.arrays.backend import Array, array_namespace, ndtr, stdtr, stdtrit
from sedyn.arrays.shapes import Float
from sedyn.checks import checked, elementwise, identifier
from sedyn.model.families import Family, Law, read_law
from sedyn.model.registry import Registry

__all__ = [
    "NOISE_LAWS",
    "Moments",
    "NoiseFamily",
    "NoiseLaw",
    "largest_with_normal_noise",
    "nodes_for_largest",
    "noise_law",
    "register_noise",
]

# How far nodes of averages over normal noise reach, in standard deviations of it: 1e-16 of it is further out.
REACH = 8.25


class Moments(NamedTuple):
    """Moments of a standardized variable where it is below a bound, and zero elsewhere.

    Attributes
    ----------
    probability, mean, square : array, or float
        Of its powers 0, 1 and 2.
    """

    probability: Float[Array, "..."] | float
    mean: Float[Array, "..."] | float
    square: Float[Array, "..."] | float


@dataclass(frozen=True)
class NoiseFamily(Family):
    """Laws of label noise that differ in numbers alone.

    Parameters
    ----------
    of_normal : callable
        ``of_normal(x, *numbers)``: what standard normals x become, elementwise on arrays of any shape.
    flips : bool, optional
        Where it is false, values are standardized and the noise is `Problem.noise` times these. Where it is true, the
        noise decides which labels of classes are replaced: 0 leaves a label, and other values are uniform in (0, 1).
    moments_below : callable, optional
        ``moments_below(x, *numbers)``: the law's `Moments` below x, elementwise; None if nobody knows them.
    largest : callable, optional
        ``largest(means, *numbers)``: how likely each of C means is the largest with independent noise added to all,
        from shape (..., C, N) to the same; None if nobody knows.
    """

    of_normal: Callable[..., Array]
    flips: bool = False
    moments_below: Callable[..., Moments] | None = None
    largest: Callable[..., Array] | None = None


@dataclass(frozen=True)
class NoiseLaw(Law[NoiseFamily]):
    """The law of the label noise."""

    @property
    def flips(self) -> bool:
        """Whether it replaces labels of classes, see `NoiseFamily`."""
        return self.family.flips

    def of_normal(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """Turn standard normals into variables of this law, elementwise."""
        return self.family.of_normal(x, *self.numbers)

    def moments_below(self, x: Float[Array, "*shape"]) -> Moments:
        """Moments below x, elementwise; of families that know them (docs/theory.md#noise-moments)."""
        assert self.family.moments_below is not None
        return self.family.moments_below(x, *self.numbers)

    def largest(self, means: Float[Array, "... C N"]) -> Float[Array, "... C N"]:
        """How likely each mean is the largest with noise; of families that know it (docs/theory.md#class-probability).

        Parameters
        ----------
        means : array, shape (..., C, N)
            In standard deviations of the noise.

        Returns
        -------
        array, shape (..., C, N)
        """
        assert self.family.largest is not None
        return self.family.largest(means, *self.numbers)


def _symmetric(upper: Callable[[Array], Array], x: Array) -> Array:
    """Variables of a symmetric law, by its quantiles as a function of the probability above them, up to 1/2."""
    # The smaller tail is the one that has all its digits.
    return array_namespace(x).sign(x) * upper(ndtr(-abs(x)))


def _student_t(x: Array, df: float) -> Array:
    return math.sqrt((df - 2) / df) * _symmetric(lambda above: -stdtrit(df, above), x)


def _laplace(x: Array) -> Array:
    return math.sqrt(0.5) * _symmetric(lambda above: -array_namespace(x).log(2 * above), x)


def _flip(x: Array, probability: float) -> Array:
    within = array_namespace(x).maximum(probability - ndtr(-x), 0.0)
    return within / probability if probability else within


def _normal_density(x: Array) -> Array:
    return array_namespace(x).exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _gaussian_moments(x: Array) -> Moments:
    below, density = ndtr(x), _normal_density(x)
    return Moments(below, -density, below - x * density)


def _laplace_moments(x: Array) -> Moments:
    xp, scale = array_namespace(x), math.sqrt(0.5)
    size = xp.abs(x)
    beyond = xp.exp(-size / scale) / 2
    mean, square = -beyond * (size + scale), beyond * (x * x + 2 * scale * size + 1)
    below = x <= 0
    return Moments(xp.where(below, beyond, 1 - beyond), mean, xp.where(below, square, 1 - square))


def _student_t_moments(x: Array, df: float) -> Moments:
    xp, scale = array_namespace(x), math.sqrt(df / (df - 2))
    below, at = stdtr(df, scale * x), scale * x
    # Of the density's logarithm, whose constants are large for many degrees of freedom.
    constant = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    mean = -scale / (df - 1) * (df - 2) * xp.exp(constant - (df - 1) / 2 * xp.log1p(at * (at / df)))
    return Moments(below, mean, (df - 1) * stdtr(df - 2, x) - (df - 2) * below)


@cache
def nodes_for_largest(classes: int) -> tuple[Float[np.ndarray, " J"], float]:
    """Equally spaced nodes at which normal noise is averaged for the largest of so many means, and their distance.

    The maximum of many varies less, so nodes are closer: what the rule leaves is at most 2e-16, where two means are
    equal, and 2e-14 of 1 / C for up to ten thousand (in 40 digits, docs/theory.md#class-probability).

    Parameters
    ----------
    classes : int

    Returns
    -------
    nodes : ndarray, shape (J,)
        From the largest mean, in standard deviations of the noise; multiples of 1 / 64, which are exact.
    distance : float
    """
    distance = max(1, math.floor(64 / (1.1 * (1 + math.log(classes))))) / 64
    beside = math.ceil(REACH / distance)
    return np.arange(-beside, beside + 1) * distance, distance


def largest_with_normal_noise(means: Float[Array, "*leading C N"]) -> Float[Array, "*leading C N"]:
    """Average over normal noise how likely each mean is the largest, see `NoiseLaw.largest`.

    Parameters
    ----------
    means : array, shape (..., C, N)

    Returns
    -------
    array, shape (..., C, N)
    """
    xp, classes = array_namespace(means), means.shape[-2]
    nodes, distance_of_nodes = nodes_for_largest(classes)
    top, found = xp.max(means, axis=-2, keepdims=True), xp.zeros_like(means)
    behind = top - means
    for node in nodes.tolist():
        distance = behind + node  # from each mean to where the largest of all is
        below, density = ndtr(distance), _normal_density(distance)
        before = [xp.ones_like(top)]
        for c in range(classes - 1):
            before.append(before[-1] * below[..., c : c + 1, :])
        after = xp.ones_like(top)
        for c in reversed(range(classes)):
            found[..., c : c + 1, :] += density[..., c : c + 1, :] * before[c] * after
            after = after * below[..., c : c + 1, :]
    return found * distance_of_nodes


NOISE_LAWS: Registry[NoiseFamily] = Registry(
    "noise_law",
    {
        "gaussian": NoiseFamily(lambda x: x, moments_below=_gaussian_moments, largest=largest_with_normal_noise),
        "student_t": NoiseFamily(
            _student_t,
            moments_below=_student_t_moments,
            parameters=("degrees of freedom",),
            valid=lambda df: df > 2,
            condition="degrees of freedom greater than 2",
        ),
        "laplace": NoiseFamily(_laplace, moments_below=_laplace_moments),
        "flip": NoiseFamily(
            _flip,
            flips=True,
            parameters=("probability",),
            valid=lambda probability: 0 <= probability < 0.5,
            condition="a probability in [0, 0.5)",
        ),
    },
)


@checked(name=identifier, of_normal=elementwise)
def register_noise(name: str, of_normal: Callable[[Array], Array]) -> None:
    """Make a law of the label noise known under a name, for `Problem` and for configurations.

    Parameters
    ----------
    name : str
        A new name.
    of_normal : callable
        What standard normals become, elementwise on arrays of any shape: variables with mean 0 and variance 1, which
        `Problem.noise` scales. Of a law with quantiles Q it is Q(Phi(x)), Phi the distribution function of x.

    Raises
    ------
    InvalidInput
        If the name is taken or no identifier, or the function fails on a few numbers.
    """
    NOISE_LAWS.register(name, NoiseFamily(of_normal))


@cache
def noise_law(text: str) -> NoiseLaw:
    """Find the law of label noise that a text names, as ``gaussian`` or ``student_t(5)``.

    Raises
    ------
    InvalidInput
        If the name is unknown, or its number is missing, unwanted or out of range.
    """
    return NoiseLaw(*read_law(text, NOISE_LAWS))
