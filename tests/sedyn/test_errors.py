"""Checks of single values: what they keep, and the one line they refuse with."""

import math
import pickle
import re
from fractions import Fraction

import numpy as np
import pytest

from sedyn.errors import InvalidInput, require_flag, require_known, require_number, require_one_of, require_whole


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        (require_whole("x", np.int64(3), least=3), 3),
        (require_number("x", Fraction(1, 2), "a number"), 0.5),
        (require_number("x", np.float32(0.5), "a number"), 0.5),
        (require_number("x", 2, "a number > 1", lambda x: x > 1), 2.0),
        (require_flag("x", np.True_), True),
        (require_one_of("x", "b", ("a", "b")), "b"),
    ],
)
def test_what_is_valid_is_kept_as_a_plain_value(kept, expected):
    assert kept == expected
    assert type(kept) is type(expected)


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        (lambda: require_whole("x", 2, least=3), "x=2: a whole number >= 3"),
        (lambda: require_whole("x", 3.0, least=3), "x=3.0: a whole number >= 3"),
        (lambda: require_whole("x", True, least=0), "x=True: a whole number >= 0"),
        (lambda: require_whole("x", None, least=0, condition="one, or many"), "x=None: one, or many"),
        (lambda: require_number("x", "1", "a number"), "x='1': a number"),
        (lambda: require_number("x", True, "a number"), "x=True: a number"),
        (lambda: require_number("x", math.inf, "a number"), "x=inf: a number"),
        (lambda: require_number("x", math.nan, "a number"), "x=nan: a number"),
        (lambda: require_number("x", 1, "a number > 1", lambda x: x > 1), "x=1: a number > 1"),
        (lambda: require_flag("x", 1), "x=1: True or False"),
        (lambda: require_flag("x", "yes", condition="true or false"), "x='yes': true or false"),
        (lambda: require_one_of("x", "bb", ("a", "bbb")), "x='bb': did you mean 'bbb'? known: a, bbb"),
        (lambda: require_known("x", ["a", 3], ("a", "b")), "x=3: known: a, b"),
    ],
)
def test_a_refusal_names_field_value_and_what_would_work(refused, said):
    with pytest.raises(InvalidInput, match=f"^{re.escape(said)}$") as caught:
        refused()
    again = pickle.loads(pickle.dumps(caught.value))  # as it comes back from a worker
    assert (str(again), again.field) == (said, "x")
