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

from sedyn.arrays.backend import Array, array_namespace, ndtr, stdtrit
from sedyn.arrays.shapes import Float
from sedyn.checks import checked, elementwise, identifier
from sedyn.model.families import Family, Law, read_law
from sedyn.model.registry import Registry

__all__ = ["NOISE_LAWS", "NoiseFamily", "NoiseLaw", "noise_law", "register_noise"]


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
    """

    of_normal: Callable[..., Array]
    flips: bool = False


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


NOISE_LAWS: Registry[NoiseFamily] = Registry(
    "noise_law",
    {
        "gaussian": NoiseFamily(lambda x: x),
        "student_t": NoiseFamily(
            _student_t,
            parameters=("degrees of freedom",),
            valid=lambda df: df > 2,
            condition="degrees of freedom greater than 2",
        ),
        "laplace": NoiseFamily(_laplace),
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
