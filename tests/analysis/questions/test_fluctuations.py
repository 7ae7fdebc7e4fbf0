"""Scatter against its prediction and tests of single runs, on made-up runs whose truth is known."""

import numpy as np
import pytest
import xarray as xr

from analysis.questions.fluctuations import SECTION
from analysis.statistics.fluctuations import fluctuations
from sedyn.errors import InvalidInput

SIZES, STEPS = (250, 1000, 4000), 3
DEVIATIONS = np.array([0.0, 0.5, 1.0, 2.0])  # of sqrt(n) (run - theory), at each iteration
CORRELATION = 0.6 ** abs(np.subtract.outer(np.arange(STEPS + 1), np.arange(STEPS + 1)))


def groups(scatter=lambda n: 1.0, shift=lambda n: 0.0, readout=0.0, doubt=1e-3, replicates=200, seed=0):
    """Runs of which theory predicts the scatter but for a factor and a shift in units of it; two cells."""
    rng, covariance = np.random.default_rng(seed), np.outer(DEVIATIONS, DEVIATIONS) * CORRELATION
    noise, neuron, steps = [0.1, 0.5], [0, 1], np.arange(STEPS + 1)
    root = DEVIATIONS[:, None] * np.linalg.cholesky(CORRELATION)
    lead = (len(SIZES), len(noise))

    def runs(*entries):
        white = rng.standard_normal((*lead, replicates, *entries, STEPS + 1))
        size = np.array(SIZES)[:, None, None, None]
        factor, moved = (np.array([f(n) for n in SIZES])[:, None, None, None] for f in (scatter, shift))
        path = np.moveaxis(white @ root.T, -1, 3)
        wide = (..., *[None] * len(entries))
        return 2.0 + (factor[wide] * path + (moved * DEVIATIONS)[wide]) / np.sqrt(size)[wide]

    dims = ("n", "noise", "replicate", "iteration")
    known = rng.standard_normal((*lead, replicates, 1)) * readout * np.ones(STEPS + 1)
    stated = np.full((*lead, replicates, STEPS + 1), readout)
    simulation = {
        "train_error": (dims, runs()),
        "test_error": (dims, runs() + known),
        "test_error_stderr": (dims, stated),
        "signal_overlap": ((*dims, "neuron"), runs(2)),
    }
    theory = {}
    for name in ("train_error", "test_error", "signal_overlap"):
        inner = {"neuron": 2} if name == "signal_overlap" else {}
        shape = (*lead, STEPS + 1, *inner.values())
        theory[name] = (("n", "noise", "iteration", *inner), np.full(shape, 2.0))
        theory[f"{name}_stderr"] = (("n", "noise", "iteration", *inner), np.full(shape, 1e-9))
        own = covariance[:, None, :] * np.ones((1, 2, 1)) if inner else covariance
        whole = ("n", "noise", "iteration", *inner, "iteration_"), np.broadcast_to(own, (*lead, *own.shape))
        theory[f"{name}_covariance"] = whole
        theory[f"{name}_covariance_stderr"] = whole[0], doubt * whole[1]
    coords = {"n": list(SIZES), "noise": noise, "iteration": steps, "neuron": neuron}
    attributes = {"fluctuation_randomizations": 4}
    return (
        xr.Dataset(simulation, coords | {"replicate": np.arange(replicates)}, attributes),
        xr.Dataset(theory, coords | {"iteration_": steps}, attributes),
    )


def verdicts(measured, kind):
    return {finding.verdict for finding in SECTION.findings(measured) if finding.subject.startswith(kind)}


def test_the_ratio_is_the_plain_formula():
    simulation, theory = groups(replicates=20)
    measured = fluctuations(simulation, theory, draws=20)
    later = DEVIATIONS[1:, None] ** 2
    variance = simulation.signal_overlap.var("replicate", ddof=1).isel(iteration=slice(1, None))
    plain = np.sqrt((variance * simulation.n / later).mean(["iteration", "neuron"]))
    found = measured.ratio.sel(observable="signal_overlap").transpose("n", "noise")
    np.testing.assert_allclose(found, plain.transpose("n", "noise"), rtol=1e-9)


def test_what_is_as_predicted_never_fails_and_intervals_cover():
    inside, found, stores = [], [], 40
    for seed in range(stores):
        measured = fluctuations(*groups(readout=0.002, replicates=350, seed=seed), draws=100)
        inside.append((measured.constant_low < 1) & (measured.constant_high > 1))
        found += SECTION.findings(measured)
        assert (measured.correlation_difference < 3 * measured.correlation_noise).sel(observable="train_error").all()
    assert not [finding for finding in found if finding.verdict == "fails"]
    assert sum(finding.verdict == "holds" for finding in found) > 0.3 * len(found)
    covered = xr.concat(inside, "store").mean("store")
    assert (abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / stores)).all()


def test_a_constant_that_is_off_fails():
    measured = fluctuations(*groups(scatter=lambda n: 1.15, replicates=1000), draws=100)
    assert verdicts(measured, "scatter") == {"fails"}
    np.testing.assert_allclose(measured.constant, 1.15, atol=0.06)


def test_what_small_n_add_does_not_fail():
    measured = fluctuations(*groups(scatter=lambda n: (1 + 200 / n) ** 0.5, replicates=1000), draws=100)
    assert "fails" not in verdicts(measured, "scatter")
    assert (measured.overall_ratio.isel(n=0) > 1.2).all()
    np.testing.assert_allclose(measured.constant, 1.0, atol=0.06)


def test_the_error_of_the_prediction_counts():
    narrow, wide = (fluctuations(*groups(doubt=doubt), draws=200) for doubt in (1e-3, 0.3))
    width = [(measured.constant_high - measured.constant_low).values for measured in (narrow, wide)]
    assert (width[1] > 2 * width[0]).all()


def test_a_theory_that_is_off_by_a_share_of_the_scatter_fails_single_runs():
    measured = fluctuations(*groups(shift=lambda n: 1.0), draws=20)
    assert verdicts(measured, "single") == {"fails"}
    assert "fails" not in verdicts(measured, "scatter")
    fading = fluctuations(*groups(shift=lambda n: (250 / n) ** 0.5), draws=20)
    assert verdicts(fading, "single") == {"undecided"}


def test_single_runs_are_in_their_bands_as_often_as_these_say():
    measured = fluctuations(*groups(replicates=2000), draws=2)
    np.testing.assert_allclose(measured.coverage.mean("n") - measured.nominal, 0, atol=0.012)
    assert measured.z.sizes["iteration"] == STEPS
    assert measured.p_value.notnull().all()


def test_tables_and_figures_have_every_observable():
    simulation, theory = groups()
    measured = fluctuations(simulation, theory, draws=20)
    scatter, *_, tests = SECTION.tables(measured)
    assert [line[0] for line in scatter.lines] == ["train error", "test error", "signal overlap"]
    assert len(tests.lines) == 2 * len(SIZES)
    assert [figure.name for figure in SECTION.figures(simulation, theory, measured)] == ["fluctuations", "single_runs"]


def test_a_store_without_them_is_told_what_it_lacks():
    simulation, theory = groups(replicates=8)
    assert SECTION.unanswerable(simulation) is None
    assert "fluctuations=true" in SECTION.unanswerable(simulation.drop_attrs())
    plain = theory.drop_vars([name for name in theory if "covariance" in str(name)])
    with pytest.raises(InvalidInput, match="without fluctuations"):
        fluctuations(simulation, plain)


def test_cells_with_fewer_replicates_count_with_those_they_have():
    simulation, theory = groups(replicates=20)
    fewer = simulation.where((simulation.n < 4000) | (simulation.noise > 0.2) | (simulation.replicate < 9))
    measured = fluctuations(fewer, theory, draws=20)
    later = DEVIATIONS[1:] ** 2
    cell = {"n": 4000, "noise": 0.1}
    short = simulation.sel(cell).isel(replicate=slice(9), iteration=slice(1, None)).train_error
    found = measured.sel(observable="train_error", **cell).ratio
    np.testing.assert_allclose(found, np.sqrt((4000 * short.var("replicate", ddof=1) / later).mean()), rtol=1e-9)
    assert np.isfinite(measured.constant_low).all()
    apart = measured.correlation_difference.sel(observable="train_error", n=4000)
    own = [
        np.corrcoef(runs.train_error.isel(iteration=slice(1, None)).transpose("replicate", ...), rowvar=False)
        for runs in (simulation.sel(n=4000, noise=0.5), simulation.sel(cell).isel(replicate=slice(9)))
    ]
    pairs = np.triu_indices(STEPS, 1)
    plain = np.concatenate([(one - CORRELATION[1:, 1:])[pairs] for one in own])
    np.testing.assert_allclose(apart, (plain**2).mean() ** 0.5, rtol=1e-9)


def test_single_runs_say_how_many_more_would_decide():
    """Their share's interval, made 1.3 times as wide, is to be inside the margin of 0.03 about 0.05."""
    measured = fluctuations(*groups(replicates=60), draws=20)
    last = {"n": -1}
    measured["refused"][last], measured["refused_low"][last], measured["refused_high"][last] = 0.06, 0.02, 0.1
    found = [finding for finding in SECTION.findings(measured) if finding.subject.startswith("single")]
    for finding in found:
        assert finding.verdict == "undecided"
        np.testing.assert_allclose(finding.lack.runs, (1.3 * 0.04 / 0.02) ** 2)
        assert finding.lack.leverage == {int(measured.n[-1]): 1.0}
