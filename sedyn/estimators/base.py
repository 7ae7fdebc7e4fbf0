"""What regressor and classifier share: from a table and labels to fitted attributes, and to the network's output."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from sedyn.arrays.shapes import Float
from sedyn.arrays.threads import one_blas_thread
from sedyn.descent.leave_one_out import seconds_for
from sedyn.errors import InvalidInput
from sedyn.estimate.by_spectrum import BySpectrum
from sedyn.estimate.protocol import Estimate, no_estimate_because
from sedyn.estimate.rows import row_scales
from sedyn.estimate.self_consistent import Begun as BegunEstimate
from sedyn.estimate.self_consistent import SelfConsistent
from sedyn.estimators.doubts import TINY, Doubt, doubts_about
from sedyn.estimators.features import Standardization, eigenvalues_of, read_table, require_finite, standardization_of
from sedyn.estimators.linear import choose, modes_of
from sedyn.estimators.options import AUTO, Options
from sedyn.estimators.price import require_memory, seconds_of_starts, tell_price
from sedyn.estimators.rates import (
    AUTO_SHARE,
    DEEP_SHARE,
    curvature_bound,
    hidden_units,
    largest_eigenvalue,
    updates_of_fit,
)
from sedyn.estimators.samples import Samples
from sedyn.estimators.scores import (
    FreshLike,
    loss_of_one_contradiction,
    stderr_of_mean,
    stderr_of_what_is_learned,
)
from sedyn.estimators.training import Begun, Fit, Patience, Table, fit_network
from sedyn.model.architecture import layers_of
from sedyn.model.functions import loss_named
from sedyn.model.network import forward, losses
from sedyn.model.observables import SIMULATED, stack_iterations, to_dataset
from sedyn.model.problem import TRAINING, Problem
from sedyn.model.quadrature import gauss_quadrature
from sedyn.versions import versions

__all__ = ["Labels", "NetworkEstimator"]

AFFORDABLE_SECONDS = 1.0
"""What exact leave-one-out may take where nobody asks for it, over so many steps as a fit often has."""
LIKELY_STEPS = 200


class Labels(NamedTuple):
    """What the kernels are told of the targets.

    Attributes
    ----------
    values : ndarray, shape (C, n)
        Standardized targets, classes as -1 and 1, or a row for each class.
    kind : str
        `Problem.labels`.
    intercept : ndarray, shape (C,)
        Outputs that fit best where nothing is known of a sample.
    scale : float
        Of the targets in units of the labels; errors are reported in the squared targets' units.
    """

    values: Float[np.ndarray, "C n"]
    kind: str
    intercept: Float[np.ndarray, " C"]
    scale: float


class NetworkEstimator(FreshLike, Options, BaseEstimator):
    """A network that is fitted to features and labels, and keeps the history of its training."""

    problem_: Problem
    selection_bias_: float
    _fresh_losses: Float[np.ndarray, " n"]

    def _loss(self, labels: Labels) -> str:
        """Name the loss of the network's outputs."""
        return self.loss

    def _learn(self, samples: Samples, labels: Labels) -> None:
        """Train and set the fitted attributes.

        Parameters
        ----------
        samples : Samples
            As given, with y for scores.
        labels : Labels
        """
        names, weights = self._names(), samples.weights
        standardization = standardization_of(samples.X, names, weights, standardize=self.standardize)
        seed = int(check_random_state(self.random_state).randint(2**31))
        n, outputs = len(samples.X), len(labels.values)
        data = {"n": n, "d": standardization.kept.size, "labels": labels.kind, "outputs": outputs}
        data |= {"signals": outputs if labels.kind == "classes" else 1, "loss": self._loss(labels)}
        problem = self._problem(**data, init_seed=seed, initialization="random")
        exact = self._exactly(problem, weights)
        reason = None if exact else no_estimate_because(problem)
        if reason and self.early_stopping:
            raise InvalidInput("early_stopping", True, f"{reason}, or estimate='exact', or early_stopping=False")
        if self.early_stopping and (self.estimate is False or self.estimate == "last"):
            remedy = f"needs an estimate at every iteration; estimate={self.estimate!r} needs early_stopping=False"
            raise InvalidInput("early_stopping", True, remedy)
        wanted = not reason and self.estimate is not False
        linear = self._begins_linear(problem)
        require_memory(problem, estimate=wanted, history=wanted and not self._by_modes, linear=linear)
        if wanted and not exact and self._by_modes:
            tell_price(problem, LIKELY_STEPS)
        warm = self._warm(problem, standardization)
        self.kept_features_, self.feature_mean_, self.feature_scale_ = standardization
        features = standardization.apply(samples.X)
        table = Table(features, labels.values, weights)
        begun = estimate = None
        self.spectrum_: Float[np.ndarray, " d"] | None = None
        with one_blas_thread(features.size * min(features.shape)):
            if linear:
                penalty = self._penalty_before() if warm else None
                if penalty is None and (begun := self._begun(problem, table)):
                    penalty = begun.model.penalty
                begun, problem = None if warm else begun, replace(problem, weight_decay=penalty or 0.0)
            largest = largest_eigenvalue(features, weights) * curvature_bound(loss_named(problem.loss), outputs)
            problem = self._with_rates(problem, largest)
            largest += problem.weight_decay
            if wanted and not exact:
                estimate = self._begin_estimate(problem, table, begun, samples.X.shape[1] - problem.d)

        most_steps, open_ended = problem.steps, self.steps is None and bool(self.early_stopping)
        with one_blas_thread(features.size * problem.units * (n if exact else 1)):
            fit = fit_network(
                problem,
                updates_of_fit(problem, accelerated=self._accelerated, linear_decay=linear),
                table,
                estimate,
                exact=exact,
                last_only=self.estimate == "last",
                intercept=labels.intercept if self.fit_intercept and problem.bias_init == 0 else None,
                linear=begun,
                warm=warm,
                early_stopping=bool(self.early_stopping),
                patience=Patience(self.patience if open_ended else None),
                tell=print if self.verbose else None,
            )
        if fit.diverged:
            self._tell_divergence(len(fit.train_error), fit.iteration)
        if open_ended:
            problem = replace(problem, **_shorter(problem, len(fit.train_error) - 1))
        self.first_weights_ = fit.first_weights / np.sqrt(problem.d)
        self.deep_weights_, self.problem_ = fit.deep_weights, problem
        self.best_iteration_ = fit.iteration
        self.learning_rate_, self.weight_decay_ = problem.learning_rate, problem.weight_decay
        self._decay_is_of_linear_units = linear
        self._keep_fresh(samples.y, weights, fit.fresh_outputs)
        surprise = self._keep_estimate(problem, fit, labels, weights)
        found = []
        if wanted:
            rests_on_few = surprise > self.estimated_test_error_
            relative = self.estimated_test_error_stderr_ / max(self.estimated_test_error_, TINY)
            starts = {"begun": begun is not None, "warm": warm is not None, "exact": exact}
            found = doubts_about(
                problem,
                fit,
                samples,
                largest,
                most_steps=most_steps,
                stderr=relative,
                rests_on_few=rests_on_few,
                **starts,
            )
        self.history_ = self._history(problem, fit, labels.scale**2, reason, found, exact=exact)
        for doubt in found:
            doubt.tell(stacklevel=3)

    @property
    def _by_modes(self) -> bool:
        return isinstance(self.spectrum, str) and self.spectrum == "modes"

    def _exactly(self, problem: Problem, weights: Float[np.ndarray, " n"]) -> bool:
        """Whether leave-one-out is run, which is of centred features, and of no single sample that is all there is."""
        able = bool(self.standardize) and not problem.temperature and bool((weights < problem.n).all())
        if self.estimate == "exact":
            if not self._by_modes:
                raise InvalidInput("estimate", "exact", "takes no spectrum; set spectrum='modes'")
            if not able:
                raise InvalidInput("estimate", "exact", "needs standardize=True and temperature=0")
            return True
        seconds = seconds_for(problem) * LIKELY_STEPS / problem.steps  # so that more steps change no estimate of fewer
        if self._begins_linear(problem):
            seconds += seconds_of_starts(problem)
        return self.estimate is True and able and self._by_modes and seconds < AFFORDABLE_SECONDS

    def _with_rates(self, problem: Problem, largest: float) -> Problem:
        """Choose the learning rates that are open, from the largest curvature of a linear model's mean loss."""
        if not (isinstance(self.learning_rate, str) and self.learning_rate == AUTO):
            return problem
        bound = curvature_bound(loss_named(problem.loss), problem.outputs)
        rate, deep = AUTO_SHARE / largest, problem.deep_learning_rate
        return replace(
            problem, learning_rate=rate, deep_learning_rate=min(rate, DEEP_SHARE / bound) if deep is None else deep
        )

    def _begun(self, problem: Problem, table: Table) -> Begun | None:
        """Solve the linear model inside, where it can be, and its share in the estimate is known."""
        if not self._by_modes:
            return None
        modes = modes_of(table.features, table.weights, intercept=problem.bias != "none")
        model = choose(modes, table.labels, table.weights, loss_named(problem.loss))
        return None if model is None else Begun(model, modes)

    def _begin_estimate(self, problem: Problem, table: Table, begun: Begun | None, dropped: int) -> Estimate:
        """What is estimated from, before the first step: modes of the features, or a spectrum, which is kept."""
        features, weights = table.features, table.weights
        if self._by_modes:
            known = None
            if begun is not None:
                model, loss = begun.model, loss_named(problem.loss)
                outputs = model.weights @ features.T + model.intercept[:, None]
                _, gradients, curvatures = loss.jet(outputs, table.labels, 2)
                if not loss.joint:
                    curvatures = curvatures[:, None] * np.eye(len(curvatures))[:, :, None]
                units = slice(hidden_units(problem), problem.units)
                known = BegunEstimate(units, model.kept, gradients, curvatures, problem.weight_decay)
            return SelfConsistent.begin(features, weights, problem.units, centred=bool(self.standardize), begun=known)
        self.spectrum_ = spectrum = eigenvalues_of(features, self.spectrum, dropped)
        measure = gauss_quadrature(spectrum, problem.steps + 1)
        return BySpectrum.begin(problem, measure, np.empty((problem.units, problem.d)), row_scales(features))

    def _warm(self, problem: Problem, standardization: Standardization) -> tuple | None:
        """Weights to begin with, of the fit before."""
        if not (self.warm_start and hasattr(self, "problem_")):
            return None
        same = ("width", "depth", "bias", "outputs", "skip", "residual", "hidden")
        if any(getattr(self.problem_, name) != getattr(problem, name) for name in same) or not np.array_equal(
            self.kept_features_, standardization.kept
        ):
            raise InvalidInput("warm_start", True, "the fit before has other layers or features; set warm_start=False")
        return self.first_weights_ * np.sqrt(problem.d), self.deep_weights_

    def _penalty_before(self) -> float | None:
        """Of the linear units in the fit before, if it was chosen for them."""
        return self.problem_.weight_decay if self._decay_is_of_linear_units else None

    def _names(self) -> list[str]:
        """Names of the columns, or their numbers."""
        if hasattr(self, "feature_names_in_"):
            return [repr(name) for name in self.feature_names_in_]
        return [str(column) for column in range(self.n_features_in_)]

    def _tell_divergence(self, iteration: int, best: int) -> None:
        remedy = f"training diverged at iteration {iteration}; use a smaller learning rate"
        if not self.early_stopping:
            raise InvalidInput("learning_rate", self.learning_rate, remedy)
        message = f"learning_rate={self.learning_rate!r}: {remedy} (stopped at iteration {best})"
        warnings.warn(message, ConvergenceWarning, stacklevel=4)

    def _keep_estimate(self, problem: Problem, fit: Fit, labels: Labels, weights: np.ndarray) -> float:
        """Set the estimate of the weights that are kept, what choosing them has gained by chance, and its error.

        That is made of its spread over samples, of what these have taught each other, of what was gained, of a second
        estimate, and of what one sample would add that looks like another class: where classes are told apart, the
        spread of the samples that are there knows of none.

        Returns
        -------
        float
            The last of these.
        """
        self.estimated_test_error_ = self.estimated_test_error_stderr_ = self.selection_bias_ = np.nan
        if fit.fresh_outputs is None:
            return 0.0
        loss, scale, values = loss_named(problem.loss), 2 * labels.scale**2, labels.values
        each = scale * losses(loss, fit.fresh_outputs, values)
        self._fresh_losses, estimate = each, float(np.average(each, weights=weights))
        self.selection_bias_ = scale * fit.gained
        self.estimated_test_error_ = estimate + self.selection_bias_
        surprise = scale * loss_of_one_contradiction(loss, fit.fresh_outputs, values, weights)
        learned = scale * stderr_of_what_is_learned(loss, fit.outputs, fit.fresh_outputs, values, weights, fit.gained)
        spread = stderr_of_mean(each, weights) * self.estimated_test_error_ / max(estimate, TINY)
        parts = [spread, learned, self.selection_bias_, surprise]
        if np.isfinite(fit.second_estimate):
            parts.append(labels.scale**2 * fit.second_estimate - estimate)
        self.estimated_test_error_stderr_ = float(np.linalg.norm(parts))
        return surprise

    def _history(
        self, problem: Problem, fit: Fit, squared_scale: float, reason: str | None, found: list[Doubt], *, exact: bool
    ) -> xr.Dataset:
        names = ("train_error", "estimated_test_error")
        arrays = {name: squared_scale * stack_iterations(problem, getattr(fit, name)) for name in names}
        attributes = {
            "spectrum": self.spectrum if isinstance(self.spectrum, str) else "given",
            "standardize": bool(self.standardize),
            "early_stopping": bool(self.early_stopping),
            "best_iteration": fit.iteration,
            "no_estimate_because": reason or "",
            "estimate": "exact" if exact else self.estimate,
            "second_estimate": squared_scale * fit.second_estimate,
            "warnings": [doubt.message for doubt in found],
            **versions(),
        }
        if self._accelerated:
            attributes["momentum"] = AUTO
        history = to_dataset(problem, arrays, {name: SIMULATED[name] for name in names}, attributes=attributes)
        # The kernels' description of the data is for simulated ones; what is true of a user's is how many there are.
        training = {name: history.attrs[name] for name in TRAINING if name in history.attrs}
        history.attrs = {"n": problem.n, "d": problem.d, **training, **attributes}
        return history

    def _output(self, X: Any) -> Float[np.ndarray, "C samples"]:
        """Network outputs on new samples."""
        check_is_fitted(self)
        X = read_table(self, X, reset=False)
        require_finite(X, self._names())
        standardization = Standardization(self.kept_features_, self.feature_mean_, self.feature_scale_)
        h = self.first_weights_ @ standardization.apply(X).T
        return forward(h, self.deep_weights_, layers_of(self.problem_))


def _shorter(problem: Problem, steps: int) -> dict[str, Any]:
    """Fields of the problem with so many of its steps, one at least."""
    steps = max(1, steps)
    rates: dict[str, Any] = {
        name: rate[:steps]
        for name in ("learning_rate", "deep_learning_rate")
        if isinstance(rate := getattr(problem, name), tuple)
    }
    return {"steps": steps, **rates}
