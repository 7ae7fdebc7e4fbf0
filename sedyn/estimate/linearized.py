"""What samples keep of themselves, on average, by descents that are linearized about the run.

All samples push at once with random signs, so that a sample's sign times the answer is, on average, the answer to
itself. That tells what estimates leave out, what the deeper layers keep of each sample (docs/theory.md#deeper-term),
and whether what they take out of the first layer is what is there (docs/theory.md#first-layer-check): at the price of
some two descents for each linearized run, whatever the features are like.
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

__all__ = ["LinearizedRuns", "Pass"]

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


class LinearizedRuns(NamedTuple):
    """P linearized runs up to t, pushed by each sample's own derivatives times its sign.

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
    answers : array, shape (P, q, n)
        How pre-activations have answered.
    """

    iteration: int
    signs: Float[Array, "P n"]
    first_weights: Float[Array, "P q d"]
    previous_first_weights: Float[Array, "P q d"]
    deep_weights: DeepWeights
    previous_deep_weights: DeepWeights
    answers: Float[Array, "P q n"]

    @classmethod
    def begin(
        cls, signs: Float[Array, "P n"], first_weights: Float[Array, "q d"], deep_weights: DeepWeights
    ) -> LinearizedRuns:
        """Nothing has answered yet.

        Parameters
        ----------
        signs : array, shape (P, n)
            Independent signs, -1 or 1.
        first_weights, deep_weights : array, tuple of array
            Give shapes.

        Returns
        -------
        LinearizedRuns
        """
        xp, runs = array_namespace(signs), signs.shape[0]
        first, *deep = (
            xp.zeros((runs, *each.shape), dtype=signs.dtype, device=signs.device)
            for each in (first_weights, *deep_weights)
        )
        answers = xp.zeros((runs, first.shape[1], signs.shape[1]), dtype=signs.dtype, device=signs.device)
        return cls(0, signs, first, first, tuple(deep), tuple(deep), answers)

    def step(self, problem: Problem, given: Pass, update: Update) -> LinearizedRuns:
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
        LinearizedRuns
            Up to t + 1.
        """
        design, network, trained, derivatives, fresh = given
        shared, signed = SharedDesign(design), self.signs[:, None, :]
        along = self.answers - signed * (trained - fresh)
        own = self._weighted(network)
        gradient, deep_gradient = self._change(network, trained, along)
        pushed = differentiate(self._beside(trained), own, curvature=False).deep_gradient
        drive = shared.rmatmul(gradient + signed * derivatives.gradient) / float(problem.aspect_ratio)
        deep_drive = tuple(one + other for one, other in zip(deep_gradient, pushed, strict=True))
        first, previous = update(self.first_weights, self.previous_first_weights, drive)
        deep, previous_deep = step_deep_weights(problem, self, deep_drive, update)
        return LinearizedRuns(
            self.iteration + 1, self.signs, first, previous, deep, previous_deep, shared.matmul(first)
        )

    def deeper_term(
        self, network: Network, fresh: Float[Array, "q n"], weights: Float[Array, " n"] | None = None
    ) -> Float[Array, " P"]:
        """What the estimated mean of twice the loss is too low by, for what deeper layers keep of each sample.

        Parameters
        ----------
        network : Network
            At V^t.
        fresh : array, shape (q, n)
            zhat^t.
        weights : array, shape (n,), optional
            Of the samples in the mean, with mean 1.

        Returns
        -------
        array, shape (P,)
            Of each run, independent and of one mean; their spread is the error that random signs make.
        """
        size = HALF_DISTANCE / _largest(self.deep_weights, ())
        there = [self._moved(network, sign * size).losses(self._beside(fresh)) for sign in (1, -1)]
        return self._mean((there[0] - there[1]) / size, weights)

    def first_layer_term(
        self,
        network: Network,
        trained: Float[Array, "q n"],
        fresh: Float[Array, "q n"],
        weights: Float[Array, " n"] | None = None,
    ) -> Float[Array, " P"]:
        """What the estimated mean would be too low by, were what pre-activations keep what the linearized runs tell.

        Small beside the estimate where what was taken out is right. It is a check, no correction: where it is not
        small, neither is what is left out in linearizing.

        Parameters
        ----------
        network : Network
            At V^t, without the weights of a mini-batch.
        trained, fresh : array, shape (q, n)
            h^t and zhat^t.
        weights : array, shape (n,), optional
            As for `deeper_term`.

        Returns
        -------
        array, shape (P,)
        """
        gradient = differentiate(fresh, network, curvature=False).gradient
        left = self.answers - self.signs[:, None, :] * (trained - fresh)
        return self._mean(2 * array_namespace(fresh).sum(gradient * left, axis=-2), weights)

    def _mean(self, slopes: Float[Array, "P n"], weights: Float[Array, " n"] | None) -> Float[Array, " P"]:
        """Minus the mean over samples of their signs times what has their signs in it."""
        signs = self.signs if weights is None else self.signs * weights
        return -array_namespace(slopes).mean(signs * slopes, axis=-1)

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
