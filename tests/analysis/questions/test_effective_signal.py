import numpy as np
import pytest
import xarray as xr

import sedyn
from analysis.questions.effective_signal import SECTION
from analysis.statistics.effective_signal import effective_signal, regressed


@pytest.fixture(scope="module")
def solved():
    problem = sedyn.Problem(n=400, d=200, width=2, depth=2, link="sin", init_overlap=0.5, signal_norm=1.3, steps=4)
    return problem, sedyn.state_evolution(problem, samples=2**10, randomizations=2)


def as_store(problem, theory, simulation):
    """Sizes along n, as the report reads them."""
    return simulation.assign_attrs(problem.to_dict()), theory.expand_dims(n=simulation.n.values)


def test_overlaps_of_theory_give_back_its_coefficients(solved):
    problem, theory = solved
    names = ["initial_overlap", "signal_overlap", "weight_gram"]
    found = regressed(theory[names].expand_dims("replicate").assign_attrs(problem.to_dict())).isel(replicate=0)
    for name in ("init_coefficient", "signal_coefficient"):
        np.testing.assert_allclose(found[name], theory[name], atol=1e-10)
    explained = 1 - np.diagonal(theory.noise_covariance, axis1=-2, axis2=-1) / np.diagonal(
        theory.weight_gram, axis1=-2, axis2=-1
    )
    # A mean over randomizations of products is not the product of means: for each pair of coefficients they differ by
    # the square of the solver's error.
    pairs = (problem.width + problem.signals) ** 2
    doubt = pairs * float((theory.init_coefficient_stderr**2).max())
    assert doubt < 1e-4
    np.testing.assert_allclose(found.explained, explained, atol=doubt)


@pytest.mark.parametrize(("shift", "answer"), [(0.0, "holds"), (0.2, "fails")])
def test_runs_around_theory_hold_and_runs_away_from_it_fail(solved, shift, answer):
    problem, theory = solved
    sizes = np.array([250, 1000, 4000, 16000])
    names = ["initial_overlap", "signal_overlap", "weight_gram"]
    runs = theory[names].expand_dims(n=sizes, replicate=np.arange(24)).copy(deep=True)
    rng = np.random.default_rng(0)
    later = runs.iteration > 0
    for name in names[:2]:
        noise = runs[name].copy(data=rng.standard_normal(runs[name].shape))
        runs[name] = runs[name] + later * (noise / np.sqrt(runs.n) + shift)
    certain = theory.assign({name: 0 * values for name, values in theory.items() if str(name).endswith("_stderr")})
    measured = effective_signal(*as_store(problem, certain, runs))
    assert {finding.verdict for finding in SECTION.findings(measured)} == {answer}


def test_rows_whose_size_varies_over_runs_explain_the_predicted_share(solved):
    """Theory predicts moments: where these scatter without bias over runs, dividing adds none."""
    problem, theory = solved
    names = ["initial_overlap", "signal_overlap", "weight_gram"]
    runs = theory[names].expand_dims(n=[250, 1000, 4000], replicate=np.arange(4)).copy(deep=True)
    excess = xr.DataArray([-0.9, -0.3, 0.3, 0.9], dims="replicate")
    runs["weight_gram"] = runs.weight_gram * (1 + excess / 2)
    measured = effective_signal(*as_store(problem, theory, runs)).isel(n=-1)
    doubt = float(measured.explained_predicted_stderr.max())
    np.testing.assert_allclose(measured.explained, measured.explained_predicted, atol=doubt)
    mean_of_ratios = regressed(runs.assign_attrs(problem.to_dict())).explained.mean(("neuron", "replicate")).isel(n=-1)
    assert float((mean_of_ratios - measured.explained_predicted)[-1]) > 10 * doubt
    assert 0 < doubt < 1e-3


def test_the_question_is_of_misspecified_problems(solved):
    problem, theory = solved
    runs = theory.expand_dims(n=[1, 2, 3], replicate=[0, 1]).assign_attrs(problem.to_dict())
    assert SECTION.unanswerable(runs) is None
    assert SECTION.unanswerable(runs.assign_attrs(link="tanh")) == "link and activation are the same"
    assert "differ in law" in SECTION.unanswerable(runs.assign_attrs(covariance="power_law(0.2)"))
