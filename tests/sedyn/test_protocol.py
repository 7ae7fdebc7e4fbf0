"""What state evolution and gradient descent have in common: one test of each promise, run over both."""

import ast
import dataclasses
import inspect
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from sedyn import Problem
from sedyn.arrays.history import History
from sedyn.descent import dynamics as descent
from sedyn.descent import engines
from sedyn.descent import inputs as descent_inputs
from sedyn.model.algorithm import states
from sedyn.model.architecture import initial_deep_weights
from sedyn.model.batching import Batches
from sedyn.model.evaluation import score_names
from sedyn.model.families import Law
from sedyn.model.observables import INCLUDED, dimension_sizes, parts_of, predicted, simulated
from sedyn.model.seeds import streams_of
from sedyn.model.update import Update, updates_of, updates_together
from sedyn.theory import dynamics as theory
from sedyn.theory import inputs as theory_inputs

MODULES = {"theory": theory, "descent": descent}
REPLICATES = 2


class Case(NamedTuple):
    """An algorithm with what its runs need."""

    algorithm: Any
    draw: Callable[[Problem], Any]
    updates: Callable[[Problem], list[Update]]
    leading: tuple[int, ...]
    """Axes in front of everything that is observed."""
    observables: Callable[[Problem], dict[str, tuple[str, ...]]]
    """Dimensions of what is observed."""
    other_batch: Callable[[Any, int], Any]
    """The same inputs where the batch of one step is its complement."""


def draw_samples(problem):
    return theory_inputs.draw(problem, 512, np.random.SeedSequence(0))


def draw_data(problem, replicates=REPLICATES, engine="dense"):
    streams = streams_of([problem] * replicates, 0, range(replicates))
    estimate = problem.activation != "relu"
    return descent_inputs.draw([problem] * replicates, streams, engine, estimate=estimate)


def updates_side_by_side(problem, replicates=REPLICATES):
    return updates_together([problem] * replicates, np.zeros(1))


def other_draws(inputs, step):
    batches = inputs.batches.copy()
    batches[step] = 1 - batches[step]
    return inputs._replace(batches=batches)


def other_data(inputs, step):
    batches = [inputs.batches[t] for t in range(BASE.steps)]
    batches[step] = 2 - batches[step]
    return inputs._replace(batches=Batches(lambda: batches))


def dims(observables, but=()):
    return {name: one.dims[1:] for name, one in observables.items() if not name.endswith("_stderr") and name not in but}


OF_ROWS = {name: one for name, one in INCLUDED["samples"].items() if name.startswith("row_")}
CASES = {
    "theory": Case(
        theory,
        draw_samples,
        updates_of,
        (),
        lambda problem: dims({**predicted(parts_of(problem)), **OF_ROWS}),
        other_draws,
    ),
    "descent, side by side": Case(
        descent,
        draw_data,
        updates_side_by_side,
        (REPLICATES,),
        lambda problem: dims(simulated(parts_of(problem)), but=("test_error", "test_error_rate")),
        other_data,
    ),
}
CASES["descent, alone"] = CASES["descent, side by side"]._replace(
    draw=lambda problem: draw_data(problem, 1), updates=lambda problem: updates_side_by_side(problem, 1), leading=(1,)
)

BASE = Problem(n=60, d=40, width=2, depth=3, steps=4, init_overlap=0.3)
PROBLEMS = {
    "plain": {},
    "momentum, decay, schedule": {"momentum": 0.5, "weight_decay": 0.1, "learning_rate": (0.7, 0.5, 0.3, 0.2)},
    "shuffled batches": {"batch_fraction": 0.5, "batching": "shuffle"},
    "drawn batches, two signals": {"batch_fraction": 0.3, "signals": 2},
    "correlated": {"covariance": "power_law(0.3)"},
    "frozen": {"train": "first", "deep_init": "signs"},
    "kinked": {"activation": "relu"},
    "classes, biases": {"labels": "classes", "loss": "softmax", "outputs": 3, "signals": 3, "bias": "all"},
    "linear classes": {"labels": "classes", "loss": "softmax", "outputs": 2, "signals": 2, "depth": 1, "bias": "all"},
    "two outputs, skip, residual": {"outputs": 2, "skip": True, "residual": True, "bias": "output"},
    "deeper rates, nesterov": {
        "deep_learning_rate": (0.0, 0.5, 0.1, 0.2),
        "momentum": 0.5,
        "momentum_form": "nesterov",
    },
    "one pass, momentum, decay": {"batching": "one_pass", "batch_size": 15, "momentum": 0.5, "weight_decay": 0.1},
    "epochs": {"epochs": 2, "batching": "shuffle"},
    "gradient noise": {"temperature": 0.1, "batch_fraction": 0.5, "momentum": 0.3, "weight_decay": 0.1},
}


@pytest.fixture(params=CASES)
def case(request, monkeypatch):
    if request.param == "descent, alone":
        monkeypatch.setattr(engines, "STACK_BYTES", 0)  # by the compiled pass, if there is one
    return CASES[request.param]


@pytest.fixture(params=PROBLEMS)
def problem(request):
    return dataclasses.replace(BASE, **PROBLEMS[request.param])


def content(value):
    """All that a value holds, byte by byte."""
    if isinstance(value, tuple):
        return tuple(content(part) for part in value)
    if isinstance(value, History):
        return ("history", content(value.values))
    if isinstance(value, dict):
        return {name: content(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return (value.shape, value.dtype.str, value.tobytes())
    assert value is None or isinstance(value, int | Law), type(value)  # nothing that could be changed in place
    return value


def path_of(case, problem, inputs):
    return list(states(case.algorithm, problem, inputs, case.updates(problem)))


# --- the same words -------------------------------------------------------------------------------------------------


def test_modules_define_the_same_in_the_same_order():
    defined = {}
    for name, module in MODULES.items():
        nodes = ast.parse(Path(inspect.getsourcefile(module)).read_text()).body
        kinds = (ast.ClassDef, ast.FunctionDef)
        defined[name] = [node.name for node in nodes if isinstance(node, kinds) and not node.name.startswith("_")]
    assert defined["theory"] == defined["descent"] == ["State", "init", "step", "observe", "scores"]


def test_folders_have_the_same_files():
    own = {
        "theory": {
            "state_evolution.py",
            "weight_side.py",
            "response.py",
            "causal_factor.py",
            "silence.py",
            "laws.py",
            "distances.py",
            "drift.py",
            "memory.py",
            "online.py",
        },
        "descent": {"simulation.py", "halves.py", "leave_one_out.py", "readout.py", "engines.py"},
    }
    for name, module in MODULES.items():
        there = {path.name for path in Path(inspect.getsourcefile(module)).parent.glob("*.py")}
        assert there - own[name] == {"__init__.py", "inputs.py", "dynamics.py", "run.py"}


@pytest.mark.parametrize("name", ["init", "step", "observe", "scores"])
def test_functions_have_the_same_signature(name):
    one, two = (inspect.signature(getattr(module, name)).parameters.values() for module in MODULES.values())
    described = [[(each.name, each.kind, each.default) for each in parameters] for parameters in (one, two)]
    assert described[0] == described[1]


def test_a_state_is_a_named_tuple_that_begins_with_its_iteration():
    shared = {"iteration", "trained", "deep_weights", "previous_deep_weights"}
    for module in MODULES.values():
        assert issubclass(module.State, tuple)
        assert module.State._fields[0] == "iteration"
        assert shared <= set(module.State._fields)


# --- the same behaviour ---------------------------------------------------------------------------------------------


def test_iterations_are_counted_from_zero(case, problem):
    assert [state.iteration for state in path_of(case, problem, case.draw(problem))] == [*range(problem.steps + 1)]


def test_a_run_begins_with_the_weights_of_the_problem(case, problem):
    state = case.algorithm.init(problem, case.draw(problem))
    for found, expected in zip(state.deep_weights, initial_deep_weights(problem), strict=True):
        np.testing.assert_array_equal(found, np.broadcast_to(expected, found.shape))


def test_a_step_leaves_its_state_as_it_was(case, problem):
    inputs, before = case.draw(problem), []
    path = []
    for state in states(case.algorithm, problem, inputs, case.updates(problem)):
        path.append(state)
        before.append(content(state))
    assert [content(state) for state in path] == before
    assert len({*before}) == len(before)


def test_the_same_step_gives_the_same_state_every_time(case, problem):
    inputs, updates = case.draw(problem), case.updates(problem)
    path = path_of(case, problem, inputs)
    for _ in range(2):
        for (state, following), update in reversed([*zip(pairwise(path), updates, strict=True)]):
            again = case.algorithm.step(problem, inputs, state, update)
            assert again is not following
            assert content(again) == content(following)


def test_a_run_is_the_same_as_another_one_and_leaves_its_inputs(case, problem):
    inputs = case.draw(problem)
    given = tuple(part for part in inputs if isinstance(part, np.ndarray | tuple))
    before = content(given)
    one, two = (path_of(case, problem, inputs) for _ in range(2))
    assert content(tuple(one)) == content(tuple(two))
    assert content(given) == before


def test_branches_do_not_see_each_other(case, problem):
    """Two runs that part after one step, taken in turns, are the runs that nothing else goes on beside."""
    inputs = case.draw(problem)
    other = dataclasses.replace(problem, learning_rate=0.1, momentum=0.2)
    plans = [case.updates(problem), [*case.updates(problem)[:1], *case.updates(other)[1:]]]
    alone = [list(states(case.algorithm, problem, case.draw(problem), plan)) for plan in plans]
    assert content(alone[0][-1]) != content(alone[1][-1])
    trunk = case.algorithm.step(problem, inputs, case.algorithm.init(problem, inputs), plans[0][0])
    branches = [[trunk], [trunk]]
    for t in range(1, problem.steps):
        for branch, plan in zip(branches, plans, strict=True):
            branch.append(case.algorithm.step(problem, inputs, branch[-1], plan[t]))
    for branch, expected in zip(branches, alone, strict=True):
        assert content(tuple(branch)) == content(tuple(expected[1:]))


def test_what_is_observed_has_the_names_and_shapes_of_the_schema(case, problem):
    inputs = case.draw(problem)
    nodes = (
        {}
        if case.algorithm is descent
        else {"node": path_of(case, problem, inputs)[0].effective_signal.overlaps.shape[0]}
    )
    sizes = {**dimension_sizes(problem), **nodes, "start": problem.units + problem.signals}
    named = case.observables(problem)
    expected = {name: (*case.leading, *(sizes[dim] for dim in dims)) for name, dims in named.items()}
    for state in path_of(case, problem, inputs):
        found = case.algorithm.observe(problem, inputs, state)
        assert {name: values.shape for name, values in found.items()} == expected


def test_what_is_observed_does_not_depend_on_later_steps(case, problem):
    inputs, at_once, path = case.draw(problem), [], []
    for state in states(case.algorithm, problem, inputs, case.updates(problem)):
        at_once.append(content(case.algorithm.observe(problem, inputs, state)))
        path.append(state)
    assert [content(case.algorithm.observe(problem, inputs, state)) for state in path] == at_once


def test_scores_are_those_observed(case, problem):
    inputs = case.draw(problem)
    state = path_of(case, problem, inputs)[-1]
    found, observed = case.algorithm.scores(problem, inputs, state), case.algorithm.observe(problem, inputs, state)
    fresh = "test" if case.algorithm is theory else "estimated_test"
    assert set(found) == {f"{kind}_{name}" for kind in ("train", fresh) for name in score_names(problem)}
    assert content(found) == content({name: observed[name] for name in found})


def test_no_step_goes_beyond_the_last_iteration(case, problem):
    inputs, updates = case.draw(problem), case.updates(problem)
    last = path_of(case, problem, inputs)[-1]
    with pytest.raises(ValueError, match="iteration 4 is the last of the problem's 4 steps"):
        case.algorithm.step(problem, inputs, last, updates[-1])


# --- the same updates -----------------------------------------------------------------------------------------------


def observed_after(case, problem, steps, **numbers):
    """What is observed after some steps of a full-batch problem with other numbers in its updates."""
    inputs, other = case.draw(problem), dataclasses.replace(problem, **numbers)
    path = list(states(case.algorithm, problem, inputs, case.updates(other)[:steps]))
    return case.algorithm.observe(problem, inputs, path[-1])


def test_an_update_says_all_about_rate_momentum_and_decay(case, problem):
    """Those of the problem itself do not matter to a step."""
    inputs, plan = case.draw(problem), case.updates(problem)
    numbers = {"learning_rate": 3.0, "deep_learning_rate": 2.0, "momentum": 0.9, "weight_decay": 2.0}
    form = "heavy_ball" if problem.momentum_form == "nesterov" else "nesterov"
    other = dataclasses.replace(problem, **numbers, momentum_form=form, temperature=1.0)
    one, two = (list(states(case.algorithm, each, inputs, plan)) for each in (problem, other))
    assert content(tuple(one)) == content(tuple(two))


def test_momentum_is_of_the_second_step(case):
    first, first_with, second, second_with = (
        observed_after(case, BASE, steps, momentum=momentum) for steps in (1, 2) for momentum in (0.0, 0.5)
    )
    for name in ("initial_overlap", "signal_overlap", "weight_gram", "deep_weights"):
        np.testing.assert_array_equal(first[name], first_with[name])
        assert np.nanmax(np.abs(second[name] - second_with[name])) > 1e-3


def test_the_first_step_of_nesterov_is_a_longer_one(case):
    """u^1 = u^0 - (1 + beta) eta gradient; the next ones part from those of the heavy ball."""
    start, plain, ahead = (
        observed_after(case, BASE, steps, momentum=0.5, momentum_form=form)
        for steps, form in ((0, "nesterov"), (1, "heavy_ball"), (1, "nesterov"))
    )
    for name in ("initial_overlap", "signal_overlap", "deep_weights"):
        np.testing.assert_allclose(ahead[name] - start[name], 1.5 * (plain[name] - start[name]), atol=1e-13)
    assert np.abs(plain["weight_gram"] - ahead["weight_gram"]).max() > 1e-3


def test_the_rate_of_deeper_layers_is_theirs_alone(case):
    start, plain, slower = (
        observed_after(case, BASE, steps, deep_learning_rate=rate) for steps, rate in ((0, 0.1), (1, None), (1, 0.2))
    )
    share = 0.2 / BASE.learning_rates[0]
    for name, ratio in (("initial_overlap", 1), ("signal_overlap", 1), ("deep_weights", share)):
        np.testing.assert_allclose(slower[name] - start[name], ratio * (plain[name] - start[name]), atol=1e-13)


def test_decay_takes_its_share_of_every_weight(case):
    rate, decay = BASE.learning_rates[0], 0.3
    start, plain, decayed = (
        observed_after(case, BASE, steps, weight_decay=d) for steps, d in ((0, 0), (1, 0), (1, decay))
    )
    for name in ("initial_overlap", "signal_overlap", "deep_weights"):
        np.testing.assert_allclose(decayed[name] - plain[name], -rate * decay * start[name], atol=1e-13)


def test_a_schedule_is_one_rate_after_another(case):
    rates = (0.7, 0.5, 0.3, 0.2)
    for steps in range(1, BASE.steps + 1):
        one, two = (
            observed_after(case, BASE, steps, learning_rate=(*rates[:steps], *rest))
            for rest in (rates[steps:], (9.0,) * (BASE.steps - steps))
        )
        assert content(one) == content(two)
    constant = observed_after(case, BASE, 2, learning_rate=0.7)
    assert (
        np.abs(observed_after(case, BASE, 2, learning_rate=rates)["train_error"] - constant["train_error"]).min() > 1e-3
    )


def test_the_halves_of_an_epoch_average_to_the_full_batch(case):
    """After one step, where the weights are linear in the weights of the samples."""
    halved = dataclasses.replace(BASE, batch_fraction=0.5, batching="shuffle")
    inputs = case.draw(halved)
    deep = {}
    for name, problem, given in (
        ("one", halved, inputs),
        ("other", halved, case.other_batch(inputs, 0)),
        ("full", BASE, inputs._replace(batches=case.draw(BASE).batches)),
    ):
        after = list(states(case.algorithm, problem, given, case.updates(BASE)[:1]))[-1]
        deep[name] = np.concatenate([np.ravel(weights) for weights in after.deep_weights])
    assert np.abs(deep["one"] - deep["other"]).max() > 1e-3
    np.testing.assert_allclose((deep["one"] + deep["other"]) / 2, deep["full"], atol=1e-14)


def test_a_batch_is_of_its_own_step(case):
    problem, changed = dataclasses.replace(BASE, batch_fraction=0.5), 2
    inputs = case.draw(problem)
    paths = [path_of(case, problem, given) for given in (inputs, case.other_batch(inputs, changed))]
    for t, (one, two) in enumerate(zip(*paths, strict=True)):
        same = content(one.deep_weights) == content(two.deep_weights), content(one.trained) == content(two.trained)
        assert same == (t <= changed, t <= changed)


# --- what a design may add ------------------------------------------------------------------------------------------


def test_steps_on_a_deferred_design_leave_their_state_and_repeat_to_rounding():
    """It has been drawn further in between, which no product that was asked for before may show."""
    data, updates = draw_data(BASE, 1, "deferred"), updates_side_by_side(BASE, 1)
    path, before = [], []
    for state in states(descent, BASE, data, updates):
        path.append(state)
        before.append(content(state))
    for (state, following), update in zip(pairwise(path), updates, strict=True):
        again = descent.step(BASE, data, state, update)
        np.testing.assert_allclose(again.trained, following.trained, atol=1e-12)
        np.testing.assert_allclose(again.first_weights, following.first_weights, atol=1e-12)
    assert [content(state) for state in path] == before
