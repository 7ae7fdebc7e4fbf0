"""Labels of samples, of one output and of several."""

import numpy as np
import pytest

import sedyn
from sedyn import InvalidInput, Problem
from sedyn.model.functions import LINKS
from sedyn.model.labels import clean_labels, label_noise, labels_of

INDICES = np.random.default_rng(0).standard_normal((3, 50))
NOISE = np.random.default_rng(1).standard_normal((3, 50))


def test_every_output_has_its_own_link_index_and_noise():
    names = ("tanh", "sin", "hermite2")
    own = labels_of(Problem(outputs=3, signals=3, link=names), INDICES, NOISE)
    shared = labels_of(Problem(outputs=3, link=names), INDICES[:1], NOISE)
    for c, name in enumerate(names):
        np.testing.assert_array_equal(own[c], LINKS[name].f(INDICES[c]) + NOISE[c])
        np.testing.assert_array_equal(shared[c], LINKS[name].f(INDICES[0]) + NOISE[c])


@pytest.mark.parametrize("labels", ["additive", "classes"])
def test_signals_beyond_the_outputs_play_no_part(labels):
    own, more = (Problem(outputs=2, signals=k, labels=labels) for k in (2, 3))
    np.testing.assert_array_equal(labels_of(more, INDICES, NOISE[:2]), labels_of(own, INDICES[:2], NOISE[:2]))


def test_replicates_in_front_change_nothing():
    problem = Problem(outputs=3, signals=3)
    side_by_side = clean_labels(problem, np.stack([INDICES, -INDICES]))
    for found, indices in zip(side_by_side, (INDICES, -INDICES), strict=True):
        np.testing.assert_array_equal(found, clean_labels(problem, indices))


def test_classes_are_the_largest():
    problem = Problem(outputs=3, signals=3, labels="classes", loss="softmax")
    labels = labels_of(problem, INDICES, NOISE)
    largest = np.argmax(np.tanh(INDICES) + NOISE, axis=0)
    assert {*largest} == {0, 1, 2}
    np.testing.assert_array_equal(labels, np.eye(3)[largest].T)


def test_flips_go_to_every_other_class_equally_often():
    problem = Problem(outputs=3, signals=3, labels="classes", loss="softmax", noise_law="flip(0.3)")
    rng = np.random.default_rng(0)
    indices, count = rng.standard_normal((3, 40_000)), 40_000
    clean = np.argmax(np.tanh(indices), axis=0)
    found = np.argmax(labels_of(problem, indices, label_noise(problem, rng.standard_normal((3, count)))), axis=0)
    for further, share in ((0, 0.7), (1, 0.15), (2, 0.15)):
        standard_error = np.sqrt(share * (1 - share) / count)
        assert abs(np.mean((found - clean) % 3 == further) - share) < 4 * standard_error


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": "classes"}, "outputs=1: labels=classes needs an output for each class, 2 at least"),
        ({"loss": "softmax", "outputs": 2, "signals": 2}, "loss='softmax': needs classes"),
        ({"outputs": 3, "signals": 2}, "signals=2: 3 outputs have an index each, or share one; set signals>=3, or 1"),
        ({"outputs": 3, "signals": 3, "combine": "product"}, "combine='product': several outputs have an index each"),
        ({"outputs": 2, "labels": "binary"}, "labels='binary': has one output; with outputs=2 set labels=classes"),
        ({"outputs": 2, "labels": "classes"}, "signals=1: classes need different indices or links; set signals>=2"),
        ({"outputs": 3, "link": ("tanh", "sin")}, "2 names for 3 outputs; give one, or one for each"),
        ({"link": ("tanh", "nope"), "outputs": 2}, "link='nope': known: identity, tanh"),
        ({"depth": 1, "width": 1, "outputs": 2}, "width=1: depth=1 is a linear model and has a unit an output"),
        ({"depth": 1, "width": 1, "skip": True}, "skip=True: depth=1 is a linear model already"),
        ({"depth": 2, "residual": True}, "residual=True: adds to hidden layers above the first; set depth>=3"),
        ({"bias_init": 0.5}, "bias_init=0.5: there are no biases; set bias=output or bias=all"),
        ({"bias": "some"}, "bias='some'"),
        ({"skip": 1}, "skip=1"),
        ({"n": 20, "d": 5, "outputs": 2, "skip": True}, "d=5: orthogonal signals and units need d=6 at least"),
    ],
)
def test_contradictions_are_refused(fields, message):
    with pytest.raises(InvalidInput) as refusal:
        Problem(**fields)
    assert message in str(refusal.value)


def test_fields_at_their_defaults_change_no_key():
    plain = Problem(n=40, d=20)
    same = Problem(n=40, d=20, bias="none", outputs=1, skip=False, residual=False, hidden="dense", link=("tanh",))
    assert same.key == plain.key
    assert same.theory_key == plain.theory_key
    assert Problem(n=40, d=20, skip=True).key == '{"d":20,"n":40,"skip":true}'


def test_a_joint_link_must_give_a_label_for_each_output():
    sedyn.register_link("one_for_all", lambda z: z.sum(axis=0), joint=True)
    with pytest.raises(InvalidInput, match="link='one_for_all': gives 1 labels of a sample; the network has 3"):
        clean_labels(Problem(outputs=3, signals=3, link="one_for_all"), INDICES)
