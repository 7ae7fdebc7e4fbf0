import numpy as np
import pytest

from sedyn.model.observables import until_divergence


@pytest.mark.parametrize("name", ["train_error", "test_error", "signal_overlap", "weight_gram"])
def test_a_replicate_has_no_values_from_its_divergence_on(name):
    shapes = {"train_error": (), "test_error": (), "signal_overlap": (2, 1), "weight_gram": (2, 2), "more": (5,)}
    found = {each: np.ones((4, 3, *shape)) for each, shape in shapes.items()}
    found[name][1, 2] = np.inf  # the third replicate after a step; what is finite later does not count
    alive = np.ones((4, 3), bool)
    alive[1:, 2] = False
    for values in until_divergence(found).values():
        finite = np.isfinite(values).reshape(4, 3, -1)
        np.testing.assert_array_equal(finite.all(axis=-1), alive)
        np.testing.assert_array_equal(finite.any(axis=-1), alive)
