"""The problem: one frozen, validated, hashable description of data, network and training."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from sedyn.errors import InvalidInput, require_known, require_number, require_whole
from sedyn.model.covariance import changes_with_d, require_spectrum
from sedyn.model.features import feature_sampler
from sedyn.model.functions import ACTIVATIONS, LINKS, LOSSES

__all__ = ["Problem"]

CHOICES = {
    "labels": ("additive", "binary"),
    "batching": ("without_replacement", "shuffle"),
    "combine": ("sum", "product"),
    "initialization": ("exact", "random"),
    "train": ("all", "first"),
    "deep_init": ("gaussian", "signs"),
}
COUNTS = ("n", "d", "width", "depth", "steps", "signals")
# What the limit as n and d grow cannot see: the law of the entries (universality) and how the overlaps are met.
INVISIBLE_TO_THEORY = ("n", "d", "features", "initialization")
# What problems may differ in whose replicates run side by side: the numbers of the update, which are arrays there, and
# what is only seen by the draws that each replicate has for itself.
INDIVIDUAL = (
    *("learning_rate", "momentum", "weight_decay"),
    *("noise", "signal_norm", "init_overlap", "initialization", "init_seed", "deep_init", "batch_fraction", "batching"),
)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Data, network and training of one gradient-descent run, in the conventions of THEORY section 1.

    Features X are n x d with independent entries of mean 0 and variance 1/d; the indices are z_* = X mu, the response
    is ``link(z_*) + noise * xi`` (or its sign), the network has `width` units in each of its `depth - 1` hidden layers,
    and gradient descent with `learning_rate` runs for `steps` steps on the mean loss.

    Parameters
    ----------
    n, d : int
        Samples and features; their ratio n/d is the aspect ratio.
    width, depth : int
        Units in each hidden layer; number of weight layers. Depth 1 is a linear model and has width 1.
    noise : float
        Standard deviation of the label noise.
    activation, link, loss : str
        Names known to `sedyn.model.functions`, among them those a user registered.
    labels : {'additive', 'binary'}
        Response ``link + noise * xi``, or its sign.
    features : str
        Law of the feature entries, for example ``gaussian`` or ``student_t(5)``.
    covariance : str
        Eigenvalues of the feature covariance, mean 1: ``identity``; ``power_law(exponent)``, whose largest one grows
        with d; or ``two_level(ratio, share)``, the same for every d: a share is `ratio` times each of the others.
    learning_rate : float or sequence of float
        One for all steps, or one for each.
    steps : int
        Gradient-descent steps; results have iterations 0..steps.
    momentum, weight_decay : float
        Heavy-ball coefficient in [0, 1); decay, times the learning rate, of every weight.
    batch_fraction : float
        Share of the samples in a mini-batch, in (0, 1]; 1 is full batch.
    batching : {'without_replacement', 'shuffle'}
        Each batch drawn anew, or each epoch a partition of the samples (1/batch_fraction must be whole).
    signals : int
        Number k of index directions.
    combine : {'sum', 'product'}
        Response from the k links: their sum over sqrt(k), or their product.
    signal_norm : float
        Norm of each signal over sqrt(d).
    init_overlap : float
        How much of the signal, in units of its norm, each first-layer unit starts with.
    initialization : {'exact', 'random'}
        Signals and first layer exactly orthogonal, so that overlaps are the same for every d; or independent normals.
    init_seed : int
        Seed of the deeper weights' start, the same for every n, d and replicate.
    train : {'all', 'first'}
        Which layers learn.
    deep_init : {'gaussian', 'signs'}
        Deeper weights start as N(0, 1/width), or as signs/sqrt(width) last and identity in between.

    Raises
    ------
    InvalidInput
        If a field is out of range or two fields contradict each other; the message names what would work.

    Examples
    --------
    >>> Problem(n=400, d=200).aspect_ratio
    Fraction(2, 1)
    """

    n: int = 3000
    d: int = 2000
    width: int = 3
    depth: int = 3
    noise: float = 0.3
    activation: str = "tanh"
    link: str = "tanh"
    labels: str = "additive"
    loss: str = "squared"
    features: str = "gaussian"
    covariance: str = "identity"
    learning_rate: float | tuple[float, ...] = 0.8
    steps: int = 20
    momentum: float = 0.0
    weight_decay: float = 0.0
    batch_fraction: float = 1.0
    batching: str = "without_replacement"
    signals: int = 1
    combine: str = "sum"
    signal_norm: float = 1.0
    init_overlap: float = 0.0
    initialization: str = "exact"
    init_seed: int = 0
    train: str = "all"
    deep_init: str = "gaussian"

    def __post_init__(self) -> None:
        for name in COUNTS:
            self._set(name, require_whole(name, getattr(self, name), least=1))
        self._set("init_seed", require_whole("init_seed", self.init_seed, least=0))
        self._set("learning_rate", _learning_rate(self.learning_rate, self.steps))
        for name, condition, valid in (
            ("noise", "a number >= 0", lambda x: x >= 0),
            ("momentum", "a number in [0, 1)", lambda x: 0 <= x < 1),
            ("weight_decay", "a number >= 0", lambda x: x >= 0),
            ("batch_fraction", "a number in (0, 1]", lambda x: 0 < x <= 1),
            ("signal_norm", "a number > 0", lambda x: x > 0),
            ("init_overlap", "a finite number", lambda x: True),
        ):
            self._set(name, require_number(name, getattr(self, name), condition, valid))
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InvalidInput.unknown(name, getattr(self, name), known)
        self._check_names()
        self._check_combinations()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_names(self) -> None:
        for name in ("activation", "link", "loss", "features", "covariance"):
            if not isinstance(getattr(self, name), str):
                raise InvalidInput(name, getattr(self, name), "a name, in quotes in Python")
        ACTIVATIONS[self.activation], LINKS[self.link], LOSSES[self.loss]
        feature_sampler(self.features)
        require_spectrum(self.covariance, self.d)

    def _check_combinations(self) -> None:
        if self.depth == 1 and self.width != 1:
            raise InvalidInput(
                "width", self.width, "depth=1 is a linear model and has width=1; set width=1 or depth>=2"
            )
        if LOSSES[self.loss].binary and self.labels != "binary":
            raise InvalidInput("loss", self.loss, "needs responses -1 and 1; set labels=binary, or loss=squared")
        if LINKS[self.link].joint and self.combine != "sum":
            raise InvalidInput("combine", self.combine, f"link {self.link!r} is joint and leaves nothing to combine")
        columns = self.signals + self.width
        if self.initialization == "exact" and columns > self.d:
            remedy = f"orthogonal signals and units need d={columns} at least; or set initialization=random"
            raise InvalidInput("d", self.d, remedy)
        if self.batch_size < 1:
            raise InvalidInput("batch_fraction", self.batch_fraction, f"at n={self.n} use at least {1 / self.n:.3g}")
        if self.batching == "shuffle" and not math.isclose(self.batches_per_epoch * self.batch_fraction, 1):
            raise InvalidInput("batch_fraction", self.batch_fraction, "batching=shuffle needs 1/batch_fraction whole")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Problem:
        """Build a problem from names and values, refusing an unknown name with the nearest known one.

        Raises
        ------
        InvalidInput
            If a name is no field, or as for the class.
        """
        require_known("problem", values, [field.name for field in fields(cls)])
        return cls(**values)

    @property
    def aspect_ratio(self) -> Fraction:
        """Samples per feature, n/d, exactly."""
        return Fraction(self.n, self.d)

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The learning rate of each step."""
        rate = self.learning_rate
        return rate if isinstance(rate, tuple) else (rate,) * self.steps

    @property
    def batch_size(self) -> int:
        """Samples in a batch drawn without replacement."""
        return round(self.batch_fraction * self.n)

    @property
    def batches_per_epoch(self) -> int:
        """Batches a shuffled epoch is split into."""
        return round(1 / self.batch_fraction)

    @property
    def full_batch(self) -> bool:
        """Whether every step uses every sample."""
        return self.batch_fraction == 1

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, as plain Python values that JSON keeps."""
        values = {name: getattr(self, name) for name in DEFAULTS}
        if isinstance(self.learning_rate, tuple):
            values["learning_rate"] = list(self.learning_rate)
        return values

    @cached_property
    def theory_key(self) -> str:
        """What the state evolution depends on, as text: problems with equal keys share one solution.

        Equal in everything but n and d, at exactly equal n/d; a spectrum that changes with d keeps d apart.
        """
        values = {k: v for k, v in self._non_defaults().items() if k not in INVISIBLE_TO_THEORY}
        values["aspect_ratio"] = str(self.aspect_ratio)
        if changes_with_d(self.covariance):
            values["d"] = self.d
        return _canonical(values)

    @cached_property
    def key(self) -> str:
        """The whole problem as text; it seeds the replicates.

        Fields at their default are left out, so that a field added to this class later changes no seed.
        """
        return _canonical(self._non_defaults())

    @cached_property
    def stack_key(self) -> str:
        """What replicates that run side by side share, as text: sizes, functions, whether there are batches."""
        values = {k: v for k, v in self._non_defaults().items() if k not in INDIVIDUAL}
        return _canonical({**values, "full_batch": self.full_batch})

    def _non_defaults(self) -> dict[str, Any]:
        return {name: value for name, value in self.to_dict().items() if value != DEFAULTS[name]}


DEFAULTS = {field.name: field.default for field in fields(Problem)}


def seed_sequence(key: str, seed: int, *stream: int) -> np.random.SeedSequence:
    """Derive a seed from a problem's key, the user's base seed and a stream, and from nothing else.

    Parameters
    ----------
    key : str
        `Problem.key` or `Problem.theory_key`.
    seed : int
        Base seed.
    *stream : int
        For example the index of a replicate.
    """
    digest = hashlib.sha256(key.encode()).digest()
    words = np.frombuffer(digest, dtype="<u4").tolist()
    return np.random.SeedSequence([require_whole("seed", seed, least=0), *words], spawn_key=stream)


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _canonical(values: Mapping[str, Any]) -> str:
    return _ENCODER.encode(values)


def _learning_rate(value: Any, steps: int) -> float | tuple[float, ...]:
    condition = f"a number > 0, or one for each of the {steps} steps"
    if isinstance(value, Iterable) and not isinstance(value, str):
        rates = tuple(require_number("learning_rate", rate, condition, lambda x: x > 0) for rate in value)
        if len(rates) != steps:
            raise InvalidInput("learning_rate", value, f"{len(rates)} numbers for {steps} steps; give one, or {steps}")
        return rates
    return require_number("learning_rate", value, condition, lambda x: x > 0)
