import numpy as np
import pytest

from analysis.questions.batches import SECTION, limit_verdict
from analysis.statistics.batches import batches
from analysis.statistics.intervals import Interval
from analysis.statistics.power_law import Exponents
from sedyn import Problem, online_limit
from tests.analysis.grid import groups

STEPS = [1, 2, 4, 8, 16]
# Of a linear model the online limit is free of the solver's error.
PROBLEM = Problem(n=1600, d=800, width=1, depth=1, link="identity", epochs=1, batching="one_pass", steps=16)


@pytest.fixture(scope="module")
def online():
    return online_limit(PROBLEM, samples=256, randomizations=2).test_error.values


def store(online, law, solver=1e-6):
    """Theory that is off its limit by a law of the steps, and runs around it."""
    axes = {"steps": STEPS, "batching": ["one_pass", "without_replacement"]}
    simulation, theory = groups(axes, replicates=400, steps=16, solver=solver)
    for steps in STEPS:
        curve = np.full(17, np.nan)
        curve[: steps + 1] = online[:: 16 // steps] + law(steps)
        level = theory.test_error.sel(steps=steps)
        shift = curve - level
        theory["test_error"].loc[{"steps": steps}] = level + shift
        theory["train_error"].loc[{"steps": steps}] = theory.train_error.sel(steps=steps) + 0 * curve
        for name, change in (("test_error", shift), ("train_error", 0 * curve)):
            simulation[name].loc[{"steps": steps}] = simulation[name].sel(steps=steps) + change
    attributes = {**PROBLEM.to_dict(), "epochs": 1.0}
    for group in (simulation, theory):
        group.attrs = {name: value for name, value in attributes.items() if name not in ("n", "d", "steps", "batching")}
    return simulation.assign_coords(d=("n", simulation.n.values // 2)), theory


def verdicts(online, law, **options):
    return [finding.verdict for finding in SECTION.findings(batches(*store(online, law, **options), draws=100))]


def test_gaps_are_from_the_online_limit_and_from_half_the_batch(online):
    measured = batches(*store(online, lambda steps: 0.1 / steps), draws=50)
    gaps = measured.gap.transpose("batching", "steps").values
    np.testing.assert_allclose(gaps[0], [np.nan, 0.05, 0.025, 0.0125, 0.00625], rtol=1e-3)
    np.testing.assert_allclose(gaps[1], [np.nan, 0.025, 0.0125, 0.00625, np.nan], rtol=1e-3)
    np.testing.assert_allclose(measured.gap_exponent, -1, atol=1e-3)
    np.testing.assert_allclose(measured.online, online[-1])


def test_each_batching_and_each_number_of_steps_has_its_verdict(online):
    simulation, theory = store(online, lambda steps: 0.1 / steps)
    simulation["test_error"].loc[{"steps": 4, "batching": "one_pass"}] += 0.3
    findings = SECTION.findings(batches(simulation, theory, draws=100))
    assert [finding.verdict for finding in findings[:2]] == ["holds"] * 2
    assert [finding.subject for finding in findings[2:] if finding.verdict == "fails"] == [
        "test error at batching one_pass, steps 4"
    ]
    assert [finding.verdict for finding in findings[2:]].count("holds") >= 7  # of nine intervals some miss by chance


@pytest.mark.parametrize("law", [lambda steps: 0.1 / steps**0.5, lambda steps: 0.1 / steps**2], ids=["slow", "fast"])
def test_another_law_of_the_batches_fails(online, law):
    assert verdicts(online, law)[:2] == ["fails"] * 2


def test_a_theory_with_another_limit_fails_where_the_limit_is_known(online):
    assert verdicts(online, lambda steps: 0.02 + 0.1 / steps)[:2] == ["fails", "holds"]


def test_what_the_solver_cannot_see_is_undecided(online):
    assert verdicts(online, lambda steps: 0.1 / steps, solver=0.03)[:2] == ["undecided"] * 2


def test_a_wide_interval_is_undecided():
    verdict, sentence = limit_verdict(
        Exponents(*5 * [Interval(-0.9, -1.3, -0.5)], Interval(0, -0.1, 0.1), 1.0), "shuffle", 4
    )
    assert (verdict, "half the batch" in sentence) == ("undecided", True)


def test_a_limit_says_how_many_samples_of_theory_would_decide(online):
    """Those that make an interval of -+0.4, 1.3 times as wide, one of -+0.2; replicates have nothing to do with it."""
    measured = batches(*store(online, lambda steps: 0.1 / steps), draws=50)
    for fit in ("gap_exponent", "gap_larger_exponent", "gap_corrected_exponent"):
        for end, value in (("", -1.0), ("_low", -1.4), ("_high", -0.6)):
            measured[f"{fit}{end}"][:] = value
    for finding, batching in zip(SECTION.findings(measured)[:2], measured.batching.values, strict=True):
        assert finding.verdict == "undecided"
        np.testing.assert_allclose(finding.lack.samples, 2.6**2)
        assert finding.lack.cells == {"batching": batching}
        assert np.isnan(finding.lack.runs)


def test_what_is_needed(online):
    simulation, _ = store(online, lambda steps: 0.1 / steps)
    assert SECTION.unanswerable(simulation) is None
    assert "no epochs" in SECTION.unanswerable(simulation.assign_attrs(epochs=None))
    assert SECTION.unanswerable(simulation.isel(steps=[0, 1])) == "fewer than 4 numbers of steps"


def test_one_batching_alone_is_measured_as_among_others(online):
    simulation, theory = store(online, lambda steps: 0.1 / steps)
    both = batches(simulation, theory, draws=50)
    alone = [group.sel(batching="without_replacement", drop=True) for group in (simulation, theory)]
    alone = [group.assign_attrs(group.attrs, batching="without_replacement") for group in alone]
    measured = batches(*alone, draws=50)
    here = both.sel(batching=["without_replacement"])
    for name in ("gap", "gap_exponent", "overall_exponent", "run_distance", "final"):
        np.testing.assert_array_equal(measured[name], here[name])
    assert np.isnan(measured.online)
    assert SECTION.figures(*alone, measured)[0].caption
