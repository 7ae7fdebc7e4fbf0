"""The checker of shapes sees a wrong array, a wrong result and a dimension that does not match."""

import numpy as np
import pytest
from jaxtyping import Float, TypeCheckError, jaxtyped

from tests.shapes import check_shapes


@jaxtyped(typechecker=check_shapes)
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
