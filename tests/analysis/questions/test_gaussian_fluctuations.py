import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtri

import sedyn
from analysis.questions.gaussian_fluctuations import LAWS, SECTION
from analysis.statistics.gaussian_fluctuations import gaussian_fluctuations
from analysis.statistics.rates import rates
from sedyn.model.observables import COMPARED, PROBABILITIES, SCALES, quantiles
from sedyn.theory.distances import from_normal

SIZES, WIDTHS, STEPS, UNIT = (100, 400, 1600), (1, 2), 2, 1.7
FACTOR = np.array([[0.8, 0.0], [0.5, 0.6]])
"""Cholesky factor of the predicted covariance."""


def normal(rng, q, size):
    return rng.standard_normal((q, size))


def heavy(rng, q, size):
    return rng.laplace(size=(q, size)) / np.sqrt(2)


def groups(rows=normal, samples=normal, joint=normal, sizes=SIZES, replicates=96, seed=0):
    """A store whose rows and samples are drawn: whitened rows, pre-activations in their unit, times response."""
    rng = np.random.default_rng(seed)
    coords = {
        "n": np.array(sizes),
        "width": np.array(WIDTHS),
        "replicate": np.arange(replicates),
        "iteration": np.arange(STEPS + 1),
        "neuron": np.arange(2),
        "neuron_": np.arange(2),
        "scale": np.array(SCALES),
        "probability": PROBABILITIES,
    }
    lead = ("n", "width", "replicate")
    dims = {name: (*lead, *COMPARED[name].dims) for name in COMPARED}
    found = {name: np.full([len(coords[dim]) for dim in dims[name]], np.nan) for name in COMPARED}
    for i, k, r, t in np.ndindex(len(sizes), len(WIDTHS), replicates, STEPS):
        q, n = WIDTHS[k], sizes[i]
        at = (i, k, r, t + 1, slice(q))
        white, h, hy = rows(rng, q, n // 2), samples(rng, q, n), joint(rng, q, n)
        residuals = FACTOR[:q, :q] @ white
        white = np.sort(white)
        own = (white - white.mean(1, keepdims=True)) / white.std(1, keepdims=True)
        for name, values, unit in (
            ("row", np.stack([white, own], 1), 1.0),
            ("pre_activation", np.sort(h), UNIT),
            ("pre_activation_response", np.sort(hy), 1.0),
        ):
            distances = from_normal(values)
            found[f"{name}_kolmogorov"][at] = distances.kolmogorov
            found[f"{name}_wasserstein"][at] = unit * distances.wasserstein
        found["row_residual_quantiles"][at] = quantiles(white)
        found["row_residual_covariance"][(*at, slice(q))] = residuals @ residuals.T / (n // 2)
        found["pre_activation_quantiles"][at] = UNIT * quantiles(h)
    covariance = np.stack([[FACTOR[0, 0] ** 2, np.nan, np.nan, np.nan], (FACTOR @ FACTOR.T).ravel()]).reshape(2, 2, 2)
    there = (len(sizes), 2, STEPS + 1)
    ends = ("n", "width", "iteration", "neuron")
    law = np.where(np.isfinite(covariance[..., 0])[:, None, :, None], UNIT * ndtri(PROBABILITIES), np.nan)
    predicted = {
        "noise_covariance": ((*ends, "neuron_"), np.broadcast_to(covariance[:, None], (*there, 2, 2))),
        "pre_activation_quantiles": ((*ends, "probability"), np.broadcast_to(law, (*there, 2, len(PROBABILITIES)))),
    }
    simulation = xr.Dataset({name: (dims[name], values) for name, values in found.items()}, coords)
    simulation["train_error"] = ((*lead, "iteration"), np.ones([len(coords[dim]) for dim in (*lead, "iteration")]))
    simulation = simulation.assign_coords(d=("n", np.array(sizes) // 2)).assign_attrs(theory_samples=2**14)
    return simulation, xr.Dataset(predicted, {key: coords[key] for key in coords if key not in ("replicate", "scale")})


def verdicts(measured):
    """Verdicts by law, over the widths."""
    found = {law: set() for law in LAWS}
    for finding in SECTION.findings(measured):
        (law,) = (law for law, words in LAWS.items() if finding.subject.rpartition(", ")[0] == words)
        found[law].add(finding.verdict)
    return found


@pytest.fixture(scope="module")
def measured():
    return gaussian_fluctuations(*groups())


def test_draws_of_the_predicted_laws_are_at_the_null_level(measured):
    """All intervals hold together, of exponents and of ratios."""
    known = measured.ratio.notnull()
    assert set(measured.law.values) == set(LAWS)
    assert int((~known).sum()) == len(SIZES) * len(WIDTHS)  # Wasserstein's with the response has no known unit
    assert ((measured.ratio_low < 1) & (measured.ratio_high > 1)).where(known, True).all()
    assert float(abs(measured.ratio - 1).max()) < 0.2
    assert ((measured.exponent_low < -0.5) & (measured.exponent_high > -0.5)).all()
    assert verdicts(measured) == {law: {"holds"} for law in LAWS}


def test_quantiles_of_draws_of_the_law_have_no_excess(measured):
    standard = (measured.quantile_excess / measured.quantile_excess_stderr).sel(probability=slice(0.01, 0.99))
    assert float(abs(standard).max()) < 5
    assert float((standard**2).mean()) < 1.6  # of Student's t with 31 degrees of freedom: 1.07


@pytest.mark.parametrize(
    ("wrong", "caught"),
    [
        ({"rows": heavy}, {"rows", "shape"}),
        ({"rows": lambda *a: 1.3 * normal(*a)}, {"rows", "covariance"}),
        ({"samples": lambda *a: 0.3 + normal(*a)}, {"pre_activation"}),
        ({"joint": heavy}, {"joint"}),
    ],
    ids=["heavy tails", "wrong covariance", "wrong mean of samples", "wrong joint law"],
)
def test_a_wrong_law_is_caught_where_it_is_wrong(wrong, caught):
    found = verdicts(gaussian_fluctuations(*groups(**wrong)))
    assert {law for law in found if found[law] == {"fails"}} == caught
    assert not any("fails" in found[law] for law in found if law not in caught)


def test_coefficients_that_fluctuate_raise_the_distance_but_not_the_shape():
    """A spread of the variance over runs of order n^-1/2 changes a constant, not the rate."""

    def spread(rng, q, size):
        return normal(rng, q, size) * (1 + 2 * rng.standard_normal() / np.sqrt(size))

    measured = gaussian_fluctuations(*groups(rows=spread))
    found = verdicts(measured)
    assert found["rows"] == found["shape"] == {"holds"}
    assert "fails" not in found["covariance"]
    last = measured.isel(n=-1)
    assert (last.ratio_low.where(last.law == "covariance", drop=True) > 1.1).all()
    assert (last.ratio_low.where(last.law == "shape", drop=True) < 1).all()


def test_too_few_samples_of_the_theory_excuse_a_distance_that_stays():
    runs, theory = groups(samples=lambda *a: 0.3 + normal(*a))
    few = gaussian_fluctuations(runs.assign_attrs(theory_samples=1024), theory)
    finding = next(f for f in SECTION.findings(few) if f.subject.startswith(LAWS["pre_activation"]))
    assert finding.verdict == "undecided"
    assert "the theory has too few samples" in finding.sentence


@pytest.mark.parametrize("covariance", ["identity", "two_level(5, 0.2)"])
def test_real_runs_agree_and_doubled_covariance_is_caught(covariance):
    sizes = (100, 400, 1600)
    base = {"width": 2, "depth": 2, "steps": 3, "covariance": covariance}
    problems = [sedyn.Problem(n=n, d=n // 2, **base) for n in sizes]
    theory = sedyn.state_evolution(problems[0], samples=2**12, randomizations=4, include=("samples",))

    def found(solution):
        runs = [sedyn.simulate(problem, 12, estimate=False, theory=solution) for problem in problems]
        simulation = xr.concat(runs, xr.DataArray(list(sizes), dims="n", name="n"), combine_attrs="drop_conflicts")
        simulation = simulation.assign_coords(d=("n", [problem.d for problem in problems]))
        measured = gaussian_fluctuations(simulation, solution.expand_dims(n=list(sizes)))
        same = covariance == "identity"  # rows that differ in law have another null level, which is not known
        assert measured.null.where(measured.law == "covariance", drop=True).notnull().all() == same
        return {finding.subject: finding.verdict for finding in SECTION.findings(measured)}

    assert set(found(theory).values()) <= {"holds", "undecided"}
    doubled = {name: 2 * theory[name] for name in ("noise_covariance", "row_covariances")}
    wrong = found(theory.assign(doubled))
    assert {LAWS[law] for law in ("rows", "covariance")} <= {law for law in wrong if wrong[law] == "fails"}
    assert wrong[LAWS["shape"]] != "fails"


def test_what_is_missing_is_named():
    runs, _ = groups(sizes=(20, 40, 80), replicates=4)
    assert SECTION.unanswerable(runs) is None
    assert "laws=true" in SECTION.unanswerable(runs.drop_vars("row_kolmogorov"))
    assert SECTION.unanswerable(runs * np.nan) == "no comparison of laws finished"
    assert SECTION.unanswerable(runs.isel(n=[0, 1])) == "fewer than 3 values of n"
    assert SECTION.unanswerable(runs.isel(replicate=[0, 1])) == "fewer than 4 replicates"


def test_correlated_features_leave_samples_to_compare():
    runs, theory = groups(sizes=(50, 100, 200), replicates=4)
    rows = {name: np.nan * runs[name] for name in runs if str(name).startswith("row_")}
    measured = gaussian_fluctuations(runs.assign(rows), theory)
    assert set(measured.law.values) == {"pre_activation", "joint"}
    assert SECTION.findings(measured)


def test_rows_are_wider_than_predicted_by_order_one_over_n_where_deeper_layers_learn():
    """Their fluctuation moves the gradients of all samples together; frozen, they leave no bias to see."""
    sizes, measured = (128, 256, 512), {}
    for train in ("all", "first"):
        problems = [sedyn.Problem(n=n, d=n // 2, width=2, depth=2, steps=4, train=train) for n in sizes]
        theory = sedyn.state_evolution(problems[0], samples=2**14, randomizations=4)
        start = np.concatenate([theory.init_coefficient, theory.signal_coefficient], -1)
        runs = []
        for problem in problems:
            run = sedyn.simulate(problem, 200, estimate=False)
            overlaps = np.concatenate([run.initial_overlap, run.signal_overlap], -1)
            cross = overlaps @ np.swapaxes(start, -1, -2)
            carried = start @ np.swapaxes(start, -1, -2)  # [W0, mu] is orthonormal
            residual = run.weight_gram - cross - np.swapaxes(cross, -1, -2) + carried
            runs.append(residual.to_dataset(name="noise_covariance").assign_attrs(run.attrs))
        simulation = xr.concat(runs, xr.DataArray(list(sizes), dims="n", name="n"), combine_attrs="drop_conflicts")
        names = ["noise_covariance", "noise_covariance_stderr"]
        measured[train] = rates(simulation, theory[names].expand_dims(n=sizes), draws=400, observables=names[:1])
    wider = measured["all"].isel(observable=0)
    assert wider.bias_p_value < 0.01
    assert wider.bias_exponent_low < -1 < wider.bias_exponent_high < -0.5
    assert measured["first"].bias_p_value.item() > 0.01
