"""The problem: one frozen, validated, hashable description of data, network and training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property, partial
from typing import Any

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.errors import InvalidInput, require_flag, require_known, require_number, require_one_of, require_whole
from sedyn.model.covariance import SpectrumLaw, spectrum_law
from sedyn.model.features import FeatureLaw, feature_law
from sedyn.model.fields import Check, documented, field, names_where
from sedyn.model.functions import ACTIVATIONS, LINKS, loss_named
from sedyn.model.layers import HIDDEN
from sedyn.model.noise import NoiseLaw, noise_law

__all__ = ["INDIVIDUAL", "INVISIBLE_TO_THEORY", "TRAINING", "Problem"]


def _number(interval: str, valid: Callable[[float], bool]) -> Check:
    return partial(require_number, condition=f"a number {interval}", valid=valid)


def _one_of(*known: str) -> Check:
    return partial(require_one_of, known=known)


def _name(find: Callable[[str], Any]) -> Check:
    """Make the check that a text names something that can be found."""

    def check(field: str, value: Any) -> str:
        if not isinstance(value, str):
            raise InvalidInput(field, value, "a name, in quotes in Python")
        find(value)
        return value

    return check


_COUNT = partial(require_whole, least=1)
_SEED = partial(require_whole, least=0)
_FINITE = partial(require_number, condition="a finite number")
_NOT_NEGATIVE = _number(">= 0", lambda x: x >= 0)


@documented
@dataclass(frozen=True, kw_only=True)
class Problem:
    """Data, network and training of one gradient-descent run.

    Features X are n x d with independent entries of mean 0 and variance 1/d; the indices are z_* = X mu, the labels are
    ``link(z_*) + noise * xi`` (or its sign), the network has `width` units in each of its `depth - 1` hidden layers,
    and gradient descent with `learning_rate` runs for `steps` steps on the mean loss.

    Raises
    ------
    InvalidInput
        If a field is out of range or two fields contradict each other; the message names what would work.

    Notes
    -----
    Source: docs/theory.md#feature-law, docs/theory.md#labels, docs/theory.md#network, docs/theory.md#descent.

    Examples
    --------
    >>> Problem(n=400, d=200).aspect_ratio
    Fraction(2, 1)
    """

    n: int = field(3000, _COUNT, "Samples.", invisible_to_theory=True)
    d: int = field(2000, _COUNT, "Features; n/d is the aspect ratio.", invisible_to_theory=True)
    width: int = field(3, _COUNT, "Units in each hidden layer.", training=True)
    depth: int = field(
        3, _COUNT, "Weight layers; depth 1 is a linear model, whose width is the number of its outputs.", training=True
    )
    noise: float = field(0.3, _NOT_NEGATIVE, "Standard deviation of the label noise.", individual=True)
    noise_law: str = field(
        "gaussian",
        _name(noise_law),
        "Law of the label noise, as ``laplace`` or ``student_t(5)``; ``flip(0.1)`` replaces labels of classes instead.",
    )
    activation: str = field(
        "tanh", _name(ACTIVATIONS.__getitem__), "Name of an activation, built-in or registered.", training=True
    )
    link: str | tuple[str, ...] = field(
        "tanh", None, "Name of the link, built-in or registered; or one name for each output."
    )
    labels: str = field(
        "additive",
        _one_of("additive", "binary", "classes"),
        "``additive``: link + noise * xi; ``binary``: its sign; ``classes``: the largest of one such for each output.",
    )
    loss: str = field(
        "squared",
        _name(loss_named),
        "``squared``, ``huber``, ``huber(threshold)``, ``absolute(width)``; for classes ``logistic``, ``softmax``.",
        training=True,
    )
    features: str = field(
        "gaussian",
        _name(feature_law),
        "Law of the entries, as ``gaussian`` or ``student_t(5)``.",
        invisible_to_theory=True,
    )
    covariance: str = field(
        "identity", _name(spectrum_law), "Spectrum of the feature covariance, as ``identity`` or ``power_law(0.25)``."
    )
    learning_rate: float | tuple[float, ...] = field(
        0.8, None, "Of the mean loss: one number for all steps, or one for each.", individual=True, training=True
    )
    steps: int = field(20, _COUNT, "Gradient-descent steps; results have iterations 0..steps.", training=True)
    momentum: float = field(
        0.0, _number("in [0, 1)", lambda x: 0 <= x < 1), "Heavy ball, in [0, 1).", individual=True, training=True
    )
    weight_decay: float = field(
        0.0, _NOT_NEGATIVE, "Decay of every weight, times the learning rate.", individual=True, training=True
    )
    batch_fraction: float = field(
        1.0,
        _number("in (0, 1]", lambda x: 0 < x <= 1),
        "Share of the samples in a batch, in (0, 1].",
        individual=True,
        training=True,
    )
    batching: str = field(
        "without_replacement",
        _one_of("without_replacement", "shuffle"),
        "``without_replacement``: each batch is drawn anew; ``shuffle``: each epoch is a partition of the samples.",
        individual=True,
        training=True,
    )
    signals: int = field(
        1,
        _COUNT,
        "Number k of index directions; of several outputs each has one, the first C, or all share a single one.",
    )
    combine: str = field(
        "sum", _one_of("sum", "product"), "How k links make a label: ``sum``, over sqrt(k); or ``product``."
    )
    signal_norm: float = field(
        1.0, _number("> 0", lambda x: x > 0), "Norm of each signal over sqrt(d).", individual=True
    )
    init_overlap: float = field(
        0.0, _FINITE, "How much of the signal, in units of its norm, a unit starts with.", individual=True
    )
    initialization: str = field(
        "exact",
        _one_of("exact", "random"),
        "Signals and first layer: ``exact``, orthogonal, with the same overlaps for every d; or ``random``, normals.",
        invisible_to_theory=True,
        individual=True,
    )
    init_seed: int = field(
        0, _SEED, "Seed of the deeper weights' start, the same for every replicate.", individual=True
    )
    train: str = field(
        "all", _one_of("all", "first"), "``all``: every layer learns; ``first``: the first alone.", training=True
    )
    deep_init: str = field(
        "gaussian",
        _one_of("gaussian", "signs"),
        "Deeper weights start as ``gaussian``: N(0, 1/width); or ``signs``: signs/sqrt(width) last, identity between.",
        individual=True,
        training=True,
    )

    bias: str = field(
        "none",
        _one_of("none", "output", "all"),
        "Which layers have biases: ``none``, the ``output`` alone, or ``all``.",
        training=True,
    )
    bias_init: float = field(0.0, _FINITE, "Where every bias starts.", individual=True, training=True)
    outputs: int = field(1, _COUNT, "Number C of network outputs, and of labels of a sample.")
    skip: bool = field(
        False,
        require_flag,
        "Whether each output also has a linear unit of the first layer beside the network, which is added to it.",
        training=True,
    )
    residual: bool = field(
        False, require_flag, "Whether each hidden layer above the first is added to what it is given.", training=True
    )
    hidden: str = field(
        "dense",
        _name(HIDDEN.__getitem__),
        "Kind of the hidden layers above the first, ``dense`` or registered.",
        training=True,
    )

    def __post_init__(self) -> None:
        for known in fields(self):
            if check := known.metadata["check"]:
                object.__setattr__(self, known.name, check(known.name, getattr(self, known.name)))
        # Their checks are against other fields.
        object.__setattr__(self, "learning_rate", _learning_rate(self.learning_rate, self.steps))
        object.__setattr__(self, "link", _links(self.link, self.outputs))
        self._check_combinations()

    def _check_combinations(self) -> None:
        self.spectrum_law.require_whole(self.d)
        self._check_network()
        self._check_labels()
        columns = self.signals + self.units
        if self.initialization == "exact" and columns > self.d:
            remedy = f"orthogonal signals and units need d={columns} at least; or set initialization=random"
            raise InvalidInput("d", self.d, remedy)
        if self.batch_size < 1:
            raise InvalidInput("batch_fraction", self.batch_fraction, f"at n={self.n} use at least {1 / self.n:.3g}")
        if self.batching == "shuffle" and not math.isclose(self.batches_per_epoch * self.batch_fraction, 1):
            raise InvalidInput("batch_fraction", self.batch_fraction, "batching=shuffle needs 1/batch_fraction whole")

    def _check_network(self) -> None:
        if self.depth == 1 and self.width != self.outputs:
            remedy = f"depth=1 is a linear model and has a unit an output; set width={self.outputs} or depth>=2"
            raise InvalidInput("width", self.width, remedy)
        if self.depth == 1 and self.skip:
            raise InvalidInput("skip", True, "depth=1 is a linear model already; set depth>=2 or skip=False")
        if self.depth < 3 and self.residual:
            raise InvalidInput("residual", True, "adds to hidden layers above the first; set depth>=3")
        if self.bias == "none" and self.bias_init != 0:
            raise InvalidInput("bias_init", self.bias_init, "there are no biases; set bias=output or bias=all")

    def _check_labels(self) -> None:
        loss, several = loss_named(self.loss), self.outputs > 1
        if loss.binary and self.labels != "binary":
            raise InvalidInput("loss", self.loss, "needs labels -1 and 1; set labels=binary, or loss=squared")
        if loss.joint and self.labels != "classes":
            raise InvalidInput("loss", self.loss, "needs classes; set labels=classes, or loss=squared")
        if self.labels == "binary" and several:
            raise InvalidInput("labels", self.labels, f"has one output; with outputs={self.outputs} set labels=classes")
        if self.labels == "classes" and not several:
            raise InvalidInput("outputs", self.outputs, "labels=classes needs an output for each class, 2 at least")
        if self.label_noise_law.flips and self.labels == "additive":
            remedy = "replaces labels of classes; set labels=binary, or labels=classes"
            raise InvalidInput("noise_law", self.noise_law, remedy)
        if self.label_noise_law.flips and self.noise != DEFAULTS["noise"]:
            remedy = f"plays no part with noise_law={self.noise_law}; leave it at {DEFAULTS['noise']}"
            raise InvalidInput("noise", self.noise, remedy)
        joint = any(LINKS[name].joint for name in self.links)
        if joint and self.combine != "sum":
            raise InvalidInput("combine", self.combine, f"link {self.link!r} is joint and leaves nothing to combine")
        if several and not joint:
            if self.combine != "sum":
                raise InvalidInput("combine", self.combine, "several outputs have an index each; leave combine=sum")
            if 1 < self.signals < self.outputs:
                remedy = f"{self.outputs} outputs have an index each, or share one; set signals>={self.outputs}, or 1"
                raise InvalidInput("signals", self.signals, remedy)
            if self.labels == "classes" and self.signals == 1 and len(set(self.links)) == 1:
                remedy = f"classes need different indices or links; set signals>={self.outputs}"
                raise InvalidInput("signals", self.signals, remedy)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Problem:
        """Build a problem from names and values, refusing an unknown name with the nearest known one.

        Parameters
        ----------
        values : mapping of str to object
            Fields to their values; the others are at their defaults.

        Raises
        ------
        InvalidInput
            If a name is no field, or as for the class.
        """
        require_known("problem", values, DEFAULTS)
        return cls(**values)

    @property
    def units(self) -> int:
        """Units of the first layer: those of the network, and the linear ones beside it."""
        return self.width + self.outputs * self.skip

    @property
    def links(self) -> tuple[str, ...]:
        """The link of each output."""
        return self.link if isinstance(self.link, tuple) else (self.link,) * self.outputs

    @property
    def aspect_ratio(self) -> Fraction:
        """Samples per feature, n/d, exactly."""
        return Fraction(self.n, self.d)

    @property
    def feature_law(self) -> FeatureLaw:
        """The law that `features` names."""
        return feature_law(self.features)

    @property
    def label_noise_law(self) -> NoiseLaw:
        """The law that `noise_law` names."""
        return noise_law(self.noise_law)

    @property
    def spectrum_law(self) -> SpectrumLaw:
        """The spectrum that `covariance` names."""
        return spectrum_law(self.covariance)

    @property
    def eigenvalues(self) -> Float[np.ndarray, " d"]:
        """Eigenvalues of the feature covariance, in decreasing order, with mean 1; shape (d,)."""
        return self.spectrum_law.eigenvalues(self.d)

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
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @cached_property
    def theory_key(self) -> str:
        """What the state evolution depends on, as text: problems with equal keys share one solution.

        Equal in everything but n and d, at exactly equal n/d; a spectrum that changes with d keeps d apart.
        """
        values = {k: v for k, v in self._non_defaults().items() if k not in INVISIBLE_TO_THEORY}
        values["aspect_ratio"] = str(self.aspect_ratio)
        if self.spectrum_law.changes_with_d:
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


DEFAULTS = {known.name: known.default for known in fields(Problem)}
# What the limit as n and d grow cannot see: the law of the entries (universality) and how the overlaps are met.
INVISIBLE_TO_THEORY = names_where(Problem, "invisible_to_theory")
# What problems may differ in whose replicates run side by side.
INDIVIDUAL = names_where(Problem, "individual")
# What says how a network is trained, on simulated data or a user's.
TRAINING = names_where(Problem, "training")

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def _canonical(values: Mapping[str, Any]) -> str:
    return _ENCODER.encode(values)


def _links(value: Any, outputs: int) -> str | tuple[str, ...]:
    each = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    for name in each:
        _name(LINKS.__getitem__)("link", name)
    if len(each) not in (1, outputs):
        raise InvalidInput("link", value, f"{len(each)} names for {outputs} outputs; give one, or one for each")
    if len(each) > 1 and any(LINKS[name].joint for name in each):
        raise InvalidInput("link", value, "a joint link gives the labels of all outputs; name it alone")
    return each if len(set(each)) > 1 else each[0]


def _learning_rate(value: Any, steps: int) -> float | tuple[float, ...]:
    condition = f"a number > 0, or one for each of the {steps} steps"
    if isinstance(value, Iterable) and not isinstance(value, str):
        rates = tuple(require_number("learning_rate", rate, condition, lambda x: x > 0) for rate in value)
        if len(rates) != steps:
            raise InvalidInput("learning_rate", value, f"{len(rates)} numbers for {steps} steps; give one, or {steps}")
        return rates
    return require_number("learning_rate", value, condition, lambda x: x > 0)
