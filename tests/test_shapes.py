"""The checker of shapes sees a wrong array, a wrong result and a dimension that does not match."""

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError

from sedyn.arrays.backend import stdtr
from tests.shapes import CALLS, check_first_calls


@check_first_calls
def products(
    weights: Float[np.ndarray, "q d"], x: Float[np.ndarray, "d n"], wrong: bool = False
) -> Float[np.ndarray, "q n"]:
    return (weights @ x).T if wrong else weights @ x


def test_a_right_call_passes_whatever_else_it_is_annotated_with():
    assert products(np.ones((2, 3)), np.ones((3, 5)), wrong=0).shape == (2, 5)


@pytest.mark.parametrize(
    "arguments",
    [
        (np.ones(3), np.ones((3, 5))),
        (np.ones((2, 3)), np.ones((4, 5))),
        (np.ones((2, 3), int), np.ones((3, 5))),
        (np.ones((2, 3)), np.ones((3, 5)), True),
    ],
    ids=["axes", "sizes", "kind", "result"],
)
def test_a_wrong_call_is_refused(arguments):
    with pytest.raises(TypeCheckError):
        products(*arguments)


def test_other_shapes_are_checked_however_often_others_were_right():
    for _ in range(CALLS + 1):
        products(np.ones((2, 3)), np.ones((3, 5)), False)
    products(np.ones((2, 3)), np.ones((3, 5)), True)  # not looked at any more in this test
    with pytest.raises(TypeCheckError):
        products(np.ones((2, 3)), np.ones((4, 5)), False)


def test_every_test_begins_anew():
    with pytest.raises(TypeCheckError):
        products(np.ones((2, 3)), np.ones((3, 5)), True)


def test_functions_of_the_library_are_checked_and_what_names_no_shape_is_left_alone():
    with pytest.raises(TypeCheckError):
        stdtr(3.0, np.arange(3))

    def plain(number: int) -> int:
        return number

    assert check_first_calls(plain) is plain
