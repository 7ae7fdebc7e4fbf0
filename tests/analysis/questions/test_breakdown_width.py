import numpy as np
import pytest

from analysis.questions.breakdown_width import SECTION, takes_over
from analysis.statistics.breakdown_width import breakdown_width
from tests.analysis.grid import NAMES, groups

WIDTHS, SIZES = (2, 4, 8, 16, 32), (128, 256, 512)
FOUR_WIDTHS = WIDTHS[:4]


def measured(bias, power=0.0, replicates=48, seed=0):
    data = groups(
        {"width": WIDTHS},
        sizes=SIZES,
        fluctuation=lambda n, width: 0.3 * width**power / n**0.5,
        shift=bias,
        replicates=replicates,
        seed=seed,
    )
    return breakdown_width(*data, draws=150)


def findings(found, part):
    return [finding for finding in SECTION.findings(found) if finding.subject.startswith(f"{part} of ")]


def test_powers_of_the_parts_and_where_they_meet():
    """A bias like width/n meets a fluctuation that has no width in it, 0.3 n^-1/2, at width 1.5 sqrt(n)."""
    known = {
        "fluctuation_width_exponent": 0.0,
        "fluctuation_size_exponent": -0.5,
        "bias_width_exponent": 1.0,
        "bias_size_exponent": -1.0,
        "equal_width": 1.5 * 512**0.5,
    }
    seeds = 12
    misses = dict.fromkeys(known, 0)
    for seed in range(seeds):
        found = measured(lambda n, width: 0.2 * width / n, seed=seed)
        assert all(takes_over(found.sel(observable=name)) for name in NAMES)
        for key, value in known.items():
            misses[key] += int(((found[f"{key}_low"] > value) | (found[f"{key}_high"] < value)).sum())
    # 5% of the intervals may miss: four standard deviations of a binomial above that.
    count = seeds * len(NAMES)
    assert max(misses.values()) <= 0.05 * count + 4 * np.sqrt(0.05 * 0.95 * count)


def test_a_power_of_the_distance_lies_between_those_of_its_parts():
    found = measured(lambda n, width: 0.2 * width / n)
    assert (found.width_exponent > found.fluctuation_width_exponent).all()
    assert (found.width_exponent < found.bias_width_exponent).all()
    assert all("takes over" in f.sentence for f in SECTION.findings(found) if f.subject.split(" of ")[-1] == f.subject)


@pytest.mark.parametrize(
    ("power", "verdict", "words"),
    [(1.0, "holds", "keeps it as small"), (2.0, "fails", "n must grow faster than the width")],
)
def test_verdict_on_the_bias(power, verdict, words):
    for finding in findings(measured(lambda n, width: 0.5 * 32 * (width / 32) ** power / n), "bias"):
        assert finding.verdict == verdict
        assert words in finding.sentence
        assert finding.low <= power <= finding.high


def test_a_fluctuation_that_grows_is_told_from_a_bias():
    found = measured(lambda n, width: 0.0, power=0.4)
    assert [finding.verdict for finding in findings(found, "fluctuation")] == ["holds"] * 3
    assert all("grows with the width" in finding.sentence for finding in findings(found, "fluctuation"))
    for finding in findings(found, "bias"):
        assert finding.verdict == "undecided"
        assert finding.sentence.startswith("none that follows a power of the width is seen")
        assert np.isnan(finding.value)


def test_squared_bias_and_ratio_are_those_put_in():
    simulation, theory = groups({"width": WIDTHS}, sizes=SIZES, shift=lambda n, width: 3.0 * width / n)
    found = breakdown_width(simulation, theory, draws=100)
    scale = (theory.train_error[..., 1:] ** 2).mean("iteration")
    known = (3 * theory.width / theory.n) ** 2 / scale
    one = found.sel(observable="train_error")
    # Four misses or more of 15 intervals of 95% happen once in 200 data sets.
    assert ((one.bias_squared_low > known) | (one.bias_squared_high < known)).sum() < 4
    np.testing.assert_allclose(one.bias_ratio[-1], 3 * 32 / np.array(SIZES) ** 0.5, rtol=0.6)


def test_too_few_replicates_leave_the_bias_open():
    for finding in findings(measured(lambda n, width: 0.2 * width / n, replicates=4), "bias"):
        assert finding.verdict == "undecided"


def test_a_width_that_has_not_finished_is_left_out():
    bias = {"shift": lambda n, width: 0.2 * width / n, "fluctuation": lambda n, width: 0.3 / n**0.5}
    simulation, theory = groups({"width": (*WIDTHS, 64)}, sizes=SIZES, replicates=48, **bias)
    simulation = simulation.where((simulation.width < 64) | (simulation.n < 512))
    found = breakdown_width(simulation, theory, draws=100)
    expected = 1.5 * 512**0.5
    assert ((found.equal_width_low < expected) & (found.equal_width_high > expected)).sum() >= 2
    assert len(SECTION.figures(simulation, theory, found)) == 2
    simulation = simulation.where(simulation.width < 32)
    open_ended = breakdown_width(simulation.isel(replicate=slice(0, 4)), theory, draws=100)
    assert not any("nan" in finding.sentence for finding in findings(open_ended, "bias"))


@pytest.mark.parametrize(("power", "verdict"), [(-0.5, "holds"), (0.5, "holds"), (1.0, "holds"), (2.0, "fails")])
def test_power_of_the_width(power, verdict):
    data = groups({"width": FOUR_WIDTHS}, fluctuation=lambda n, width: (width**power / n) ** 0.5, replicates=64)
    measured = breakdown_width(*data, draws=200)
    one = measured.sel(observable="train_error")
    assert one.power_low <= power <= one.power_high
    assert one.size_exponent_low <= -0.5 <= one.size_exponent_high
    assert one.power_high - one.power_low < 0.6
    assert SECTION.findings(measured)[0].verdict == verdict


def test_samples_needed_solve_the_fit():
    data = groups({"width": FOUR_WIDTHS}, fluctuation=lambda n, width: (width / n) ** 0.5, replicates=40)
    measured = breakdown_width(*data, draws=50).sel(observable="train_error")
    size = float(np.sqrt((data[1].train_error[..., 1:] ** 2).mean()))
    known = np.array(FOUR_WIDTHS) / (0.1 * size) ** 2
    np.testing.assert_allclose(measured.samples_needed, known, rtol=0.6)
