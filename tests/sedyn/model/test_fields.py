"""What is said once about a field reaches docstring and lists."""

from __future__ import annotations

import dataclasses

import pytest

from sedyn.errors import InvalidInput, require_whole
from sedyn.model.fields import documented, field, names_where
from sedyn.model.problem import INDIVIDUAL, INVISIBLE_TO_THEORY, TRAINING, Problem


def at_least_two(name, value):
    return require_whole(name, value, least=2)


@documented
@dataclasses.dataclass(frozen=True)
class Pair:
    """Two numbers.

    Raises
    ------
    InvalidInput
        Or not.
    """

    first: int = field(2, at_least_two, "The first.", training=True)
    second: float = field(0.5, None, "The second.", individual=True, invisible_to_theory=True)


def test_parameters_stand_before_the_other_sections():
    assert Pair.__doc__ == "\n".join(
        [
            "Two numbers.",
            "",
            "Parameters",
            "----------",
            "first : int",
            "    The first.",
            "second : float",
            "    The second.",
            "",
            "Raises",
            "------",
            "InvalidInput",
            "    Or not.",
        ]
    )


def test_marks_make_lists():
    assert names_where(Pair, "training") == ("first",)
    assert names_where(Pair, "individual") == names_where(Pair, "invisible_to_theory") == ("second",)
    assert Pair() == Pair(2, 0.5)


@pytest.mark.parametrize("known", dataclasses.fields(Problem), ids=lambda known: known.name)
def test_a_field_of_a_problem_has_a_default_that_its_check_keeps_and_a_line_of_description(known):
    check, description = known.metadata["check"], known.metadata["description"]
    assert check is None or check(known.name, known.default) == known.default
    assert description.endswith(".")
    assert len(description) < 112
    assert f"\n{known.name} : {known.type}\n    {description}\n" in Problem.__doc__


def test_only_values_with_one_for_each_step_or_output_are_checked_against_another_field():
    rates = ["learning_rate", "deep_learning_rate"]
    assert [known.name for known in dataclasses.fields(Problem) if known.metadata["check"] is None] == ["link", *rates]
    for name in rates:
        with pytest.raises(InvalidInput, match=f"^{name}='fast'"):
            Problem(**{name: "fast"})


def test_the_marks_of_a_problem():
    """A new field must not get or miss one by accident: seeds, stacks and the estimators' options follow from them."""
    assert INVISIBLE_TO_THEORY == ("n", "d", "features", "initialization")
    assert {*INDIVIDUAL} == {
        *("learning_rate", "momentum", "weight_decay", "noise", "signal_norm", "init_overlap"),
        *("deep_learning_rate", "temperature", "batch_size", "epochs"),
        *("initialization", "init_seed", "deep_init", "bias_init", "batch_fraction", "batching"),
    }
    assert {*TRAINING}.isdisjoint(
        {"n", "d", "noise", "link", "labels", "features", "covariance", "signals", "init_seed"}
    )
