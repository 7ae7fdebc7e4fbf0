from __future__ import annotations

from functools import cache
from time import process_time

import numpy as np
import pytest
import xarray as xr

import sedyn
from analysis.questions import rates
from analysis.report import standing
from analysis.report.chapter import findings_on
from sedyn.errors import InvalidInput
from sweeps.application.composition import compose
from sweeps.application.request import read_request
from sweeps.precision import standard_error
from sweeps.store import DONE, Store, facts, states
from sweeps.target import Open, Standing, Target
from sweeps.verdict import VerdictTasks, least_costly, next_round
from tests.sweeps.stores import run_out_of_order, spec_of, tree_of

NOISES = (0.01, 1.0, 3.0)
SOUGHT = Target(verdict=True).asked(5)
PRECISE = {0.01: 0.05, 1.0: 0.054, 3.0: 0.455}


def precise(location: str) -> Standing:
    """Call the train error at a noise decided once the standard error of its mean is small."""
    runs = tree_of(location)["simulation"].train_error
    errors = {noise: standard_error(runs.sel(noise=noise).values) for noise in runs.noise.values.tolist()}
    found = [
        Open(f"noise {noise}", (error / PRECISE[noise]) ** 2, {"noise": noise}, {40: 1.0})
        for noise, error in errors.items()
        if error > PRECISE[noise]
    ]
    return Standing(len(errors) - len(found), found)


def never(location: str) -> Standing:
    """Call nothing decided, ever."""
    return Standing(0, [Open("all", 3.0, {}, {40: 1.0, 128: 1.0})])


def drive(location, spec, judge, order=0, stop_after=None, target=None):
    """Sweep to verdicts, taking several tasks at a time and finishing them in another order."""
    store = Store.prepare(location, spec)
    source = VerdictTasks(store, spec, target or Target(verdict=True, max_replicates=26), judge, "cpu")
    return run_out_of_order(source, location, order, stop_after)


def replicates_of(tree: xr.DataTree) -> list[int]:
    return (tree["status"].simulation == DONE).sum("replicate").values.ravel().tolist()


def test_the_least_costly_replicates_go_like_the_root_of_variance_over_seconds():
    variance, seconds, counts = np.array([4.0, 1.0, 0.0]), np.array([1.0, 4.0, 1.0]), np.array([8, 8, 8])
    found = least_costly(variance, seconds, counts, 10**6, 100.0)
    np.testing.assert_allclose((variance / found).sum(), (variance / counts).sum() / 100, rtol=1e-9)
    assert found[2] == 8
    np.testing.assert_allclose(found[0] / found[1], 4.0, rtol=1e-9)
    # No other division of as little variance costs less.
    for share in np.linspace(0.02, 0.98, 49):
        others = variance[:2] / (np.array([share, 1 - share]) * (variance / counts).sum() / 100)
        assert (others * seconds[:2]).sum() >= (found * seconds)[:2].sum() * (1 - 1e-9)
    np.testing.assert_allclose(least_costly(variance, seconds, counts, 20, 100.0), [20, 20, 8])
    np.testing.assert_allclose(least_costly(0 * variance, seconds, counts, 20, 100.0), counts)


def test_replicates_are_added_until_findings_are_decided_whatever_stops_it_and_in_whatever_order(tmp_path):
    spec = spec_of({"noise": NOISES}, replicates=4)
    first, second = (str(tmp_path / "stores" / name) for name in ("a.zarr", "b.zarr"))
    source = drive(first, spec, precise)
    trees = [tree_of(first)]
    counts = replicates_of(trees[0])
    assert counts[0] == 4 < counts[1] < counts[2] == 26  # the noisiest cell stays open, and stops at the most
    assert source.standing.decided == 2
    assert [one.finding for one in source.standing.open] == ["noise 3.0"]
    assert source.note == "1 of 3 findings open"
    # Killed in its first round, in a later one, and at its end.
    for stop in (2, 7, 9, None):
        drive(second, spec, precise, order=2, stop_after=stop)
    trees.append(tree_of(second))
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(trees[0][group].ds, trees[1][group].ds)
    assert counts == replicates_of(trees[1])


def test_a_decided_store_gets_no_more(tmp_path):
    spec, location = spec_of({"noise": NOISES[:2]}, replicates=4), str(tmp_path / "stores" / "a.zarr")
    first = drive(location, spec, precise)
    assert first.announced > 0
    assert not first.standing.open
    again = drive(location, spec, precise)
    assert again.announced == 0
    assert again.reached == "0 of 2 findings open"
    # Also one with more than was asked for, of which another sweep had more.
    drive(location, spec_of({"noise": NOISES[:2]}, replicates=30), precise)
    assert drive(location, spec, precise).announced == 0


def test_rounds_do_not_grow_beyond_their_factor_nor_the_most(tmp_path):
    spec, location = spec_of(replicates=4), str(tmp_path / "stores" / "a.zarr")

    def hard(path: str) -> Standing:
        done = replicates_of(tree_of(path))[0]
        return Standing(0, [Open("all", 50.0 / done, {}, {40: 1.0})])

    drive(location, spec, hard, stop_after=4)  # theory, two blocks, and one of the next round
    assert Store.open(location).wanted({}) == 16
    drive(location, spec, hard)
    assert replicates_of(tree_of(location)) == [26]


def test_what_is_out_of_reach_is_not_pursued(tmp_path):
    spec, location = spec_of(replicates=4), str(tmp_path / "stores" / "a.zarr")

    def hopeless(path: str) -> Standing:
        return Standing(0, [Open("far", 1000.0, {}, {40: 1.0}), Open("unknown"), Open("elsewhere", 2.0, {}, {80: 1.0})])

    source = drive(location, spec, hopeless)
    assert replicates_of(tree_of(location)) == [4]
    assert source.reached == "3 of 3 findings open: far, unknown, elsewhere"


def test_time_ends_it(tmp_path):
    spec, location = spec_of(replicates=4), str(tmp_path / "stores" / "a.zarr")
    drive(location, spec, never, target=Target(verdict=True, max_seconds=1e-9))
    assert replicates_of(tree_of(location)) == [4]  # the first round is what was asked for
    store = Store.open(location)
    seconds = float(np.nansum(facts(store, "simulation", "seconds")))
    spent = seconds + float(np.nansum(facts(store, "theory", "seconds")))
    # Two times what there is can be had: a third of what is wanted, which is within reach, and does not fit.
    target = Target(verdict=True, max_replicates=1000, max_seconds=spent + 1.9 * seconds)
    assert next_round(store, spec, target, never).added == 0
    target = Target(verdict=True, max_replicates=1000, max_seconds=spent + 2.1 * seconds)
    found = next_round(store, spec, target, never)
    assert found.added == 8
    np.testing.assert_allclose([found.spent, found.seconds], [spent, 2 * seconds])


def test_judging_takes_of_the_time(tmp_path):
    spec, location = spec_of(replicates=4), str(tmp_path / "stores" / "a.zarr")
    drive(location, spec, never, target=Target(verdict=True, max_seconds=1e-9))
    store = Store.open(location)
    seconds = float(np.nansum(facts(store, "simulation", "seconds")))
    spent = seconds + float(np.nansum(facts(store, "theory", "seconds")))
    target = Target(verdict=True, max_replicates=1000, max_seconds=spent + 2.1 * seconds)

    def slow(path: str) -> Standing:
        """Take more of a core than there is time for what is wanted."""
        until = process_time() + 0.2 * seconds
        while process_time() < until:
            pass
        return never(path)

    assert next_round(store, spec, target, never, judging=0.2 * seconds).added == 0
    found = next_round(store, spec, target, slow, judging=0.1)
    assert found.added == 0
    assert found.judging > 0.1 + 0.2 * seconds
    # Rounds add up what each of their looks took.
    looks = []

    def twice(path: str) -> Standing:
        looks.append(path)
        return slow(path) if len(looks) == 1 else Standing(1, [])

    source = VerdictTasks(store, spec, Target(verdict=True, max_replicates=26), twice, "cpu")
    assert source.tasks
    run_out_of_order(source, location, 0, None)
    assert len(looks) == 2
    assert source.judging > 0.2 * seconds


def test_what_costs_least_comes_first(tmp_path):
    spec, location = spec_of({"noise": NOISES}, replicates=4), str(tmp_path / "stores" / "a.zarr")
    drive(location, spec, lambda path: Standing(0, ()))
    store = Store.open(location)
    wishes = [Open("dear", 4.0, {"noise": 3.0}, {40: 1.0}), Open("cheap", 2.0, {"noise": 1.0}, {40: 1.0})]
    seconds = facts(store, "simulation", "seconds")
    spent = float(np.nansum(seconds) + np.nansum(facts(store, "theory", "seconds")))
    enough = spent + 1.5 * float(np.nansum(seconds[1])) + float(np.nansum(seconds[2]))
    found = next_round(
        store, spec, Target(verdict=True, max_replicates=50, max_seconds=enough), lambda path: Standing(0, wishes)
    )
    assert list(found.counts.values()) == [4, 8, 4]


def test_a_round_with_a_failure_is_the_last(tmp_path):
    spec = spec_of(replicates=2)
    store = Store.prepare(str(tmp_path / "stores" / "a.zarr"), spec)
    source = VerdictTasks(store, spec, Target(verdict=True), never, "cpu")
    tasks = [source.take() for _ in range(source.announced)]
    assert [source.finish(task, failed=True) for task in tasks] == [()] * len(tasks)
    assert source.standing is None
    assert source.reached == ""


def test_what_was_asked_of_cells_stays_when_a_store_gets_axes(tmp_path):
    location = str(tmp_path / "stores" / "a.zarr")
    Store.prepare(location, spec_of({"noise": NOISES[:2]})).want([({"noise": 1.0}, 9)], SOUGHT)
    store = Store.prepare(location, spec_of({"noise": NOISES, "steps": (3, 4)}))
    assert store.wanted({"noise": 1.0, "steps": 3}) == 9
    assert store.wanted({"noise": 0.01, "steps": 3}) == 0
    assert store.wanted({"noise": 1.0, "steps": 4}) == 0
    assert store.replicates == 9
    store.want([({"noise": 1.0, "steps": 4}, 12), ({"noise": 3.0, "steps": 4}, 7)], SOUGHT)
    asked = [Store.open(location).wanted({"noise": noise, "steps": 4}) for noise in NOISES]
    assert asked == [0, 12, 7]


SIZES = (64, 128, 256, 512, 1024, 4096)


MOST = 512


class _Made:
    """`sedyn` as a worker sees it, with made-up runs: theory, and normals times a power of n."""

    def __init__(self, exponent: float) -> None:
        self._exponent = exponent

    def state_evolution(self, problem, **settings):
        solved = sedyn.state_evolution(problem, samples=64, randomizations=2)
        return solved.map(lambda one: 1e-6 * one if str(one.name).endswith("_stderr") else one, keep_attrs=True)

    @cache  # noqa: B019 - lives as long as its test
    def _runs(self, problem):
        limit = self.state_evolution(problem)
        (run,) = sedyn.simulate_together([(problem, (0,))], estimate=False)
        runs = run.isel(replicate=[0] * MOST)
        runs["test_error_stderr"] *= 0
        for name in {name for name in set(runs) & set(limit) if not name.endswith("_stderr")}:
            noise = np.random.default_rng([problem.n, *map(ord, name)]).standard_normal((MOST, *limit[name].shape))
            made = limit[name].values + 0.3 * float(problem.n) ** self._exponent * noise
            if name.endswith(("overlap", "weights")):  # these begin where theory says
                made[:, 0] = runs[name].transpose("replicate", *limit[name].dims).values[:, 0]
            runs[name] = ("replicate", *limit[name].dims), made
        return runs

    def simulate_together(self, cells, **how):
        return [self._runs(problem).isel(replicate=list(which)) for problem, which in cells]


def judge_rates(location: str) -> Standing:
    """Judge the rates alone: of a bias that there is not nothing is known with any number of runs."""
    found = [one for _, one in findings_on(location, [rates.SECTION]) if one.quantity == "exponent"]
    open_ = [
        Open(one.subject, one.lack.runs, one.lack.cells, one.lack.leverage)
        for one in found
        if one.verdict == "undecided"
    ]
    return Standing(len(found) - len(open_), open_)


@pytest.mark.parametrize(("exponent", "verdict"), [(-0.4, "fails"), (-0.5, "holds")])
def test_a_false_claim_ends_as_one_that_fails_and_a_true_one_holds(tmp_path, monkeypatch, exponent, verdict):
    monkeypatch.setattr("sweeps.worker.sedyn", _Made(exponent))
    sizes = {"n": SIZES}
    base = {"steps": 2, "depth": 2, "width": 2}
    spec = spec_of(
        sizes,
        base,
        features_at={n: n // 2 for n in SIZES},
        aspect=2,
        replicates=8,
        block=16,
        estimate=False,
    )
    location = str(tmp_path / "stores" / "a.zarr")
    drive(location, spec, lambda path: Standing(0, ()))
    before = judge_rates(location)
    assert len(before.open) > 2
    source = drive(location, spec, judge_rates, target=Target(verdict=True, max_replicates=MOST))
    assert not source.standing.open
    found = [one for _, one in findings_on(location, [rates.SECTION]) if one.quantity == "exponent"]
    assert [one.verdict for one in found] == [verdict] * len(found)


def test_a_sweep_to_verdicts_on_the_command_line(sweep, read, capsys):
    words = ("grid.n=[64,128,256,512]", "aspect=2", "replicates=8", "block=8", "problem.steps=2", "theory.samples=4096")
    target = ("target.verdict=true", "target.max_replicates=64")
    assert sweep(*words, *target, "plan=true") == 0
    said = capsys.readouterr().out
    assert "target: every finding decided; this is the first round, and up to 64 replicates a cell" in said
    assert sweep(*words) == 0
    capsys.readouterr()
    assert sweep(*words, *target, "plan=true") == 0
    said = capsys.readouterr().out
    assert "findings open, after" in said
    assert "times the replicates decide" in said
    assert "next round: none" not in said
    assert sweep(*words, *target) == 0
    assert "findings open" in capsys.readouterr().out
    done = (read()["status"].simulation == DONE).sum("replicate")
    assert done.min() >= 8
    assert 8 < done.max() <= 64
    assert sweep(*words, *target) == 0
    assert "nothing was missing" in capsys.readouterr().out


def test_ray_workers_find_the_same_verdicts(sweep, read, ray_session):
    words = ("grid.n=[64,128,256]", "aspect=2", "replicates=6", "block=3", "problem.steps=2")
    target = ("target.verdict=true", "target.max_replicates=24", "target.judge=tests.sweeps.test_verdict.never")
    assert sweep(*words, *target, "store=stores/inline.zarr") == 0
    assert sweep(*words, *target, "store=stores/ray.zarr", "compute=local", "compute.workers=2") == 0
    inline, parallel = (read(f"stores/{name}.zarr") for name in ("inline", "ray"))
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(parallel[group].ds, inline[group].ds)
    assert replicates_of(inline) == replicates_of(parallel) == [6, 18, 6]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["target.verdict=true", "target.stderr=0.1"], "leave out target.stderr"),
        (["target.max_seconds=3"], "set target.verdict=true too"),
        (["target.verdict=maybe"], "true or false"),
        (["target.verdict=true", "target.max_seconds=-1"], "> 0"),
        (["target.verdict=true", "target.judge=analysis.report.nobody"], "target.judge"),
        (["target.verdict=true", "target.judge=null"], "verdicts need a judge"),
        (["target.verdict=true", "replicates=1"], "2 to target.max_replicates"),
    ],
)
def test_a_wrong_request_is_refused(words, message):
    with pytest.raises(InvalidInput, match=message):
        read_request(compose(words))


def test_a_store_of_which_nothing_can_be_said_has_no_findings(tmp_path):
    location = str(tmp_path / "stores" / "a.zarr")
    Store.prepare(location, spec_of())
    assert standing(location) == Standing(0, ())
    assert (states(Store.open(location), "simulation") != DONE).all()


def test_theories_get_samples_where_their_own_error_is_in_the_way(tmp_path):
    """Each only as many as its finding needs, all cells that share it alike, and the same however it is stopped."""
    spec = spec_of({"n": (40, 80), "noise": NOISES[:2]}, replicates=4, features_at={40: 20, 80: 40}, aspect=2)
    samples = spec.samples

    def solved_with(path: str) -> float:
        store = Store.open(path)
        return store.samples({"n": 40, "noise": 1.0}) / samples

    def inexact(path: str) -> Standing:
        lacks = 6.0 / max(solved_with(path), 1.0)
        return Standing(1, [Open("noise", cells={"noise": 1.0}, samples=lacks)] if lacks > 1 else [])

    first, second = (str(tmp_path / "stores" / name) for name in ("a.zarr", "b.zarr"))
    source = drive(first, spec, inexact)
    assert not source.standing.open
    store = Store.open(first)
    counts = {(n, noise): store.samples({"n": n, "noise": noise}) for n in (40, 80) for noise in NOISES[:2]}
    assert counts == {(40, 1.0): 8 * samples, (80, 1.0): 8 * samples, (40, 0.01): 0, (80, 0.01): 0}
    assert (states(store, "theory") == DONE).all()
    assert replicates_of(tree_of(first)) == [4] * 4
    theory = tree_of(first)["theory"].sel(n=40)
    for noise, used in ((0.01, samples), (1.0, 8 * samples)):
        (cell,) = (cell for cell in spec.cells if (cell.problem.n, cell.problem.noise) == (40, noise))
        alone = sedyn.state_evolution(cell.problem, **spec.theory_settings._replace(samples=used)._asdict())
        np.testing.assert_array_equal(theory.test_error.sel(noise=noise), alone.test_error)
    for stop in (6, 3, None):
        drive(second, spec, inexact, order=1, stop_after=stop)
    for group in ("simulation", "theory"):
        xr.testing.assert_identical(tree_of(first)[group].ds, tree_of(second)[group].ds)
    # What would take too long, or has no room, is left as it is.
    spent = Target(verdict=True, max_seconds=1e-9)
    far = lambda path: Standing(0, [Open("all", samples=2.0)])  # noqa: E731
    assert next_round(Store.open(first), spec, spent, far).samples == {}
    vast = lambda path: Standing(0, [Open("all", samples=2.0**40)])  # noqa: E731
    assert next_round(Store.open(first), spec, Target(verdict=True), vast).samples == {}


def test_more_samples_stay_when_a_store_gets_axes(tmp_path):
    location = str(tmp_path / "stores" / "a.zarr")
    Store.prepare(location, spec_of({"noise": NOISES[:2]})).want_samples([({"noise": 1.0}, 512)])
    store = Store.prepare(location, spec_of({"noise": NOISES, "steps": (3, 4)}))
    assert store.samples({"noise": 1.0, "steps": 3}) == 512
    assert store.samples({"noise": 1.0, "steps": 4}) == 0
