import numpy as np
import pytest
import xarray as xr

from analysis.questions.classes import SECTION
from analysis.statistics.classes import OBSERVABLES, SCORES, classes
from tests.analysis.grid import groups

CLASSES = [3, 10]
ENTRIES = {
    "deep_weights": {"neuron": "fan_out", "index": "fan_in"},
    "biases": {"neuron": "fan_out", "index": "bias_layer"},
}


def store(*, shifts=None, readout=0.015, off=lambda n: n**-0.5, seed=0, **settings):
    """Groups of networks that classify, every observable with a shift of its own and estimates that are `off`."""
    runs, predictions = {}, {}
    for position, name in enumerate(OBSERVABLES):
        shift = (shifts or {}).get(name, lambda n, outputs: 0.0)
        found = groups({"outputs": CLASSES}, shift=shift, replicates=256, seed=seed + position, **settings)
        simulated, predicted = (group.rename(ENTRIES.get(name, {})) for group in found)
        like = "signal_overlap" if name in ENTRIES else "test_error"
        runs[name], predictions[name] = simulated[like], predicted[like]
        predictions[f"{name}_stderr"] = predicted[f"{like}_stderr"]
    simulation, theory = xr.Dataset(runs), xr.Dataset(predictions)
    rng = np.random.default_rng(seed)
    for name in SCORES:
        error = simulation[name].copy(data=rng.standard_normal(simulation[name].shape))
        simulation[f"estimated_{name}"] = simulation[name] + off(simulation.n) * error
        same_points = simulation[name].isel(iteration=0)
        same_points = same_points.copy(data=rng.standard_normal(same_points.shape))
        simulation[name] = simulation[name] + readout * same_points
        simulation[f"{name}_stderr"] = simulation[name] * 0 + readout
    return simulation, theory


def verdicts(groups):
    return {found.subject: found.verdict for found in SECTION.findings(classes(*groups, draws=200))}


def test_true_claims_hold():
    found = verdicts(store())
    assert len(found) == 2 * (5 + 1 + 2)
    assert {*found.values()} == {"holds"}


def test_errors_of_fresh_samples_are_taken_out():
    # At the largest n they are 0.6 of the fluctuation: left in, the exponent would be -0.45.
    measured = classes(*store(), draws=200).sel(observable="test_error_rate", part="distance")
    spread = (measured.overall_exponent_high - measured.overall_exponent_low) / 4
    assert (abs(measured.overall_exponent + 0.5) < 3 * spread).all()
    np.testing.assert_allclose(measured.distance.isel(n=-1).mean("iteration"), 1600**-0.5, rtol=0.2)
    np.testing.assert_allclose(measured.readout_error, 0.015)


def test_a_theory_that_is_off_fails():
    found = verdicts(store(shifts={"test_error_rate": lambda n, outputs: 0.1 * (outputs == 10)}))
    fails = {"test error rate with 10 classes", "mean test error rate with 10 classes"}
    assert {subject for subject, verdict in found.items() if verdict == "fails"} == fails
    assert {verdict for subject, verdict in found.items() if subject not in fails} == {"holds"}


def test_a_bias_that_dies_out_is_not_held_against_the_mean():
    found = verdicts(store(shifts={"test_error_rate": lambda n, outputs: 40 / n}))
    assert found["mean test error rate with 3 classes"] == "holds"
    assert found["test error rate with 3 classes"] == "holds"


@pytest.mark.parametrize("name", ["deep_weights", "biases"])
def test_parameters_that_do_not_approach_theory_fail(name):
    found = verdicts(store(shifts={name: lambda n, outputs: 0.2}))
    assert [subject for subject, verdict in found.items() if verdict == "fails"] == [
        f"{name.replace('_', ' ')} with {count} classes" for count in CLASSES
    ]


def test_an_estimate_that_stays_off_fails():
    found = verdicts(store(off=lambda n: 0.1 + 0 * n))
    fails = {f"estimated {words} with {count} classes" for words in WORDS for count in CLASSES}
    assert {subject for subject, verdict in found.items() if verdict == "fails"} == fails


WORDS = ("twice the test loss", "test error rate")


def test_a_solver_that_is_too_coarse_decides_nothing():
    found = verdicts(store(solver=0.01))
    assert {found[f"test error rate with {count} classes"] for count in CLASSES} == {"undecided"}


def test_one_number_of_classes_needs_no_axis():
    simulation, theory = (group.sel(outputs=3, drop=True).assign_attrs(outputs=3) for group in store())
    measured = classes(simulation, theory, draws=50)
    assert {found.subject.split(" with ")[1] for found in SECTION.findings(measured)} == {"3 classes"}
    lines = [line for table in SECTION.tables(measured) for line in table.lines]
    assert len(lines) == len(OBSERVABLES) + len(SCORES)
    assert [len(figure.figure.axes) for figure in SECTION.figures(simulation, theory, measured)] == [4, 8]


def test_networks_without_biases_have_no_line_for_them():
    simulation, theory = store()
    measured = classes(simulation.drop_vars("biases"), theory.drop_vars("biases"), draws=50)
    assert not any("biases" in found.subject for found in SECTION.findings(measured))


def test_other_stores_are_not_asked():
    simulation, _ = store()
    assert SECTION.unanswerable(simulation) is None
    assert "labels=classes" in SECTION.unanswerable(simulation.drop_vars("test_error_rate"))
    assert "estimate=true" in SECTION.unanswerable(simulation.drop_vars("estimated_test_error"))
    assert "noise" in SECTION.unanswerable(simulation.expand_dims(noise=[0.1]))
