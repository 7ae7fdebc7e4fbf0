"""The comparison of ways to know a test error: what is judged, and how it is summed up."""

import json
import math

import numpy as np
import pytest

from benchmarks.estimators import comparison
from benchmarks.estimators.comparison import MODELS, Judged, Rows, all_rows, distinct, judge, run
from benchmarks.estimators.report import OF_ITS_OWN, Mean, groups, show, summary
from benchmarks.tables import Split, Table

RNG = np.random.default_rng(0)
EVERY = {"ours", "ours, one run", "leave-one-out", "20 % holdout", "5-fold", "iterative approximate"}


def data(kind, n=30, d=4):
    X = RNG.standard_normal((3 * n, d))
    score = X[:, 0] + 0.3 * RNG.standard_normal(3 * n)
    y = score if kind == "regression" else np.digitize(score, [-0.5, 0.5])
    return Split(X[:n], y[:n], X[n:], y[n:])


@pytest.mark.parametrize(
    ("kind", "options", "more"),
    [
        ("regression", {"depth": 1}, {"memory perturbation", "r-hat", "r-tilde"}),
        ("regression", {"width": 2}, {"memory perturbation"}),
        ("classes", {"width": 2}, set()),
    ],
)
def test_every_way_that_knows_the_model_judges_it(kind, options, more):
    found = judge(Rows(kind, data(kind), False), options, steps=6)
    assert found["ways"].keys() == EVERY | more
    for way, judged in found["ways"].items():
        assert judged.true >= found["least"], way
        assert 0.2 < judged.found / judged.true < 5, way
        assert judged.seconds > 0


def test_one_run_is_never_left_to_leave_one_out():
    found = judge(Rows("regression", data("regression"), False), {"width": 2}, steps=6)["ways"]
    assert found["ours"].found == pytest.approx(found["leave-one-out"].found, rel=1e-12)
    assert abs(found["ours, one run"].found / found["leave-one-out"].found - 1) > 1e-6


def test_rows_that_train_are_distinct():
    rows = data("regression")
    copied = rows._replace(X=np.concatenate([rows.X, rows.X[:7]]), y=np.concatenate([rows.y, rows.y[:7]]))
    for name in Split._fields:
        np.testing.assert_array_equal(getattr(distinct(copied), name), getattr(rows, name))


def test_a_run_takes_up_where_it_was_left(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "GAUSSIAN", {20: 1})
    monkeypatch.setattr(comparison, "FRESH", 100)
    monkeypatch.setattr(comparison, "judge", lambda rows, options, steps=3, known=None: judge(rows, options, 3, known))
    monkeypatch.setattr(comparison, "MODELS", {name: MODELS[name] for name in ("linear", "network")})
    rows = np.arange(400.0)
    tables = {"made": Table("regression", 5, lambda: (np.sin(rows.reshape(100, 4)), np.cos(rows[::4])))}
    monkeypatch.setattr(comparison, "all_rows", lambda splits: all_rows(splits, tables))
    out = tmp_path / "found.json"
    first = run(out, 1)
    assert [*first] == ["n = 20|0", "made|0"]
    assert first["made|0"].keys() == {*comparison.MODELS, *OF_ITS_OWN}
    kept = out.read_text()
    second = run(out, 2)
    assert [*second] == ["n = 20|0", "made|0", "made|1"]
    assert {key: second[key] for key in json.loads(kept)} == json.loads(kept)
    written = json.loads(out.read_text())
    for one in written.values():
        one["network"]["ways"] = {way: [9, 9, 9] for way in one["network"]["ways"]}
    out.write_text(json.dumps(written))
    third = run(out, 2, again=True)["made|1"]["network"]["ways"]
    assert {way for way, judged in third.items() if judged == [9, 9, 9]} == EVERY - {
        "ours",
        "ours, one run",
        "leave-one-out",
    } | {"memory perturbation"}
    assert third["ours"][:2] == pytest.approx(second["made|1"]["network"]["ways"]["ours"][:2])


def made_up(found, true=1.0, least=0.8):
    """Results of one data set in which a way says what it finds of each model."""
    ways = {"ours": Judged(1.0, 1.0, 6.0), "other": Judged(found, true, 30.0)}
    own = {"network with its defaults": {"least": 4.0, "ways": {"ours": Judged(3.0, 4.0, 9.0)}}}
    own |= {"ridge": {"least": 1.6, "ways": {"gcv": Judged(2.0, 2.0, 0.3)}}}
    return {model: {"least": least, "descent": 3.0, "ways": ways} for model in MODELS} | own


def test_summary_of_made_up_results():
    known = {"a|0": made_up(math.exp(0.3)), "a|1": made_up(math.exp(-0.1)), "b|0": made_up(math.exp(0.2), 2.0)}
    known["b|0"]["linear"] = {"least": 0.5, "descent": 3.0, "ways": {"ours": (2, 1, 6), "other": (0.1, 1.5, 30)}}
    found = summary(known, "network", "other")
    off = np.array([0.3, -0.1, 0.2 - np.log(2)])
    assert found.sets == 3
    assert found.error.value == pytest.approx(np.sqrt(np.mean(off**2)))
    assert found.error_of_ours.value == 0
    assert found.bias.value == pytest.approx(off.mean())
    assert found.stopping.value == pytest.approx(np.mean([1 / 0.8, 1 / 0.8, 2 / 0.8]) - 1)
    assert found.choosing.value == pytest.approx(np.mean([1 / 0.8, 1 / 0.8, 1.5 / 0.5]) - 1)
    assert found.beside == pytest.approx(1.5 ** (1 / 3))
    assert found.cost == 10
    ridge = summary(known, "ridge", "gcv")
    assert ridge.beside == pytest.approx(0.5)
    assert ridge.stopping.value == pytest.approx(0.25)
    assert np.isnan(ridge.choosing.value)
    assert summary(known, "network with its defaults", "ours").bias.value == pytest.approx(np.log(0.75))
    by_table = np.array([off[:2].mean(), off[2]])
    assert found.bias.stderr == pytest.approx(by_table.std(ddof=1) / np.sqrt(2))


def test_what_a_way_does_not_know_counts_for_nothing():
    known = {"a|0": made_up(1.5), "b|0": made_up(float("nan")), "c|0": made_up(float("inf"))}
    found = summary(known, "network", "other")
    assert found.sets == 3
    assert found.error.value == pytest.approx(np.log(1.5))


def test_splits_of_a_table_are_one_data_set_and_gaussian_ones_are_many():
    assert Mean.of({"a|0": 1.0, "a|1": 3.0, "b|0": 4.0}).stderr == pytest.approx(1.0)
    assert Mean.of({"n = 20|0": 1.0, "n = 20|1": 3.0}).stderr == pytest.approx(1.0)
    assert Mean(4.0, 0.4).root == (2.0, 0.1)


def test_tables_have_a_line_for_every_way(capsys):
    known = {f"n = 200|{seed}": made_up(1.1) for seed in range(2)} | {"a|0": made_up(1.2), "b|0": made_up(0.9)}
    assert [len(own) for own in groups(known).values()] == [2, 0, 0, 2]
    show(known)
    printed = capsys.readouterr().out
    assert printed.count("| network | other |") == 2
    assert "| other | 0.10 | 0.15 | 0.250 | 0.250 |  | 10 |" in printed
