import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

from analysis.answers.finding import EXTENSION, PAPER, Claim, Finding, Lack
from analysis.answers.section import Captioned, Section
from analysis.report.chapter import Answer, Chapter, read_chapter
from analysis.report.claims import claim_lines, what_decides
from analysis.report.page import page
from analysis.report.sections import SECTIONS
from analysis.store import Seconds
from tests.analysis.synthetic import store

RATE = Claim("-1/2", PAPER, "predicted-errors")
BIAS = Claim("-1", EXTENSION, "finite-size-bias")
TAKEN = Seconds(60.0, 10.0)


def finding(verdict, half, claim=RATE, needed=np.nan, samples=np.nan):
    lack = Lack(needed, samples=samples)
    return Finding("test error", verdict, "words", "exponent", -0.5, -0.5 - half, -0.5 + half, claim, lack)


def chapter(name, findings, n=(100, 400), examines=None, seconds=TAKEN):
    section = Section("rates", "How?", (), *[lambda *groups: None] * 4, examines=examines)
    measured = xr.Dataset(coords={"n": list(n)})
    curves = Captioned("learning_curves", Figure(), "")
    return Chapter(name, "", [Answer(section, measured, findings, [], [])], [], curves, {}, [], seconds)


def test_a_claim_is_judged_by_its_most_precise_finding_unless_one_fails():
    precise = [finding("holds", 0.01), finding("undecided", 0.2), finding("holds", 0.05, BIAS)]
    lines = claim_lines([chapter("small", [finding("undecided", 0.3)]), chapter("large", precise, n=(10**5,))])
    assert [line.claim for line in lines] == [RATE, BIAS]
    assert lines[0][2:6] == ("holds", "1 / 2 / 0", "-0.50 [-0.51, -0.49]", "100,000")
    assert (lines[0].chapter, lines[0].section) == ("large", "rates")
    (failing,) = claim_lines([chapter("one", [finding("holds", 0.01), finding("fails", 0.1)])])
    assert failing[2:5] == ("fails", "1 / 0 / 1", "-0.50 [-0.60, -0.40]")


def test_the_papers_claims_come_first_and_where_theory_ends_stands_apart():
    ends = chapter("ends", [finding("fails", 0.1)], examines="learning_rate")
    lines = claim_lines(
        [chapter("bias", [finding("holds", 0.1, BIAS)]), chapter("rates", [finding("holds", 0.1)]), ends]
    )
    assert [line.what for line in lines] == [
        "predicted errors: exponent -1/2",
        "predicted errors: exponent -1/2, along learning rate",
        "finite size bias: exponent -1",
    ]
    assert [line.verdict for line in lines] == ["holds", "fails", "holds"]
    assert [line.said for line in lines] == ["holds", "fails", "holds"]
    both = [finding("fails", 0.1), finding("holds", 0.1)]
    (line,) = claim_lines([chapter("ends", both, examines="learning_rate")])
    assert (line.verdict, line.said) == ("fails", "in part")
    (line,) = claim_lines([chapter("rates", both)])
    assert line.said == "fails"


def test_what_would_decide_is_said_with_its_time():
    lines = claim_lines(
        [
            chapter("a", [finding("undecided", 0.1, needed=3.0), finding("undecided", 0.1, needed=2.0)]),
            chapter("b", [finding("undecided", 0.1, needed=61.0), finding("undecided", 0.1)]),
        ]
    )
    # Two of three times the runs of a minute, and sixty of another.
    assert lines[0].decides == "3: 2.0 to 61.0 times the runs, 1.0 h on one core; 1: see its sentence"
    (unknown,) = claim_lines([chapter("c", [finding("undecided", 0.1, needed=3.0)], seconds=Seconds())])
    assert unknown.decides == "1: 3.0 times the runs"


def test_samples_of_theory_that_would_decide_are_said_with_their_time():
    few, many = (finding("undecided", 0.1, samples=factor) for factor in (2.0, 7.0))
    (line,) = claim_lines([chapter("a", [few, many]), chapter("b", [few])])
    assert line.decides == "3: up to 7.0 times the samples of theory, 1.2 min on one core"
    words = "; 7.0 times the samples of theory would decide, or let runs decide"
    assert what_decides(many, TAKEN) == f"{words}, in 1.0 min on one core at most"
    assert what_decides(many, Seconds()) == words


def test_the_page_has_the_table_first_with_links_to_sections():
    html = page([chapter("mine", [finding("holds", 0.1)])], {("mine", "learning_curves"): b""})
    assert html.index("<h2>Claims") < html.index("<h2>Findings")
    assert '<a href="#mine-rates">predicted errors: exponent -1/2</a>' in html
    assert 'id="mine-rates"' in html


@pytest.mark.parametrize("kept", [True, False])
def test_the_time_that_replicates_took_is_read_from_the_store(tmp_path, kept):
    tree = store(steps=2, depths=(2,), noises=(0.1,), replicates=4)
    if kept:
        facts = np.full((5, 1, 1, 4, 2), [3.0, 100.0])
        theory = np.full((1, 1, 2), [7.0, 100.0])
        status = {"simulation_facts": (("n", "depth", "noise", "replicate", "fact"), facts)}
        status |= {"theory_facts": (("depth", "noise", "fact"), theory)}
        tree["status"] = xr.DataTree(xr.Dataset(status, {"fact": ["seconds", "peak_memory"]}))
    tree.to_zarr(tmp_path / "mine.zarr", consolidated=False)
    seconds = read_chapter(tmp_path / "mine.zarr", SECTIONS[:1]).seconds
    np.testing.assert_equal(seconds, Seconds(60.0, 7.0) if kept else Seconds())
