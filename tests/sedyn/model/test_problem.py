import json
import pickle

import pytest

import sedyn
from sedyn import InvalidInput, Problem

WRONG = [
    ({"n": 0}, "n=0: a whole number >= 1"),
    ({"n": 10.5}, "n=10.5: a whole number"),
    ({"n": True}, "n=True: a whole number"),
    ({"d": "many"}, "d='many': a whole number"),
    ({"width": 0}, "width=0: a whole number"),
    ({"depth": 0}, "depth=0: a whole number"),
    ({"steps": 0}, "steps=0: a whole number"),
    ({"signals": 0}, "signals=0: a whole number"),
    ({"init_seed": -1}, "init_seed=-1: a whole number >= 0"),
    ({"noise": -0.1}, "noise=-0.1: a number >= 0"),
    ({"noise": float("nan")}, "noise=nan: a number >= 0"),
    ({"noise": "loud"}, "noise='loud': a number >= 0"),
    ({"momentum": 1.0}, "momentum=1.0: a number in [0, 1)"),
    ({"weight_decay": -1}, "weight_decay=-1: a number >= 0"),
    ({"batch_fraction": 0}, "batch_fraction=0: a number in (0, 1]"),
    ({"signal_norm": 0}, "signal_norm=0: a number > 0"),
    ({"init_overlap": float("inf")}, "init_overlap=inf: a finite number"),
    ({"learning_rate": 0}, "learning_rate=0: a number > 0, or one for each of the 20 steps"),
    ({"learning_rate": [0.1, 0.2]}, "2 numbers for 20 steps"),
    ({"learning_rate": [0.1] * 21}, "more numbers for 20 steps"),
    ({"learning_rate": [0.0] * 20}, "of which some may be 0"),
    ({"learning_rate": b"20"}, "learning_rate=b'20': a number > 0, or one for each"),
    ({"noise": 10**400}, "no larger than a float can be"),
    ({"n": 10**400}, "a whole number from 1 to 9007199254740992"),
    ({"depth": 10**6}, "a whole number from 1 to 1000"),
    ({"features": "sparse(1e-300)"}, "entries differ from 0; it takes 1 at least"),
    ({"features": "sparse_rows(0.0001)"}, "0.3 entries differ from 0; it takes 1 at least"),
    ({"features": "student_t(1e999)"}, "degrees of freedom greater than 2"),
    ({"deep_learning_rate": 0}, "deep_learning_rate=0: a number > 0, or one for each of the 20 steps"),
    ({"deep_learning_rate": [0.1] * 19 + [-1]}, "deep_learning_rate=-1: a number > 0, or one for each"),
    ({"temperature": -0.1}, "temperature=-0.1: a number >= 0"),
    ({"momentum_form": "polyak"}, "momentum_form='polyak'"),
    ({"activation": "tann"}, "activation='tann': did you mean 'tanh'?"),
    ({"activation": 3}, "activation=3: a name"),
    ({"link": "cubic"}, "link='cubic'"),
    ({"loss": "absolute"}, "loss='absolute'"),
    ({"labels": "ternary"}, "labels='ternary'"),
    ({"features": "cauchy"}, "features='cauchy'"),
    ({"features": "student_t"}, "write student_t(degrees of freedom)"),
    ({"features": "student_t(2)"}, "greater than 2"),
    ({"features": "gaussian(1)"}, "gaussian takes no number"),
    ({"features": "sparse(0)"}, "in (0, 1]"),
    ({"noise_law": "cauchy"}, "noise_law='cauchy': known: gaussian, student_t, laplace, flip"),
    ({"noise_law": "student_t(2)"}, "write student_t(degrees of freedom) with degrees of freedom greater than 2"),
    ({"noise_law": "flip(0.5)", "labels": "binary"}, "write flip(probability) with a probability in [0, 0.5)"),
    ({"noise_law": "flip(0.1)"}, "noise_law='flip(0.1)': replaces labels of classes; set labels=binary"),
    (
        {"noise_law": "flip(0.1)", "labels": "binary", "noise": 0.2},
        "noise=0.2: plays no part with noise_law=flip(0.1); leave it at 0.3",
    ),
    ({"covariance": "power_law"}, "an exponent in [0, 1)"),
    ({"covariance": "toeplitz"}, "covariance='toeplitz'"),
    ({"batching": "random"}, "batching='random'"),
    ({"combine": "max"}, "combine='max'"),
    ({"initialization": "zero"}, "initialization='zero'"),
    ({"train": "last"}, "train='last'"),
    ({"deep_init": "ones"}, "deep_init='ones'"),
    ({"depth": 1}, "width=3: depth=1 is a linear model"),
    ({"loss": "logistic"}, "loss='logistic': needs labels -1 and 1"),
    ({"d": 3}, "orthogonal signals and units need d=4 at least"),
    ({"batch_fraction": 1e-6}, "at n=3000 use at least"),
    ({"batch_fraction": 0.3, "batching": "shuffle"}, "needs 1/batch_fraction whole"),
    ({"batch_size": 0}, "batch_size=0: a whole number >= 1"),
    ({"batch_size": 2.5}, "batch_size=2.5: a whole number"),
    ({"batch_size": 3001}, "batch_size=3001: at most n=3000"),
    ({"batch_size": 700, "batching": "shuffle"}, "batch_size=700: batching=shuffle needs n/batch_size whole"),
    ({"batch_size": 30, "batch_fraction": 0.1}, "batch_size=30: says what batch_fraction=0.1 says already"),
    ({"batch_size": 30, "epochs": 1}, "batch_size=30: says what epochs=1.0 says already"),
    ({"epochs": 0}, "epochs=0: a number > 0"),
    ({"epochs": 21}, "epochs=21.0: at most steps=20, or more steps"),
    ({"epochs": 1e-6}, "epochs=1e-06: at n=3000 use at least 0.00667"),
    ({"n": 10, "epochs": 1, "steps": 16, "batching": "one_pass"}, "epochs=1.0: at n=10 use at least 1.6"),
    ({"n": 10, "batch_fraction": 1 / 16, "batching": "shuffle"}, "at n=10 use at least 0.1"),
    ({"epochs": 3, "batching": "shuffle"}, "epochs=3.0: batching=shuffle needs steps/epochs whole"),
    ({"epochs": 2, "batching": "one_pass"}, "epochs=2.0: batching=one_pass has data for 1 epoch"),
    ({"batch_size": 200, "batching": "one_pass"}, "batch_size=200: batching=one_pass has data for 15 steps"),
    ({"batching": "one_pass"}, "batch_fraction=1.0: batching=one_pass has data for 1 steps"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG, ids=lambda case: str(case)[:60])
def test_wrong_field_is_one_clear_line(fields, message):
    with pytest.raises(InvalidInput) as caught:
        Problem(**fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_field_names_the_nearest():
    with pytest.raises(InvalidInput, match="did you mean 'width'"):
        Problem.from_mapping({"widht": 3})


def test_problem_is_a_value():
    problem = Problem(n=400, d=200, learning_rate=[0.1] * 20)
    assert problem == Problem.from_mapping(json.loads(json.dumps(problem.to_dict())))
    assert hash(problem) == hash(Problem(n=400, d=200, learning_rate=(0.1,) * 20))
    assert pickle.loads(pickle.dumps(problem)) == problem
    with pytest.raises(AttributeError):
        problem.n = 3


def test_theory_is_shared_at_exactly_equal_aspect_ratio_only():
    assert Problem(n=600, d=400).theory_key == Problem(n=1200, d=800).theory_key
    assert Problem(n=600, d=400).theory_key == Problem(n=600, d=400, features="uniform").theory_key
    assert Problem(n=600, d=400).theory_key != Problem(n=600, d=401).theory_key
    assert Problem(n=600, d=400).theory_key != Problem(n=600, d=400, noise=0.2).theory_key
    assert Problem(n=600, d=400).theory_key != Problem(n=600, d=400, noise_law="laplace").theory_key
    correlated = {"covariance": "power_law(0.2)"}
    assert Problem(n=600, d=400, **correlated).theory_key != Problem(n=1200, d=800, **correlated).theory_key


def test_registered_names_work_and_stay_unique():
    sedyn.register_link("cube_for_test", lambda z: z**3)
    assert Problem(link="cube_for_test").link == "cube_for_test"
    with pytest.raises(InvalidInput, match="this name is taken"):
        sedyn.register_link("cube_for_test", lambda z: z)
    with pytest.raises(InvalidInput, match="a name is letters"):
        sedyn.register_activation("no name", abs, abs, abs)
    sedyn.register_link("norm_for_test", lambda z: (z**2).sum(axis=0), joint=True)
    with pytest.raises(InvalidInput, match="joint"):
        Problem(link="norm_for_test", signals=2, combine="product")
