import numpy as np

from sedyn.model.adjoint import apply_per_sample, onsager_term


def test_apply_per_sample_is_a_matrix_product_for_each_sample():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 4, 7)), rng.standard_normal((4, 2, 7))
    np.testing.assert_allclose(apply_per_sample(a, b), np.einsum("abN,bcN->acN", a, b))


def test_the_onsager_term_is_a_sum_over_earlier_gradients():
    rng = np.random.default_rng(0)
    weight_response, gradients = rng.standard_normal((4, 3, 3)), rng.standard_normal((4, 3, 11))
    np.testing.assert_allclose(
        onsager_term(weight_response, gradients), np.einsum("sab,sbN->aN", weight_response, gradients)
    )
