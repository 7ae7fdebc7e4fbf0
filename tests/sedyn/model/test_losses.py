"""Losses and their families: values in plain words, derivatives by complex steps and by JAX, and a user's own."""

import re

import numpy as np
import pytest

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.model.functions import LOSSES, loss_named

# A member or two of every family.
MEMBERS = ("squared", "logistic", "huber", "huber(0.4)", "absolute(0.3)")


def plain(text, f, y, xp=np):
    """A loss as one would write it down, on complex numbers too: what counts is on which side the real part is."""
    name, number = re.fullmatch(r"(\w+)(?:\((.*)\))?", text).groups()
    scale, residual = float(number or 1), f - y
    if name == "squared":
        return residual**2 / 2
    if name == "logistic":
        return xp.log(1 + xp.exp(-y * f))
    if name == "absolute":
        return xp.sqrt(scale**2 + residual**2) - scale
    inside, sign = abs(xp.real(residual)) < scale, xp.sign(xp.real(residual))
    return xp.where(inside, residual**2 / 2, scale * (sign * residual - scale / 2))


def samples():
    """Outputs and labels -1 and 1, no residual at a threshold."""
    f, y = np.linspace(-6, 6, 60), np.where(np.arange(60) % 2, 1.0, -1.0)
    return f, y


def test_every_family_has_a_member_here():
    assert {text.split("(")[0] for text in MEMBERS} == {name for name in LOSSES.built_in if not LOSSES[name].joint}


@pytest.mark.parametrize("text", [*MEMBERS, "softmax"])
def test_the_mean_over_labels_is_the_loss_of_their_mean_where_a_loss_says_so(text):
    rng = np.random.default_rng(0)
    f, labels, shares = 3 * rng.standard_normal((3, 50)), np.eye(3)[:, :, None], rng.dirichlet(np.ones(3), 50).T
    loss = loss_named(text)
    values = [loss.jet(f, np.broadcast_to(labels[:, c], f.shape), 0)[0] for c in range(3)]
    mean = sum(share * value for share, value in zip(shares, values, strict=True))
    (of_mean,) = loss.jet(f, shares, 0)
    assert np.allclose(of_mean, mean, rtol=1e-13) == loss.linear_in_labels


@pytest.mark.parametrize("text", MEMBERS)
def test_derivatives_are_complex_steps(text):
    f, y = samples()
    value, slope, bend = loss_named(text).jet(f, y, 2)
    np.testing.assert_allclose(value, plain(text, f, y), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(slope, plain(text, f + 1e-30j, y).imag / 1e-30, rtol=1e-12, atol=1e-14)
    # Of the second derivative a complex step leaves the real part: l(f + ih) = l - h^2 l''/2 + h^4 l''''/24.
    steps = [(plain(text, f + 1j * h, y).real - value) * (-2 / h**2) for h in (2e-3, 4e-3)]
    np.testing.assert_allclose(bend, (4 * steps[0] - steps[1]) / 3, atol=1e-7)


@pytest.mark.parametrize("text", MEMBERS)
def test_derivatives_are_those_of_jax(text):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    f, y = samples()

    def of_one(f, y):
        return plain(text, f, y, jax.numpy)

    for order, derivative in enumerate((of_one, jax.grad(of_one), jax.grad(jax.grad(of_one)))):
        expected = jax.vmap(derivative)(f, y)
        np.testing.assert_allclose(loss_named(text).jet(f, y, 2)[order], expected, rtol=1e-10, atol=1e-12)


def test_the_absolute_loss_reaches_from_the_squared_to_the_absolute_one():
    f, y = samples()
    squared, wide = loss_named("squared").jet(f, y, 2), loss_named("absolute(1e6)").jet(f, y, 2)
    for expected, found in zip(squared, wide, strict=True):
        np.testing.assert_allclose(1e6 * found, expected, rtol=1e-9)
    narrow = loss_named("absolute(1e-6)").jet(f, y, 1)
    np.testing.assert_allclose(narrow[0], np.abs(f - y), atol=1e-6)
    np.testing.assert_allclose(narrow[1], np.sign(f - y), atol=1e-9)
    large = loss_named("absolute(1)").jet(np.array([-1e200, 1e200]), np.zeros(2), 2)
    np.testing.assert_array_equal(large, [[1e200, 1e200], [-1, 1], [0, 0]])


def test_a_bare_huber_has_threshold_one():
    f, y = samples()
    assert loss_named("huber") == loss_named("huber(1)") == LOSSES["huber"]
    for bare, written in zip(loss_named("huber").jet(f, y, 2), loss_named("huber(1)").jet(f, y, 2), strict=True):
        np.testing.assert_array_equal(bare, written)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("absolute", "loss='absolute': write absolute(width) with a width > 0"),
        ("absolute(0)", "loss='absolute(0)': write absolute(width) with a width > 0"),
        ("huber(-1)", "loss='huber(-1)': write huber(threshold) with a threshold > 0"),
        ("huber(1, 2)", "loss='huber(1, 2)': write huber(threshold) with a threshold > 0"),
        ("squared(1)", "loss='squared(1)': squared takes no number; write squared"),
    ],
)
def test_what_is_refused_and_how(text, said):
    with pytest.raises(InvalidInput, match=re.escape(said) + "$"):
        Problem(loss=text)


def test_a_loss_of_a_users_own():
    def quartic(f, y, order):
        residual = f - y
        return (0.25 * residual**4, residual**3, 3 * residual**2)[: order + 1]

    sedyn.register_loss("quartic", quartic)
    with pytest.raises(InvalidInput, match="loss='quartic': this name is taken"):
        sedyn.register_loss("quartic", quartic)
    runs = sedyn.simulate(Problem(n=60, d=40, steps=2, loss="quartic", learning_rate=0.1), 1)
    assert runs.train_error[0, -1] < runs.train_error[0, 0]
    sedyn.register_loss("signed", quartic, binary=True)
    with pytest.raises(InvalidInput, match="needs labels -1 and 1"):
        Problem(loss="signed")
