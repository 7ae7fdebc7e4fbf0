"""The problem: one frozen, validated, hashable description of data, network and training."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np

from sedyn.arrays.shapes import Float
from sedyn.checks import (
    COUNT,
    FINITE,
    FLAG,
    NOT_NEGATIVE,
    each,
    instance_of,
    listed,
    mapping,
    named,
    number,
    one_of,
    optional,
    whole,
)
from sedyn.errors import InvalidInput, require_known, require_number
from sedyn.model.covariance import SpectrumLaw, spectrum_law
from sedyn.model.features import FeatureLaw, feature_law
from sedyn.model.fields import check_fields, documented, field, names_where
from sedyn.model.functions import ACTIVATIONS, LINKS, loss_named
from sedyn.model.layers import HIDDEN
from sedyn.model.noise import NoiseLaw, noise_law

__all__ = ["AMOUNTS", "A_PROBLEM", "INDIVIDUAL", "INVISIBLE_TO_THEORY", "TRAINING", "Problem", "runs_of"]


# Layers and outputs are gone through one by one, so that more of them would look like a standstill.
MOST_LAYERS, MOST_OUTPUTS = 1000, 10_000


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

    n: int = field(3000, COUNT, "Samples.", invisible_to_theory=True)
    d: int = field(2000, COUNT, "Features; n/d is the aspect ratio.", invisible_to_theory=True)
    width: int = field(3, COUNT, "Units in each hidden layer.", training=True)
    depth: int = field(
        3,
        whole(1, MOST_LAYERS),
        "Weight layers; depth 1 is a linear model, whose width is the number of its outputs.",
        training=True,
    )
    noise: float = field(0.3, NOT_NEGATIVE, "Standard deviation of the label noise.", individual=True, amount=True)
    noise_law: str = field(
        "gaussian",
        named(noise_law),
        "Law of the label noise, as ``laplace`` or ``student_t(5)``; ``flip(0.1)`` replaces labels of classes instead.",
    )
    activation: str = field(
        "tanh", named(ACTIVATIONS.__getitem__), "Name of an activation, built-in or registered.", training=True
    )
    link: str | tuple[str, ...] = field(
        "tanh", None, "Name of the link, built-in or registered; or one name for each output."
    )
    labels: str = field(
        "additive",
        one_of("additive", "binary", "classes"),
        "``additive``: link + noise * xi; ``binary``: its sign; ``classes``: the largest of one such for each output.",
    )
    loss: str = field(
        "squared",
        named(loss_named),
        "``squared``, ``huber``, ``huber(threshold)``, ``absolute(width)``; for classes ``logistic``, ``softmax``.",
        training=True,
    )
    features: str = field(
        "gaussian",
        named(feature_law),
        "Law of the entries, as ``gaussian`` or ``student_t(5)``.",
        invisible_to_theory=True,
    )
    covariance: str = field(
        "identity", named(spectrum_law), "Spectrum of the feature covariance, as ``identity`` or ``power_law(0.25)``."
    )
    learning_rate: float | tuple[float, ...] = field(
        0.8,
        None,
        "Of the mean loss: one number for all steps, or one for each, of which some may be 0.",
        individual=True,
        training=True,
        amount=True,
    )
    steps: int = field(20, COUNT, "Gradient-descent steps; results have iterations 0..steps.", training=True)
    deep_learning_rate: float | tuple[float, ...] | None = field(
        None,
        None,
        "Of the deeper layers, as `learning_rate`; null: the same.",
        individual=True,
        training=True,
        amount=True,
    )
    momentum: float = field(
        0.0,
        number("in [0, 1)", lambda x: 0 <= x < 1),
        "Momentum, in [0, 1).",
        individual=True,
        training=True,
        amount=True,
    )
    momentum_form: str = field(
        "heavy_ball",
        one_of("heavy_ball", "nesterov"),
        "``heavy_ball``; or ``nesterov``: gradients are taken where momentum leads.",
        training=True,
    )
    temperature: float = field(
        0.0,
        NOT_NEGATIVE,
        "Of gradient noise (Langevin): a step adds sqrt(2 * rate * temperature) * xi to a first-layer weight.",
        individual=True,
        training=True,
        amount=True,
    )
    weight_decay: float = field(
        0.0,
        NOT_NEGATIVE,
        "Decay of every weight, times the learning rate.",
        individual=True,
        training=True,
        amount=True,
    )
    batch_fraction: float = field(
        1.0,
        number("in (0, 1]", lambda x: 0 < x <= 1),
        "Share of the samples in a batch, in (0, 1].",
        individual=True,
        training=True,
    )
    batch_size: int | None = field(
        None, optional(COUNT), "Samples in a batch, in place of `batch_fraction`.", individual=True, training=True
    )
    epochs: float | None = field(
        None,
        optional(number("> 0", lambda x: x > 0)),
        "Passes over the data in all steps, in place of `batch_fraction`; learning rates are then of an epoch.",
        individual=True,
        training=True,
    )
    batching: str = field(
        "without_replacement",
        one_of("without_replacement", "shuffle", "one_pass"),
        "``without_replacement``: each batch anew; ``shuffle``: a partition each epoch; ``one_pass``: samples once.",
        individual=True,
        training=True,
    )
    signals: int = field(
        1,
        COUNT,
        "Number k of index directions; of several outputs each has one, the first C, or all share a single one.",
    )
    combine: str = field(
        "sum", one_of("sum", "product"), "How k links make a label: ``sum``, over sqrt(k); or ``product``."
    )
    signal_norm: float = field(
        1.0, number("> 0", lambda x: x > 0), "Norm of each signal over sqrt(d).", individual=True, amount=True
    )
    init_overlap: float = field(
        0.0, FINITE, "How much of the signal, in units of its norm, a unit starts with.", individual=True, amount=True
    )
    initialization: str = field(
        "exact",
        one_of("exact", "random"),
        "Signals and first layer: ``exact``, orthogonal, with the same overlaps for every d; or ``random``, normals.",
        invisible_to_theory=True,
        individual=True,
    )
    init_seed: int = field(
        0,
        whole(0, 2**63 - 1),
        "Seed of the deeper weights' start, the same for every replicate.",
        individual=True,
        amount=True,
    )
    train: str = field(
        "all", one_of("all", "first"), "``all``: every layer learns; ``first``: the first alone.", training=True
    )
    deep_init: str = field(
        "gaussian",
        one_of("gaussian", "signs", "zero"),
        "Deeper weights: ``gaussian``, N(0, 1/width); ``signs``/sqrt(width) last, identity below; ``zero`` last.",
        individual=True,
        training=True,
    )

    bias: str = field(
        "none",
        one_of("none", "output", "all"),
        "Which layers have biases: ``none``, the ``output`` alone, or ``all``.",
        training=True,
    )
    bias_init: float = field(0.0, FINITE, "Where every bias starts.", individual=True, training=True, amount=True)
    outputs: int = field(1, whole(1, MOST_OUTPUTS), "Number C of network outputs, and of labels of a sample.")
    skip: bool = field(
        False,
        FLAG,
        "Whether each output also has a linear unit of the first layer beside the network, which is added to it.",
        training=True,
    )
    residual: bool = field(
        False, FLAG, "Whether each hidden layer above the first is added to what it is given.", training=True
    )
    hidden: str = field(
        "dense",
        named(HIDDEN.__getitem__),
        "Kind of the hidden layers above the first, ``dense`` or registered.",
        training=True,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        # Their checks are against other fields.
        object.__setattr__(self, "learning_rate", _rates("learning_rate", self.learning_rate, self.steps))
        if self.deep_learning_rate is not None:
            rates = _rates("deep_learning_rate", self.deep_learning_rate, self.steps)
            object.__setattr__(self, "deep_learning_rate", rates)
        object.__setattr__(self, "link", _links(self.link, self.outputs))
        self._check_combinations()

    def _check_combinations(self) -> None:
        self.spectrum_law.require_whole(self.d)
        self.feature_law.require_entries((self.n, self.d))
        self._check_network()
        self._check_labels()
        columns = self.signals + self.units
        if self.initialization == "exact" and columns > self.d:
            remedy = f"orthogonal signals and units need d={columns} at least; or set initialization=random"
            raise InvalidInput("d", self.d, remedy)
        self._check_batches()

    def _check_batches(self) -> None:
        given = {name: getattr(self, name) for name in ("batch_size", "epochs") if getattr(self, name) is not None}
        if self.batch_fraction != 1 or not given:
            given["batch_fraction"] = self.batch_fraction
        (name, value), *others = given.items()
        if others:
            raise InvalidInput(
                name, value, f"says what {others[0][0]}={others[0][1]} says already; leave one of them out"
            )
        if self.batch_share > 1:
            most = f"at most n={self.n}" if name == "batch_size" else f"at most steps={self.steps}, or more steps"
            raise InvalidInput(name, value, most)
        # Batches that share the data out among them have a sample each; of those drawn anew each is rounded by itself.
        shared = self.batching != "without_replacement" and self.batch_share * self.n < 1 - 1e-9
        if shared or self.samples_per_batch < 1:
            least = {"epochs": self.steps / self.n, "batch_fraction": 1 / self.n}[name]
            raise InvalidInput(name, value, f"at n={self.n} use at least {least:.3g}")
        if self.batching == "shuffle" and not math.isclose(self.batches_per_epoch * self.batch_share, 1):
            whole = {"batch_size": "n/batch_size", "epochs": "steps/epochs", "batch_fraction": "1/batch_fraction"}[name]
            raise InvalidInput(name, value, f"batching=shuffle needs {whole} whole")
        if self.batching == "one_pass" and self.steps * self.batch_share > 1 + 1e-9:
            steps = math.floor(1 / self.batch_share + 1e-9)
            remedy = "one_pass has data for 1 epoch" if name == "epochs" else f"one_pass has data for {steps} steps"
            raise InvalidInput(name, value, f"batching={remedy}")

    def _check_network(self) -> None:
        if self.depth == 1 and self.width != self.outputs:
            remedy = f"depth=1 is a linear model and has a unit an output; set width={self.outputs} or depth>=2"
            raise InvalidInput("width", self.width, remedy)
        if self.depth == 1 and self.skip:
            raise InvalidInput("skip", True, "depth=1 is a linear model already; set depth>=2 or skip=False")
        if self.depth < 3 and self.residual:
            raise InvalidInput("residual", True, "adds to hidden layers above the first; set depth>=3")
        if self.depth < 3 and self.hidden != DEFAULTS["hidden"]:
            raise InvalidInput("hidden", self.hidden, "is the kind of hidden layers above the first; set depth>=3")
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
        require_known("problem", values := mapping("problem", values), DEFAULTS)
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
        return self._each_step(self.learning_rate)

    @property
    def deep_learning_rates(self) -> tuple[float, ...]:
        """The learning rate of the deeper layers at each step."""
        return self.learning_rates if self.deep_learning_rate is None else self._each_step(self.deep_learning_rate)

    def _each_step(self, rate: float | tuple[float, ...]) -> tuple[float, ...]:
        rates = rate if isinstance(rate, tuple) else (rate,) * self.steps
        return rates if self.epochs is None else tuple(self.batch_share * rate for rate in rates)

    @property
    def batch_share(self) -> float:
        """Share of the samples in a batch, whichever field says it."""
        if self.batch_size is not None:
            return self.batch_size / self.n
        return self.batch_fraction if self.epochs is None else self.epochs / self.steps

    @property
    def samples_per_batch(self) -> int:
        """Samples in a batch drawn without replacement."""
        return round(self.batch_share * self.n)

    @property
    def batches_per_epoch(self) -> int:
        """Batches a shuffled epoch is split into."""
        return round(1 / self.batch_share)

    @property
    def full_batch(self) -> bool:
        """Whether every step uses every sample."""
        return self.batch_share == 1

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, as plain Python values that JSON keeps."""
        values = {name: getattr(self, name) for name in DEFAULTS}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @cached_property
    def theory_key(self) -> str:
        """What the state evolution depends on, as text: problems with equal keys share one solution.

        Equal in everything but n and d, at exactly equal n/d; a spectrum that changes with d keeps d apart. Of a batch
        of so many samples theory knows their share.
        """
        values = {k: v for k, v in self._non_defaults().items() if k not in INVISIBLE_TO_THEORY}
        if values.pop("batch_size", None) and not self.full_batch:
            values["batch_fraction"] = self.batch_share
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
# Numbers of which cost and validity know no more than whether they are 0, and their default.
AMOUNTS = names_where(Problem, "amount")
# What says how a network is trained, on simulated data or a user's.
TRAINING = names_where(Problem, "training")

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def runs_of(problems: Sequence[Problem]) -> list[tuple[Problem, slice]]:
    """Find every problem with the replicates in succession that are its own.

    Parameters
    ----------
    problems : sequence of Problem
        Of each replicate.

    Returns
    -------
    list of (Problem, slice)
    """
    starts = [i for i, own in enumerate(problems) if i == 0 or own is not problems[i - 1]]
    return [(problems[start], slice(start, stop)) for start, stop in itertools.pairwise([*starts, len(problems)])]


def _canonical(values: Mapping[str, Any]) -> str:
    return _ENCODER.encode(values)


def _links(value: Any, outputs: int) -> str | tuple[str, ...]:
    named_link = named(LINKS.__getitem__)
    if isinstance(value, str):
        return named_link("link", value)
    words = f"a name, or one for each of the {outputs} outputs"
    links = listed(named_link, words, most=MOST_OUTPUTS)("link", value)
    if len(links) not in (1, outputs):
        raise InvalidInput("link", value, f"{len(links)} names for {outputs} outputs; give one, or one for each")
    if len(links) > 1 and any(LINKS[name].joint for name in links):
        raise InvalidInput("link", value, "a joint link gives the labels of all outputs; name it alone")
    return links if len(set(links)) > 1 else links[0]


def _rates(name: str, value: Any, steps: int) -> float | tuple[float, ...]:
    """Check a learning rate: one number above 0, or one for each step, of which some may be 0."""
    condition = f"a number > 0, or one for each of the {steps} steps"
    if isinstance(value, Real):
        return require_number(name, value, condition, lambda x: x > 0)
    given = itertools.islice(each(name, value, condition, ordered=True), steps + 1)
    in_turn = f"{condition}, of which some may be 0"
    rates = tuple(require_number(name, rate, in_turn, lambda x: x >= 0) for rate in given)
    if len(rates) != steps:
        count = f"{len(rates)} numbers" if len(rates) < steps else "more numbers"
        raise InvalidInput(name, value, f"{count} for {steps} steps; give one, or {steps}")
    if not any(rates):
        raise InvalidInput(name, value, in_turn)
    return rates


A_PROBLEM = instance_of(Problem, "a sedyn.Problem")
"""The check of an argument that is a problem."""
