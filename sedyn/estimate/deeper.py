"""What samples keep of themselves in the deeper layers, of order 1/n, by a linearized run (docs/theory.md#deeper-term).

A sample also teaches the deeper layers, by 1/n of all that they learn. The estimates of pre-activations leave that out;
here a descent linearized about the run, in which all samples push at once with random signs, tells its mean over
samples, at the price of a few descents for all of them.
"""

from __future__ import annotations

from typing import NamedTuple

from sedyn.arrays.backend import Array, array_namespace
from sedyn.arrays.shapes import Float
from sedyn.designs.protocol import Design
from sedyn.designs.shared import SharedDesign
from sedyn.kernels.dispatch import differentiate
from sedyn.model.algorithm import step_deep_weights
from sedyn.model.network import DeepWeights, Derivatives, Network
from sedyn.model.problem import Problem
from sedyn.model.update import Update

__all__ = ["DeeperTerm", "Pass"]

# Half the distance of central differences, relative to what they go along: rounding and curvature lose 1e-10 each.
HALF_DISTANCE = 1e-5


class Pass(NamedTuple):
    """What one pass over the data shows at an iteration t.

    Attributes
    ----------
    design : Design
        X of one replicate, its scales in it.
    network : Network
        At V^t, with the mini-batch's weights.
    trained : array, shape (q, n)
        h^t.
    derivatives : Derivatives
        At h^t, with curvature.
    fresh : array, shape (q, n)
        zhat^t.
    """

    design: Design
    network: Network
    trained: Float[Array, "q n"]
    derivatives: Derivatives
    fresh: Float[Array, "q n"]


class DeeperTerm(NamedTuple):
    """Linearized runs up to t, pushed by each sample's own derivatives times its sign.

    Attributes
    ----------
    iteration : int
        t.
    signs : array, shape (P, n)
        Of the samples in each of the P runs, -1 or 1.
    first_weights, previous_first_weights : array, shape (P, q, d)
        How the first layer has answered, and what its momentum is the difference from.
    deep_weights, previous_deep_weights : tuple of array
        Likewise of the deeper layers, with an axis P in front.
    """

    iteration: int
    signs: Float[Array, "P n"]
    first_weights: Float[Array, "P q d"]
    previous_first_weights: Float[Array, "P q d"]
    deep_weights: DeepWeights
    previous_deep_weights: DeepWeights

    @classmethod
    def begin(
        cls, signs: Float[Array, "P n"], first_weights: Float[Array, "q d"], deep_weights: DeepWeights
    ) -> DeeperTerm:
        """Nothing has answered yet.

        Parameters
        ----------
        signs : array, shape (P, n)
            Independent signs, -1 or 1.
        first_weights, deep_weights : array, tuple of array
            Give shapes.

        Returns
        -------
        DeeperTerm
        """
        xp, runs = array_namespace(signs), signs.shape[0]
        first, *deep = (
            xp.zeros((runs, *each.shape), dtype=signs.dtype, device=signs.device)
            for each in (first_weights, *deep_weights)
        )
        return cls(0, signs, first, first, tuple(deep), tuple(deep))

    def step(self, problem: Problem, given: Pass, update: Update) -> DeeperTerm:
        """Take in the derivatives at iteration t.

        A sample pushes with its derivatives less what follows from what it keeps of itself, G - D (h - zhat), so that
        the answer with the sample among the others is what it keeps.

        Parameters
        ----------
        problem : Problem
        given : Pass
        update : Update
            Of step t.

        Returns
        -------
        DeeperTerm
            Up to t + 1.
        """
        design, network, trained, derivatives, fresh = given
        shared, signed = SharedDesign(design), self.signs[:, None, :]
        along = shared.matmul(self.first_weights) - signed * (trained - fresh)
        own = self._weighted(network)
        gradient, deep_gradient = self._change(network, trained, along)
        pushed = differentiate(self._beside(trained), own, curvature=False).deep_gradient
        drive = shared.rmatmul(gradient + signed * derivatives.gradient) / float(problem.aspect_ratio)
        deep_drive = tuple(one + other for one, other in zip(deep_gradient, pushed, strict=True))
        first, previous = update(self.first_weights, self.previous_first_weights, drive)
        deep, previous_deep = step_deep_weights(problem, self, deep_drive, update)
        return DeeperTerm(self.iteration + 1, self.signs, first, previous, deep, previous_deep)

    def corrections(self, network: Network, fresh: Float[Array, "q n"]) -> Float[Array, " P"]:
        """What each run would add to the estimated mean of twice the loss.

        Parameters
        ----------
        network : Network
            At V^t.
        fresh : array, shape (q, n)
            zhat^t.

        Returns
        -------
        array, shape (P,)
            Independent and of one mean; their spread is the error that random signs make.
        """
        xp, size = array_namespace(fresh), HALF_DISTANCE / _largest(self.deep_weights, ())
        there = [self._moved(network, sign * size).losses(self._beside(fresh)) for sign in (1, -1)]
        slopes = (there[0] - there[1]) / (2 * size)
        return -2 * xp.mean(self.signs * slopes, axis=-1)

    def _change(
        self, network: Network, trained: Array, along: Float[Array, "P q n"]
    ) -> tuple[Float[Array, "P q n"], DeepWeights]:
        """Derivatives of gradients along changes of h and V: of each sample's, and of the mean of the deeper ones'."""
        size = HALF_DISTANCE / _largest(self.deep_weights, (along,))
        above, below = (
            differentiate(trained + sign * size * along, self._moved(network, sign * size), curvature=False)
            for sign in (1, -1)
        )
        gradient = (above.gradient - below.gradient) / (2 * size)
        pairs = zip(above.deep_gradient, below.deep_gradient, strict=True)
        return gradient, tuple((one - other) / (2 * size) for one, other in pairs)

    def _moved(self, network: Network, size: float) -> Network:
        """The network with deeper weights moved by so much of what each run has answered."""
        deep = tuple(one + size * change for one, change in zip(network.deep, self.deep_weights, strict=True))
        weights = network.sample_weights
        return network._replace(
            deep=deep,
            labels=self._beside(network.labels),
            sample_weights=None if weights is None else self._beside(weights),
        )

    def _weighted(self, network: Network) -> Network:
        """The network with samples weighted by their signs."""
        weights = self.signs if network.sample_weights is None else self.signs * network.sample_weights
        return self._moved(network, 0.0)._replace(sample_weights=weights)

    def _beside(self, array: Float[Array, "..."]) -> Float[Array, "P ..."]:
        """The same array for each run."""
        return array_namespace(array).broadcast_to(array, (self.signs.shape[0], *array.shape))


def _largest(deep: DeepWeights, others: tuple[Array, ...]) -> float:
    """Largest entry of some arrays, or 1 if all are zero."""
    return max([float(array_namespace(each).max(abs(each))) for each in (*deep, *others) if each.size] or [0.0]) or 1.0
