"""State evolution against truths that do not share its code."""

import numpy as np
import pytest
from scipy.integrate import quad

import sedyn
from sedyn import InvalidInput, Problem, state_evolution
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.functions import ACTIVATIONS
from sedyn.model.initialization import initial_overlaps
from sedyn.model.seeds import randomization_seeds
from sedyn.model.update import updates_of
from sedyn.theory.inputs import draw
from sedyn.theory.run import run
from tests.helpers import assert_within_se


def marchenko_pastur_average(function, delta):
    """Average over the limiting spectrum of X^T X, X an n x d matrix of entries with variance 1/d and n/d = delta."""
    low, high = (np.sqrt(delta) - 1) ** 2, (np.sqrt(delta) + 1) ** 2
    middle, half = (low + high) / 2, (high - low) / 2

    def integrand(angle):  # x = middle + half cos(angle) removes the square roots at the edges
        x = middle + half * np.cos(angle)
        return function(x) * (half * np.sin(angle)) ** 2 / (2 * np.pi * x)

    bulk = quad(integrand, 0, np.pi, epsabs=1e-13, epsrel=1e-12, limit=400)[0]
    return bulk + max(0.0, 1 - delta) * function(0.0)


@pytest.mark.parametrize(("n", "d"), [(1000, 2000), (1000, 1000), (5000, 1000)])
@pytest.mark.parametrize("init_overlap", [0.0, 0.7])
def test_linear_model_is_the_marchenko_pastur_integral(n, d, init_overlap):
    problem = Problem(
        n=n, d=d, width=1, depth=1, link="identity", noise=0.4, signal_norm=1.3, init_overlap=init_overlap, steps=8
    )
    rate = problem.learning_rate / (n / d)
    start = 1 + (problem.signal_norm - init_overlap) ** 2

    def noise_gain(x, t):
        return (1 - (1 - rate * x) ** t) ** 2 / x if x > 0 else 0.0

    expected = [
        start * marchenko_pastur_average(lambda x, t=t: (1 - rate * x) ** (2 * t), n / d)
        + problem.noise**2 * (1 + marchenko_pastur_average(lambda x, t=t: noise_gain(x, t), n / d))
        for t in range(problem.steps + 1)
    ]
    theory = state_evolution(problem, samples=256, randomizations=2)
    # With a linear model the quadrature is exact, so there is no statistical tolerance at all.
    np.testing.assert_allclose(theory.test_error, expected, rtol=1e-9)


@pytest.mark.parametrize("form", ["heavy_ball", "nesterov"])
def test_linear_model_with_momentum_and_noise_is_the_marchenko_pastur_integral(form):
    """In each direction of the data a scalar recursion, of the start, of label noise and of every kick."""
    rates = (0.5, 0.3, 0.0, 0.6, 0.2, 0.4)
    problem = Problem(
        n=1000, d=1500, width=1, depth=1, link="identity", noise=0.4, init_overlap=0.3, learning_rate=rates,
        steps=len(rates), momentum=0.6, momentum_form=form, temperature=0.3,
    )  # fmt: skip
    delta = problem.n / problem.d

    def gains(x):
        """What start, labels and the kick of each step have become, along an eigenvector of X^T X, at every step."""
        count = 2 + problem.steps
        forces = [np.eye(count)[1] * rate / delta for rate in rates]
        kicks = [np.eye(count)[2 + t] * (2 * rate * problem.temperature) ** 0.5 for t, rate in enumerate(rates)]
        points, behind = [np.eye(count)[0]], np.eye(count)[0]
        for rate, force, kick in zip(rates, forces, kicks, strict=True):
            moved = points[-1] - rate / delta * x * points[-1] + force + kick
            if form == "nesterov":
                points.append(moved + problem.momentum * (moved - behind))
                behind = moved
            else:
                points.append(moved + problem.momentum * (points[-1] - behind))
                behind = points[-2]
        return np.array(points)

    def error(x, t):
        start, labels, *kicks = gains(x)[t]
        return (
            (1 + (1 - problem.init_overlap) ** 2) * start**2
            + problem.noise**2 * x * labels**2
            + np.sum(np.square(kicks))
        )

    expected = [
        problem.noise**2 + marchenko_pastur_average(lambda x, t=t: error(x, t), delta) for t in range(problem.steps + 1)
    ]
    theory = state_evolution(problem, samples=256, randomizations=2)
    np.testing.assert_allclose(theory.test_error, expected, rtol=1e-9)


def test_the_first_kick_adds_twice_rate_times_temperature():
    """To the Gram matrix in the features' covariance, and to the law of every row whatever its eigenvalue."""
    base = {"n": 600, "d": 400, "width": 2, "steps": 1, "covariance": "two_level(5, 0.2)", "learning_rate": 0.3}
    cold, warm = (Problem(**base, temperature=temperature) for temperature in (0.0, 0.5))
    draws = draw(cold, 256, np.random.SeedSequence(0))
    without, found = (run(problem, draws, updates_of(problem)) for problem in (cold, warm))
    added = 2 * 0.3 * 0.5 * np.eye(2)
    np.testing.assert_allclose((found["weight_gram"] - without["weight_gram"])[1], added, atol=1e-13)
    np.testing.assert_allclose((found["row_covariances"] - without["row_covariances"])[1], [added, added], atol=1e-13)
    for name in ("signal_overlap", "initial_overlap", "init_coefficient", "signal_coefficient", "weight_response"):
        np.testing.assert_array_equal(found[name], without[name])
    assert found["test_error"][1] > without["test_error"][1]


@pytest.mark.parametrize("depth", [2, 4])
def test_identity_activation_closes_on_second_moments(depth):
    """Then every average is of a quadratic function of the draws, which matched moments make exact."""
    problem = Problem(
        n=600, d=400, width=2, depth=depth, activation="identity", link="identity", learning_rate=0.2, steps=8,
        momentum=0.3, weight_decay=0.01, init_overlap=0.3,
    )  # fmt: skip
    coarse = state_evolution(problem, samples=64, randomizations=4)
    fine = state_evolution(problem, samples=1024, randomizations=2, seed=5)
    for name in ("train_error", "test_error", "weight_gram", "deep_weights", "noise_covariance"):
        np.testing.assert_allclose(coarse[name], fine[name], rtol=1e-8, atol=1e-10)
        assert np.nanmax(coarse[name + "_stderr"]) < 1e-9


def erf_two_point(c, i, j):
    """E[erf(u_i) erf(u_j)] of centred normals with covariance c (Saad and Solla 1995, rescaled to erf)."""
    c = 2 * c
    return 2 / np.pi * np.arcsin(c[i, j] / np.sqrt((1 + c[i, i]) * (1 + c[j, j])))


def erf_three_point(c, i, j, k):
    """E[erf'(u_i) u_j erf(u_k)], likewise."""
    c = 2 * c
    scale = np.sqrt((1 + c[i, i]) * (1 + c[k, k]) - c[i, k] ** 2)
    return 2 / np.pi / scale * (c[j, k] * (1 + c[i, i]) - c[i, j] * c[i, k]) / (1 + c[i, i])


def test_many_samples_a_feature_is_population_gradient_descent():
    """One hidden layer of erf units with fixed second layer: closed equations of the order parameters."""
    problem = Problem(
        n=10**9, d=10, width=2, depth=2, activation="erf", link="erf", noise=0.2, learning_rate=0.5, steps=15,
        init_overlap=0.4, train="first", deep_init="signs",
    )  # fmt: skip
    v = initial_deep_weights(problem)[0][:, 0]
    covariance = initial_overlaps(problem)  # of (h_1, h_2, z_*)
    outer = np.r_[v, -1.0]  # output minus response = outer . erf(h_1, h_2, z_*)
    errors, overlaps = [], []
    for _ in range(problem.steps + 1):
        errors.append(
            problem.noise**2
            + sum(outer[i] * outer[j] * erf_two_point(covariance, i, j) for i in range(3) for j in range(3))
        )
        overlaps.append(covariance[:2, 2].copy())
        # E[g_a u_j] determines how much of each u_j the gradient of unit a has.
        with_u = np.array(
            [
                [v[a] * sum(outer[k] * erf_three_point(covariance, a, j, k) for k in range(3)) for j in range(3)]
                for a in range(2)
            ]
        )
        step = np.eye(3)
        step[:2] -= problem.learning_rate * np.linalg.solve(covariance, with_u.T).T
        covariance = step @ covariance @ step.T
    theory = state_evolution(problem, samples=2**13, randomizations=8)
    assert_within_se(theory.test_error, errors, theory.test_error_stderr, rounding=1e-7)
    assert_within_se(theory.train_error, errors, theory.train_error_stderr, rounding=1e-7)
    overlap = theory.signal_overlap[..., 0]
    assert_within_se(overlap, overlaps, theory.signal_overlap_stderr[..., 0], rounding=1e-7)
    assert float(theory.test_error_stderr.max()) < 1e-4


@pytest.mark.parametrize("fields", [{}, {"momentum": 0.5, "batch_fraction": 0.5}, {"signals": 2, "init_overlap": 0.5}])
def test_stein_and_derivative_responses_agree(fields):
    ACTIVATIONS.register("tanh_by_stein", ACTIVATIONS["tanh"]._replace(kinked=True))
    problem = Problem(n=800, d=400, width=2, depth=3, steps=8, **fields)
    adjoint = state_evolution(problem, samples=2**12)
    stein = state_evolution(Problem(**{**problem.to_dict(), "activation": "tanh_by_stein"}), samples=2**12)
    assert (adjoint.response, stein.response) == ("adjoint", "stein")
    for name in ("train_error", "test_error", "signal_overlap", "weight_gram", "deep_weights"):
        assert_within_se(adjoint[name], stein[name], adjoint[name + "_stderr"], stein[name + "_stderr"])


def test_signal_response_is_the_derivative_for_a_smooth_link():
    """R_g(0, *) = delta E[d2l/df dy f_h phi'(z_*)]: at the first step it has a plain expectation to compare with."""
    problem = Problem(n=800, d=400, width=2, depth=2, steps=1, init_overlap=0.5, noise=0.0, train="first")
    v = initial_deep_weights(problem)[0][:, 0]
    rng = np.random.default_rng(0)
    root = np.linalg.cholesky(initial_overlaps(problem))
    h1, h2, z = root @ rng.standard_normal((3, 2**21))
    h = np.stack([h1, h2])
    draws = -2 * v[:, None] * (1 - np.tanh(h) ** 2) * (1 - np.tanh(z) ** 2)
    signal_response = draws.mean(axis=1)
    se = draws.std(axis=1) / np.sqrt(draws.shape[1])
    theory = state_evolution(problem, samples=2**13)
    # m_1 = -(eta / delta) R_g(0, *)
    found = -theory.signal_coefficient[1, :, 0] * 2 / problem.learning_rate
    assert_within_se(found, signal_response, se, theory.signal_coefficient_stderr[1, :, 0] * 2 / 0.8)


def test_standard_errors_cover_the_error():
    problem = Problem(n=600, d=400, width=2, depth=3, steps=6)
    reference = state_evolution(problem, samples=2**14, randomizations=8, seed=99)
    deviations = []
    for seed in range(20):
        theory = state_evolution(problem, samples=2**10, randomizations=8, seed=seed)
        combined = np.hypot(theory.test_error_stderr[1:], reference.test_error_stderr[1:])
        deviations.append(((theory.test_error - reference.test_error)[1:] / combined).values)
    # Student t with 7 degrees of freedom has standard deviation 1.18; iterations of one solve are correlated.
    spread = np.sqrt(np.mean(np.square(deviations)))
    assert 0.7 < spread < 1.7


@pytest.mark.parametrize(("most", "groups"), [(2**17, [[0, 1, 2, 3, 4]]), (256, [[0, 1], [2, 3], [4]])])
def test_what_few_samples_get_wrong_is_in_the_standard_error(most, groups, monkeypatch):
    """Randomizations solved together, and how far from that they are apart, besides their spread."""
    monkeypatch.setattr("sedyn.theory.inputs.MOST_TOGETHER", most)
    problem = Problem(n=600, d=300, width=2, depth=2, learning_rate=3.0, steps=4)
    seeds, updates = randomization_seeds(problem, 7, 5), updates_of(problem)
    apart = [run(problem, draw(problem, 128, own), updates)["test_error"] for own in seeds]
    together = [run(problem, draw(problem, 128, *(seeds[r] for r in part)), updates)["test_error"] for part in groups]
    theory = state_evolution(problem, 128, 5, seed=7)
    expected = sum(len(part) / 5 * found for part, found in zip(groups, together, strict=True))
    np.testing.assert_allclose(theory.test_error, expected, rtol=1e-12)
    # Of a bias b the mean has all and the groups a share, their number over that of randomizations.
    left = (np.mean(apart, axis=0) - expected) * len(groups) / (5 - len(groups))
    spread = np.std(apart, axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(theory.test_error_stderr, np.hypot(spread, left), rtol=1e-9)
    assert np.all(theory.test_error_stderr[1:] > spread[1:])


def test_samples_put_together_have_matched_moments_together():
    problem = Problem(n=600, d=400, width=2, depth=2, steps=3)
    draws = draw(problem, 128, *np.random.SeedSequence(0).spawn(3))
    innovations = draws.innovations
    assert innovations.shape[1] == 3 * 128
    np.testing.assert_allclose(innovations @ innovations.T / 384, np.eye(innovations.shape[0]), atol=1e-12)


def test_target_standard_error_is_met_or_missed_aloud():
    problem = Problem(n=600, d=400, width=2, depth=2, steps=3)
    loose = state_evolution(problem, samples=256)
    target = float(loose.test_error_stderr.max()) / 3
    met = state_evolution(problem, samples=256, target_stderr=target)
    assert met.samples > 256
    assert float(met.test_error_stderr.max()) <= target
    with pytest.warns(UserWarning, match="missed target_stderr=1e-12 at max_samples=512"):
        state_evolution(problem, samples=256, target_stderr=1e-12, max_samples=512)


def test_divergence_keeps_the_finite_part():
    problem = Problem(n=600, d=400, width=2, depth=2, activation="identity", learning_rate=60.0, steps=40)
    theory = state_evolution(problem, samples=256, randomizations=2, include=("responses",))
    first = theory.diverged_at
    assert 2 < first < 40
    assert np.isfinite(theory.test_error[:first]).all()
    assert np.isnan(theory.test_error[first:]).all()
    for name in ("weight_response", "gradient_response"):
        assert np.isfinite(theory[name][:first]).all()
        assert np.isnan(theory[name][first:]).all()
    runs = sedyn.simulate(problem, replicates=2)
    assert np.isfinite(runs.test_error[:, : first // 2]).all()
    assert np.isnan(runs.test_error[:, -1]).all()


def test_extras_on_request():
    problem = Problem(n=600, d=400, width=2, depth=3, steps=4)
    theory = state_evolution(problem, samples=256, include=("responses", "samples"))
    assert theory.weight_response.dims == ("iteration", "iteration_", "neuron", "neuron_")
    # R_w(t, t - 1) = -(eta / delta) I and R_w(t, s) = 0 for s >= t
    recent = theory.weight_response.values[np.arange(1, 5), np.arange(4)]
    np.testing.assert_allclose(recent, np.broadcast_to(-0.8 / 1.5 * np.eye(2), (4, 2, 2)))
    assert not np.any(theory.weight_response.values[np.triu_indices(5)])
    assert theory.pre_activation_samples.shape == (5, 2, 256)
    gram = np.einsum("tas,tbs->tab", theory.pre_activation_samples, theory.pre_activation_samples)[0] / 256
    np.testing.assert_allclose(gram, np.eye(2), atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"samples": 1000}, "samples=1000: a power of two, at least"),
        ({"samples": 4}, "samples=4: a power of two, at least"),
        ({"randomizations": 1}, "randomizations=1: at least 2"),
        ({"include": ("everything",)}, "include='everything'"),
        ({"device": "tpu"}, "device='tpu'"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_wrong_argument_is_one_clear_line(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        state_evolution(Problem(steps=2), **arguments)


KINKED = {"n": 800, "d": 400, "width": 2, "depth": 2, "steps": 6, "learning_rate": 2.0, "init_overlap": 0.3}


def sharpened_softplus(beta):
    name = f"softplus_sharpened_{beta}"

    def logistic(x):
        return 0.5 * (1 + np.tanh(0.5 * beta * x))

    sedyn.register_activation(
        name,
        lambda x: np.logaddexp(0, beta * x) / beta,
        logistic,
        lambda x: beta * logistic(x) * (1 - logistic(x)),
    )
    return name


def test_relu_is_the_limit_of_a_sharpened_softplus():
    """Different estimates of the response, Stein's for relu and the adjoint for softplus, meet as the kink sharpens."""
    relu = state_evolution(Problem(activation="relu", **KINKED), samples=2**12)
    gaps = []
    for beta in (4, 16, 64):
        smooth = state_evolution(Problem(activation=sharpened_softplus(beta), **KINKED), samples=2**12)
        gaps.append(np.abs(smooth.test_error - relu.test_error).values)
    assert gaps[1].max() < 0.4 * gaps[0].max()
    assert_within_se(smooth.test_error, relu.test_error, smooth.test_error_stderr, relu.test_error_stderr, gaps[1] / 10)


def test_leaving_the_point_mass_of_a_kink_out_would_be_wrong():
    name = "relu_taken_for_smooth"
    ACTIVATIONS.register(name, ACTIVATIONS["relu"]._replace(kinked=False))
    right = state_evolution(Problem(activation="relu", **KINKED), samples=2**12)
    wrong = state_evolution(Problem(activation=name, **KINKED), samples=2**12)
    apart = np.abs(right.weight_gram - wrong.weight_gram)[-1] / np.hypot(
        right.weight_gram_stderr, wrong.weight_gram_stderr
    )
    assert float(apart.max()) > 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"randomizations": "3"}, "randomizations='3': at least 2"),
        ({"randomizations": 2.5}, r"randomizations=2\.5: at least 2"),
        ({"target_stderr": "x"}, "target_stderr='x': a number > 0"),
        ({"target_stderr": 0}, "target_stderr=0: a number > 0"),
        ({"max_samples": 1e6}, r"max_samples=1000000\.0: a whole number"),
        ({"samples": True}, "samples=True: a power of two"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(arguments, message):
    with pytest.raises(InvalidInput, match=message):
        state_evolution(Problem(steps=2), **{"samples": 64, "randomizations": 2, **arguments})


def test_whole_numbers_of_numpy_are_whole_numbers():
    theory = state_evolution(Problem(steps=2), samples=np.int64(64), randomizations=np.int32(2))
    assert (theory.samples, theory.randomizations) == (64, 2)
