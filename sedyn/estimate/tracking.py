"""The estimate for a network that is trained elsewhere, in a loop of the user's own (docs/theory.md#row-modes)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sedyn.arrays.threads import one_blas_thread
from sedyn.checks import FLAG, NOT_NEGATIVE, POSITIVE, checked, function_of, number, optional, tried
from sedyn.errors import InvalidInput
from sedyn.estimate.by_modes import ByModes
from sedyn.estimate.rows import row_modes, row_scales
from sedyn.model.network import Derivatives
from sedyn.model.update import Update

__all__ = ["Estimated", "Tracker", "track"]

# A column's mean that is this small beside its spread is zero to rounding.
CENTRED = 1e-8


class Estimated(NamedTuple):
    """An estimated mean over fresh samples.

    Attributes
    ----------
    mean : float
    stderr : float
        From the spread over samples.
    """

    mean: float
    stderr: float


def _table(field: str, value: Any) -> np.ndarray:
    """Check a table of finite numbers."""
    words = "a table of finite real numbers, 2 rows and 1 column or more, not all 0"
    found = _array(field, value, words)
    if found.ndim != 2 or found.shape[0] < 2 or found.shape[1] < 1 or not found.any():
        raise InvalidInput(field, f"array of shape {found.shape}", words)
    return found


def _array(field: str, value: Any, words: str) -> np.ndarray:
    """Numbers as an array of doubles, those of PyTorch included."""
    value = value.detach() if hasattr(value, "detach") else value
    try:
        given = np.asarray(value)
        found = given.astype(float) if given.dtype.kind in "iuf" else None
    except (TypeError, ValueError, AttributeError, RuntimeError):
        found = None
    if found is None or not np.isfinite(found).all():
        raise InvalidInput(field, value, words)
    return found


@checked(
    X=_table,
    learning_rate=POSITIVE,
    momentum=number("in [0, 1)", lambda x: 0 <= x < 1),
    weight_decay=NOT_NEGATIVE,
    nesterov=FLAG,
    centred=optional(FLAG),
)
def track(
    X: Any,
    learning_rate: float,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
    centred: bool | None = None,
) -> Tracker:
    """Follow the training of a network elsewhere, and make of its samples fresh ones at every step.

    For gradient descent, with full or mini-batches, on the mean loss of a network whose first layer is linear in X:
    pre-activations ``h = X @ W``, ``n x q``, and above them whatever there is, as long as each sample's loss depends on
    its own row of h alone. The first layer's step is ``W - learning_rate * X[batch].T @ G / len(batch)`` with G the
    derivatives of the batch's losses in their rows of h; momentum and weight decay are those of `torch.optim.SGD`.

    Parameters
    ----------
    X : array, shape (n, d)
        As the first layer is given it.
    learning_rate : float
        Of the first layer; `Tracker.step` takes another one from its step on.
    momentum, weight_decay, nesterov : optional
        As of `torch.optim.SGD`.
    centred : bool, optional
        Whether the mean of the rows was subtracted from them; by default seen from X.

    Returns
    -------
    Tracker
        Before the first step.

    Raises
    ------
    InvalidInput
        If an argument is out of range.

    Notes
    -----
    Source: docs/theory.md#row-modes. What the layers above the first keep of each sample, of order 1/n, is left out.
    Rows that are there several times go on to tell of themselves: give each once. An activation with a kink, as relu,
    is not for this: second derivatives of samples miss what happens at the kink; take softplus or gelu.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, W = rng.standard_normal((60, 20)), np.zeros((20, 1))
    >>> y = X[:, :1] + rng.standard_normal((60, 1))
    >>> tracker = track(X, learning_rate=0.3)
    >>> for _ in range(20):
    ...     h = X @ W
    ...     tracker.step(h - y, np.ones((60, 1, 1)))  # derivatives of (h - y)^2 / 2
    ...     W = W - 0.3 * X.T @ (h - y) / 60
    >>> found = tracker.estimate(X @ W, lambda h: (h - y)[:, 0] ** 2)
    >>> round(found.mean, 2), round(found.stderr, 2)
    (1.31, 0.28)
    """
    mean, spread = X.mean(axis=0), X.std(axis=0)
    if centred is None:
        centred = bool((np.abs(mean) <= CENTRED * np.maximum(spread, np.finfo(float).tiny)).all())
    modes, scales = row_modes(X, centred=centred), row_scales(X)
    update = Update(learning_rate, momentum, weight_decay, learning_rate, 0.0, nesterov)
    return Tracker(lambda q: ByModes.begin(modes, scales, np.empty((q, 1))), len(X), update)


class Tracker:
    """Follows a training run; made by `sedyn.track`.

    Parameters
    ----------
    begin : callable
        Makes of the number of units the estimate before the first step.
    samples : int
        n.
    update : Update
        Of a step.
    """

    def __init__(self, begin: Callable[[int], ByModes], samples: int, update: Update) -> None:
        self._begin, self._samples, self._update = begin, samples, update
        self._estimate: ByModes | None = None

    def fresh_like(self, h: Any) -> Any:
        """Pre-activations without what they keep of their own samples: distributed like those of fresh samples.

        Parameters
        ----------
        h : array or tensor, shape (n, q)
            Of all samples, at the present step.

        Returns
        -------
        array or tensor, shape (n, q)
            Of the kind that was given. What the layers above make of them, and of the samples' labels, has the law of
            what they make of new samples: losses, errors, ranks.
        """
        values = self._units_of("h", h, self._samples)
        if self._estimate is None:
            return h
        fresh = self._estimate.fresh_like(values.T).T
        return h.new_tensor(fresh) if hasattr(h, "new_tensor") else fresh

    def estimate(self, h: Any, losses: Callable[[Any], Any]) -> Estimated:
        """Estimate the mean of a loss over fresh samples.

        Parameters
        ----------
        h : array or tensor, shape (n, q)
            Of all samples, at the present step.
        losses : callable
            Of (n, q) pre-activations, a number for each sample, by its own label: any loss or error.

        Returns
        -------
        Estimated
        """
        words = f"a function from ({self._samples}, q) pre-activations to a finite number for each sample"
        function_of(1)("losses", losses)
        fresh = self.fresh_like(h)
        given = tried("losses", losses, lambda: losses(fresh), f"{words}; this one fails")
        each = _array("losses", given, words)
        if each.shape != (self._samples,):
            raise InvalidInput("losses", f"gives an array of shape {each.shape}", words)
        return Estimated(float(each.mean()), float(each.std(ddof=1) / np.sqrt(each.size)))

    def step(
        self, gradients: Any, curvatures: Any, *, batch: Any | None = None, learning_rate: float | None = None
    ) -> None:
        """Take in the derivatives with which the first layer is stepped.

        Parameters
        ----------
        gradients : array, shape (b, q)
            Derivative of each loss in the sample's pre-activations, not divided by b.
        curvatures : array, shape (b, q, q)
            Second derivatives.
        batch : array of int, shape (b,), optional
            Rows of X in the mini-batch; all of them if not given.
        learning_rate : float, optional
            From this step on, if it is another one.
        """
        rows = self._rows(batch)
        gradient = self._units_of("gradients", gradients, rows.size)
        q, words = gradient.shape[1], "second derivatives of each sample's loss, shape (b, q, q)"
        curvature = _array("curvatures", curvatures, words)
        if curvature.shape != (rows.size, q, q):
            raise InvalidInput("curvatures", f"array of shape {curvature.shape}", words)
        share = self._samples / rows.size
        all_gradients, all_curvatures = np.zeros((q, self._samples)), np.zeros((q, q, self._samples))
        all_gradients[:, rows] = share * gradient.T
        all_curvatures[:, :, rows] = share * np.moveaxis(curvature, 0, -1)
        rate = self._update.learning_rate if learning_rate is None else POSITIVE("learning_rate", learning_rate)
        estimate = self._begin(q) if self._estimate is None else self._estimate
        if rate != self._update.learning_rate:  # the velocity stays, and steps are longer by the rates' ratio
            gone = (rate / self._update.learning_rate) * (estimate.carried - estimate.previous)
            estimate = estimate._replace(previous=estimate.carried - gone)
            self._update = self._update._replace(learning_rate=rate)
        derivatives = Derivatives(all_gradients[0], all_gradients, (), all_curvatures)
        with one_blas_thread():
            self._estimate = estimate.step(derivatives, self._update)

    def step_through(
        self,
        h: Any,
        losses: Callable[[Any], Any],
        *,
        batch: Any | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Do as `step`, with derivatives that PyTorch finds of the losses.

        Parameters
        ----------
        h : tensor, shape (b, q)
            Pre-activations of the batch.
        losses : callable
            Of h, a tensor of b losses, each of its own row and twice differentiable in it.
        batch, learning_rate : optional
            As of `step`.
        """
        try:
            import torch
        except ImportError:
            raise InvalidInput("h", h, "derivatives are PyTorch's, which is not installed; `step` takes them") from None
        if not isinstance(h, torch.Tensor):
            raise InvalidInput("h", h, "a tensor of PyTorch, shape (b, units)")
        function_of(1)("losses", losses)
        at = h.detach().requires_grad_(True)
        found = losses(at)
        if not isinstance(found, torch.Tensor) or found.shape != at.shape[:1] or not found.requires_grad:
            what = f"gives a tensor of shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else found
            words = f"a function of h, differentiable, to a loss for each of {len(at)} rows, no mean: reduction='none'"
            raise InvalidInput("losses", what, words)
        (gradient,) = torch.autograd.grad(found.sum(), at, create_graph=True)
        each = [
            torch.autograd.grad(gradient[:, unit].sum(), at, retain_graph=True, allow_unused=True)[0]
            if gradient.requires_grad
            else None
            for unit in range(at.shape[1])
        ]
        curvature = torch.stack([torch.zeros_like(at) if one is None else one for one in each], dim=1)
        self.step(gradient.detach(), curvature, batch=batch, learning_rate=learning_rate)

    def _rows(self, batch: Any | None) -> np.ndarray:
        """Rows of a batch."""
        if batch is None:
            return np.arange(self._samples)
        words = f"different rows of X, from 0 to {self._samples - 1}"
        given = _array("batch", batch, words)
        rows = given.astype(int)
        if rows.ndim != 1 or not rows.size or len({*rows.tolist()}) < rows.size or (rows != given).any():
            raise InvalidInput("batch", batch, words)
        if rows.min() < 0 or rows.max() >= self._samples:
            raise InvalidInput("batch", batch, words)
        return rows

    def _units_of(self, field: str, value: Any, rows: int) -> np.ndarray:
        """An array with a row for each sample and as many units as before."""
        words = f"finite numbers of shape ({rows}, units)"
        found = _array(field, value, words)
        known = None if self._estimate is None else self._estimate.kept.shape[-2]
        if found.ndim != 2 or found.shape[0] != rows or known not in (None, found.shape[1]):
            raise InvalidInput(field, f"array of shape {found.shape}", words)
        return found
