from __future__ import annotations

import numpy as np
import pytest

from sedyn.errors import InvalidInput, require_flag, require_number, require_whole


def test_whole_numbers_of_any_kind_become_pythons():
    assert [require_whole("n", value, 2) for value in (2, np.int8(3))] == [2, 3]
    assert type(require_whole("n", np.int64(5), 2)) is int
    for wrong in (1, True, 2.0, "2", None, [2]):
        with pytest.raises(InvalidInput, match=r"n=.*: a whole number >= 2"):
            require_whole("n", wrong, 2)
    with pytest.raises(InvalidInput, match="n=True"):
        require_whole("n", True, 0)


def test_numbers_are_finite_and_meet_their_condition():
    assert [require_number("rate", value, "> 0", lambda rate: rate > 0) for value in (1, np.float32(0.5))] == [1.0, 0.5]
    for wrong in (0.0, np.inf, np.nan, True, "1", None, 1j):
        with pytest.raises(InvalidInput, match=r"rate=.*: > 0"):
            require_number("rate", wrong, "> 0", lambda rate: rate > 0)


def test_flags_are_true_or_false():
    for right in (True, False):
        require_flag("laws", right)
    for wrong in (1, "true", None):
        with pytest.raises(InvalidInput, match=r"laws=.*: true or false"):
            require_flag("laws", wrong)
