import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtri

import sedyn
from analysis.questions.coverage import MARGINS, PARTS, SECTION
from analysis.statistics.coverage import LEAST_OUTSIDE, coverage, share_below
from sedyn.model.observables import PROBABILITIES, quantiles

SIZES, STEPS = (200, 800, 3200), 2
ERRORS = ("train_error", "test_error")
COVARIANCE = np.array([[0.64, 0.4], [0.4, 0.61]])


def groups(
    rows=lambda n: 1.0,
    samples=lambda n: 0.0,
    spread=lambda n: 1.0,
    shift=lambda n: 0.0,
    readout=0.0,
    replicates=40,
    law=lambda x: 1.7 * x,
    seed=0,
):
    """Rows with a factor of the deviation, pre-activations with a shift, errors with both, in units of n^-1/2."""
    rng = np.random.default_rng(seed)
    lead = (len(SIZES), replicates, STEPS + 1)
    row, sample = np.full((2, *lead, 2, len(PROBABILITIES)), np.nan)
    errors = np.empty((2, *lead))
    for i, n in enumerate(SIZES):
        for r in range(replicates):
            errors[:, i, r] = 1 + n**-0.5 * (spread(n) * rng.standard_normal((2, 1)) + shift(n))
            for t in range(1, STEPS + 1):
                row[i, r, t] = quantiles(rows(n) * rng.standard_normal((2, n // 2)))
                sample[i, r, t] = quantiles(law(samples(n) + rng.standard_normal((2, n))))
    errors[1] += readout * rng.standard_normal(lead)
    dims = ("n", "replicate", "iteration")
    ends = ("neuron", "probability")
    coords = {"n": list(SIZES), "iteration": np.arange(STEPS + 1), "neuron": [0, 1], "neuron_": [0, 1]}
    coords |= {"probability": PROBABILITIES, "d": ("n", np.array(SIZES) // 2)}
    simulation = {
        "row_residual_quantiles": ((*dims, *ends), row),
        "pre_activation_quantiles": ((*dims, *ends), sample),
        "train_error": (dims, errors[0]),
        "test_error": (dims, errors[1]),
        "test_error_stderr": (dims, np.full(lead, readout)),
    }
    there = (len(SIZES), STEPS + 1)
    theory = {
        "noise_covariance": (("n", "iteration", "neuron", "neuron_"), np.broadcast_to(COVARIANCE, (*there, 2, 2))),
        "pre_activation_quantiles": (
            ("n", "iteration", *ends),
            np.broadcast_to(law(ndtri(PROBABILITIES)), (*there, 2, len(PROBABILITIES))),
        ),
        "train_error": (("n", "iteration"), np.ones(there)),
        "test_error": (("n", "iteration"), np.ones(there)),
    }
    theory |= {f"{name}_stderr": (dims, 1e-6 * np.ones(values.shape)) for name, (dims, values) in theory.items()}
    return xr.Dataset(simulation, coords), xr.Dataset(theory, coords)


def verdicts(measured):
    found = SECTION.findings(measured)
    return {name: finding.verdict for name, finding in zip(PARTS, found, strict=True)}


@pytest.mark.parametrize("size", [150, 1000])
def test_shares_of_bands_are_counted_without_bias(size):
    """Against the same draws: what the stored quantiles lose is noise, not a shift."""
    rng = np.random.default_rng(0)
    lower = PROBABILITIES[2:10][PROBABILITIES[2:10] * size >= LEAST_OUTSIDE]
    draws = rng.standard_normal((4000, size))
    ends = ndtri([lower, 1 - lower])
    kept = np.quantile(draws, PROBABILITIES, axis=1).T
    low, high = ([share_below(own, end, size, PROBABILITIES) for own in kept] for end in ends)
    counted = ((draws[:, :, None] > ends[0]) & (draws[:, :, None] < ends[1])).mean(1)
    missed = np.subtract(high, low) - counted
    assert (abs(missed.mean(0)) < 4 * missed.std(0) / np.sqrt(len(draws)) + 2e-4).all()


@pytest.mark.parametrize("law", [lambda x: 1.7 * x, lambda x: x + 0.2 * x**3], ids=["normal", "heavy tails"])
def test_bands_of_the_right_laws_contain_their_share(law):
    measured = coverage(*groups(replicates=400, law=law))
    missed = measured.overall_coverage - measured.nominal
    standard = missed / measured.overall_coverage_stderr.where(measured.overall_coverage_stderr > 0)
    assert float(abs(standard).max()) < 4.5
    assert verdicts(measured) == dict.fromkeys(PARTS, "holds")
    assert measured.judged_from.values.tolist() == [3200, 3200, 800, 800]


def test_a_level_is_counted_where_draws_suffice_and_errors_need_a_smaller_size():
    measured = coverage(*groups(replicates=8), draws=20)
    rows = measured.overall_coverage.sel(part="row_residual")
    outside = measured.n / 2 * (1 - measured.nominal) / 2
    assert (rows.notnull() == (outside >= LEAST_OUTSIDE)).all()
    assert 0 < int(rows.notnull().sum()) < rows.size
    errors = measured.overall_coverage.sel(part="train_error")
    assert errors.isel(n=0).isnull().all()
    assert errors.isel(n=slice(1, None)).notnull().all()


@pytest.mark.parametrize(
    ("wrong", "caught"),
    [
        ({"rows": lambda n: 1.1}, "row_residual"),
        ({"samples": lambda n: 0.4}, "pre_activation"),
        ({"shift": lambda n: 1.5}, "train_error"),
        ({"spread": lambda n: n**0.5 / 10}, "test_error"),
    ],
    ids=["wrong covariance", "wrong mean of samples", "errors off theory", "errors that do not concentrate"],
)
def test_a_wrong_law_is_caught(wrong, caught):
    found = verdicts(coverage(*groups(**wrong)))
    assert found[caught] == "fails"
    laws = [name for name in ("row_residual", "pre_activation") if name != caught]
    assert {found[name] for name in laws} == {"holds"}


def test_a_deviation_that_fades_is_undecided():
    measured = coverage(*groups(rows=lambda n: 1 + 6 * n**-0.5))
    found = SECTION.findings(measured)[0]
    assert found.verdict == "undecided"
    assert "fades" in found.sentence


def test_the_error_of_fresh_data_does_not_scale_with_n():
    """Of the size of the scatter at the smallest n, it is most of what is seen at the largest."""
    measured = coverage(*groups(readout=0.05, replicates=200))
    assert verdicts(measured)["test_error"] == "holds"


def test_the_solvers_own_error_is_part_of_the_standard_error():
    simulation, theory = groups()
    known = coverage(simulation, theory)
    vague = coverage(simulation, theory.assign(noise_covariance_stderr=0.2 * abs(theory.noise_covariance)))
    end = -ndtri((1 - known.nominal) / 2)
    moved = 0.2 * end * np.exp(-(end**2) / 2) / np.sqrt(2 * np.pi)  # by a standard error of the variance
    error = vague.overall_coverage_stderr.sel(part="row_residual")
    expected = np.hypot(known.overall_coverage_stderr.sel(part="row_residual"), moved)
    assert float(abs(error / expected - 1).max()) < 0.2  # from 400 draws: 5 standard errors are 0.18
    assert verdicts(vague)["row_residual"] == "undecided"


def test_intervals_of_all_levels_cover_together():
    """And so do bands of errors from few replicates: Student's t makes them exact."""
    inside, missed = [], []
    for seed in range(60):
        measured = coverage(*groups(replicates=12, seed=seed), draws=100)
        known = measured.judged_coverage.notnull()
        contained = (measured.judged_coverage_low <= measured.nominal) & (
            measured.judged_coverage_high >= measured.nominal
        )
        inside.append((contained | ~known).all("nominal").sel(part=["row_residual", "pre_activation"]).values)
        missed.append((measured.judged_coverage - measured.nominal).sel(part=["train_error", "test_error"]).values)
    # Binomial with 60 draws at 95%: 5 standard deviations are 8.
    assert (np.sum(inside, 0) >= 57 - 8).all()
    assert (abs(np.mean(missed, 0)) < 4 * np.std(missed, 0) / np.sqrt(len(missed))).all()


def test_real_runs_are_inside_and_a_wrong_variance_is_caught():
    sizes = (200, 800, 3200)
    problems = [sedyn.Problem(n=n, d=n // 2, width=2, depth=2, steps=2) for n in sizes]
    theory = sedyn.state_evolution(problems[0], samples=2**13, randomizations=4, include=("samples",))
    runs = [sedyn.simulate(problem, 12, estimate=False, theory=theory) for problem in problems]
    simulation = xr.concat(runs, xr.DataArray(list(sizes), dims="n", name="n"), combine_attrs="drop_conflicts")
    simulation = simulation.assign_coords(d=("n", [problem.d for problem in problems]))
    predicted = theory.expand_dims(n=list(sizes))
    assert set(verdicts(coverage(simulation, predicted)).values()) <= {"holds", "undecided"}
    halved = simulation.assign(row_residual_quantiles=simulation.row_residual_quantiles / np.sqrt(2))
    wider = predicted.assign(pre_activation_quantiles=1.3 * predicted.pre_activation_quantiles)
    found = verdicts(coverage(halved, wider))
    assert found["row_residual"] == found["pre_activation"] == "fails"


def test_a_section_has_figures_and_tables():
    simulation, theory = groups(replicates=8)
    assert SECTION.unanswerable(simulation) is None
    measured = coverage(simulation, theory, draws=20)
    figures = SECTION.figures(simulation, theory, measured)
    assert [len(captioned.figure.axes) for captioned in figures] == [len(PARTS)] * 2
    for table in SECTION.tables(measured):
        assert {len(line) for line in table.lines} == {len(table.headings)}
    assert set(MARGINS) == set(PARTS)


def test_what_has_not_finished_is_left_out():
    simulation, theory = groups(replicates=10)
    begun = simulation.where((simulation.replicate < 8) | (simulation.n < 3200))
    fewer = coverage(begun, theory, draws=20)
    xr.testing.assert_equal(
        fewer.overall_coverage.isel(n=[0, 1]), coverage(simulation, theory, draws=20).overall_coverage.isel(n=[0, 1])
    )
    rows = (
        coverage(simulation.isel(replicate=slice(8)), theory, draws=20)
        .overall_coverage.isel(n=-1)
        .sel(part="row_residual")
    )
    np.testing.assert_allclose(fewer.overall_coverage.isel(n=-1).sel(part="row_residual"), rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        unfinished = coverage(simulation.where(simulation.n < 3200), theory, draws=20)
        assert set(verdicts(unfinished).values()) == {"undecided"}
    assert unfinished.overall_coverage.isel(n=-1).isnull().all()


def test_what_is_missing_is_named():
    simulation, _ = groups(replicates=8)
    assert "laws=true" in SECTION.unanswerable(simulation.drop_vars("row_residual_quantiles"))
    assert SECTION.unanswerable(simulation * np.nan) == "no comparison of laws finished"
    assert SECTION.unanswerable(simulation.isel(n=[0, 1])) == "fewer than 3 values of n"
    assert SECTION.unanswerable(simulation.isel(replicate=[0, 1])) == "fewer than 8 replicates"


def test_a_band_that_is_not_shown_to_contain_its_share_says_how_many_runs_would_show_it():
    found = coverage(*groups(replicates=60), draws=60)
    one = next(finding for finding in SECTION.findings(found) if finding.subject == "bands for train error")
    assert one.verdict == "undecided"
    judged = found.sel(part="train_error").dropna("nominal", how="all", subset=["judged_coverage"])
    value = abs(judged.judged_coverage - judged.nominal)
    half = (judged.judged_coverage_high - judged.judged_coverage_low) / 2
    np.testing.assert_allclose(one.lack.runs, float(((half / (0.1 - value)).max()) ** 2))
    assert list(one.lack.leverage) == [n for n in SIZES if n >= int(judged.judged_from)]


def test_bands_of_errors_are_the_predicted_ones_where_theory_has_them():
    """A scatter that is the predicted one at the largest n alone: only there do bands cover."""
    simulation, theory = groups(spread=lambda n: 1.0 if n == SIZES[-1] else 2.0, replicates=400)
    variance = np.ones((len(SIZES), STEPS + 1, STEPS + 1))
    wide = theory.assign({f"{name}_covariance": (("n", "iteration", "iteration_"), variance) for name in ERRORS})
    wide = wide.assign_coords(iteration_=theory.iteration.values)
    measured = coverage(simulation, wide, draws=50)
    missed = (measured.overall_coverage - measured.nominal).sel(part=list(ERRORS), nominal=0.8)
    assert (abs(missed.isel(n=-1)) < 4 * (0.8 * 0.2 / 400) ** 0.5).all()
    assert (missed.isel(n=slice(None, -1)) < -0.2).all()
    plain = coverage(simulation, theory, draws=50)
    assert plain.overall_coverage.sel(part=list(ERRORS)).isel(n=0).isnull().all()
