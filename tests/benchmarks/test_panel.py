"""The panel of rates, widths, depths and shapes: what is measured, and how it is summed up."""

import json
import math

import numpy as np
import pytest

from benchmarks.estimators import panel
from benchmarks.estimators.panel import ASPECT_RATIOS, FEWEST, MOST, NETWORKS, RATES, cells_of, data_of, measure, run
from benchmarks.estimators.panel_report import AgainstLeftOut, AgainstTruth, Share, all_said, by_kind, groups, show
from benchmarks.tables import Split, Table


def table(kind="regression", rows=400, columns=12):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, columns))
    score = X[:, 0] + 0.3 * rng.standard_normal(rows)
    return Table(kind, 5, lambda: (X, score if kind == "regression" else np.digitize(score, [0.0])))


def test_four_splits_have_every_network_on_every_table_at_every_rate():
    for number in range(36):
        cells = [cell for seed in range(4) for cell in cells_of(number, seed)]
        assert {str(cell) for cell in cells[:3]} == {str(cell._replace(network=cells[0].network)) for cell in cells[:3]}
        assert [cell.rate for cell in cells] == [*RATES] * 4
        assert sorted(str(cell.network) for cell in cells[::3]) == sorted(map(str, NETWORKS))
    shapes = {(number % len(ASPECT_RATIOS), str(next(cells_of(number, 0)).network)) for number in range(36)}
    assert len(shapes) == len(ASPECT_RATIOS) * len(NETWORKS)


@pytest.mark.parametrize("seed", range(5))
def test_data_have_the_shape_that_is_sought_where_the_table_has_the_rows(seed):
    data = data_of(table(rows=3000, columns=700), 0, seed)
    n, d = data.X.shape
    assert n / d == pytest.approx(ASPECT_RATIOS[seed], rel=0.02)
    assert n <= MOST
    narrow = data_of(table(columns=6), 0, seed)
    assert narrow.X.shape == (max(FEWEST, round(6 * ASPECT_RATIOS[seed])), 6)
    again = data_of(table(columns=6), 0, seed)
    for name in Split._fields:
        np.testing.assert_array_equal(getattr(again, name), getattr(narrow, name))


@pytest.mark.parametrize("kind", ["regression", "classes"])
def test_a_cell_is_judged_by_all_where_it_stops_and_at_its_end(kind, monkeypatch):
    monkeypatch.setattr(panel, "OPTIONS", {"random_state": 0, "patience": 10, "max_steps": 60})
    one = table(kind)
    data = data_of(one, 0, 3)
    found, rate = measure(one, data, NETWORKS[0], "auto")
    assert (found["n"], found["d"]) == data.X.shape
    assert rate > 0
    for where in ("stop", "end"):
        own = found[where]
        assert own["ours"]["exact"]  # few samples and steps
        assert not own["one run"]["exact"]
        assert own["ours"]["found"] - own["ours"]["gained"] == pytest.approx(own["ours"]["left_out"], rel=1e-9)
        assert own["one run"]["found"] != own["ours"]["found"]
        assert 0.3 < own["folds"] / own["ours"]["true"] < 3
        assert own["folds_seconds"] > 0
    assert {found["end"][way]["iteration"] for way in ("ours", "one run")} == {found["steps"]}
    for way in ("ours", "one run"):  # it was left when nothing lower came
        assert found["stop"][way]["iteration"] <= found["steps"] - 10 <= 50
    slower, _ = measure(one, data, NETWORKS[0], rate / 3)
    assert slower["end"]["ours"]["true"] != found["end"]["ours"]["true"]


def test_a_run_takes_up_where_it_was_left(tmp_path, monkeypatch):
    monkeypatch.setattr(panel, "OPTIONS", {"random_state": 0, "max_steps": 3})
    monkeypatch.setattr(panel, "TABLES", {"made": table()})
    out = tmp_path / "found.json"
    first = run(out, range(1))
    assert len(first) == len(RATES)
    kept = json.loads(out.read_text())
    for one in kept.values():
        one["n"] = -1
    out.write_text(json.dumps(kept))
    second = run(out, range(2))
    assert [one["n"] == -1 for one in second.values()] == [True] * 3 + [False] * 3
    few = run(tmp_path / "few.json", range(5), below=3.0)
    assert not few
    assert len(run(tmp_path / "all.json", range(1), below=1e9)) == len(RATES)


def made_up(off, warned=(), left_out=1.0, true=1.0, stderr=0.1):
    """One cell of which ours says exp(off), and five folds 1.5."""
    said = {"found": math.exp(off) + 0.5, "gained": 0.5, "left_out": left_out, "true": true, "stderr": stderr}
    said |= {"exact": False, "scatter": 0.0, "warnings": list(warned), "seconds": 3.0}
    own = {"ours": said, "one run": said, "folds": 1.5, "folds_seconds": 4.0}
    return {"n": 50, "d": 10, "seconds": 1.0, "stop": own, "end": own}


def test_summaries_of_made_up_cells(capsys):
    network = "width 2, depth 2"
    known = {
        f"a|0|auto, {network}": made_up(0.1),
        f"a|0|auto / 3, {network}": made_up(-0.3),
        f"b|0|auto, {network}": made_up(0.5, ["the estimate was still falling at the last step, 9"], true=2.0),
        f"b|0|auto / 3, {network}": made_up(0.0, ["something"], stderr=0.3),
        f"b|0|auto x 2, {network}": made_up(0.02, left_out=float("nan")),
    }
    said = all_said(known, "stop", "ours")
    of = AgainstLeftOut.of(said)
    assert of.cells == 4
    assert of.median == pytest.approx(0.2)
    # Of each table one of two cells is good; the bad one of a is silent, and the good one of b is warned of.
    assert (of.good, of.silent, of.alarms) == ((0.5, 0.0), (0.25, 0.25), (0.5, 0.5))
    kinds = {"all cells": (2, 0, 2), "any warning": (1, 0, 1), "still falling at the last step": (0, 0, 1)}
    assert {name: counts for name, counts in by_kind(said) if any(counts)} == kinds | {"anything else": (1, 0, 0)}
    truth = AgainstTruth.of(said)
    off = np.log([(math.exp(0.1) + 0.5), math.exp(-0.3) + 0.5, (math.exp(0.5) + 0.5) / 2, 1.5, math.exp(0.02) + 0.5])
    folds = np.log([1.5, 1.5, 0.75, 1.5, 1.5])
    assert truth.cells == 5
    assert truth.rms == pytest.approx(np.sqrt(np.mean(off**2)))
    assert truth.rms_folds == pytest.approx(np.sqrt(np.mean(folds**2)))
    each = np.array([np.mean((off**2 - folds**2)[:2]), np.mean((off**2 - folds**2)[2:])])
    left_out = np.log([1, 1, 0.5, 1])
    assert truth.rms_left_out == pytest.approx(np.sqrt(np.mean(left_out**2)))
    assert truth.rms_there == pytest.approx(np.sqrt(np.mean(off[:4] ** 2)))
    assert truth.excess_stderr == pytest.approx(each.std(ddof=1) / np.sqrt(2))
    assert [share.value for share in truth.covered] == [0.2, 0.2]  # logarithms by 0.47, 0.22, 0.07, 0.41, 0.42
    assert truth.covered_by_halves == (0.2, 0.4)  # off by 0.6, 0.24, 0.15, 0.5, 0.52; errors are 0.1, of the fourth 0.3
    assert [name for name, _ in groups(said)] == [
        "all", "without leave-one-out", "n/d 3 to inf", "rate auto", "rate auto / 3", "rate auto x 2", network,
    ]  # fmt: skip
    show(known)
    printed = capsys.readouterr().out
    assert printed.count("| all | ours | 4 | 0.200 | 0.500 ± 0.000 | 0.250 ± 0.250 | ") == 2
    assert "| any warning | one run | 1 | 0 | 1 | 1 | 0 | 1 |" in printed
    assert "knowing costs 0.50 of what five folds of as many steps cost" in printed


def test_a_share_is_known_by_tables_and_not_by_cells():
    """Where the cells of a table agree, a share is known as well as from one of each."""
    rng = np.random.default_rng(0)
    of_tables = rng.random((4000, 30)) < 0.8
    tables = np.repeat(np.arange(30), 3)
    shares = [Share.of(np.repeat(hits, 3), tables) for hits in of_tables]
    spread = np.std([share.value for share in shares])
    assert np.sqrt(np.mean([share.stderr**2 for share in shares])) == pytest.approx(spread, rel=0.04)
    assert spread == pytest.approx(np.sqrt(0.8 * 0.2 / 30), rel=0.04)
    assert np.isnan(Share.of(np.ones(3, bool), np.zeros(3)).stderr)
    assert np.isnan(Share.of(np.ones(0, bool), np.zeros(0)).value)
