"""The benchmark of a GPU, on machines that have none: the script works, and says what it counts."""

import importlib.util
import re
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_dry_run_prints_every_table_and_what_a_pass_counts(benchmark, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py", "--dry"])
    ran = []
    for command in ("first_use", "sweep"):  # which are processes of their own
        monkeypatch.setattr(benchmark, command, lambda machine, command=command: ran.append(command))
    benchmark.main()
    printed = capsys.readouterr().out
    assert ran == ["first_use", "sweep"]
    for row in map(re.escape, map(str, benchmark.DRY_ROWS[:2])):
        assert re.search(rf"\| {row} \| 2 \| 1\.\d+ \| \d", printed)  # launches, bytes and a time
        for who in ("simulate", "with estimate", "batched products"):
            assert re.search(rf"\| {row} \| {who} \| \d+\.\d+ \| \d+ \|", printed)
    assert f"| {benchmark.DRY_ROWS[2]} | two products |" in printed
    assert len(re.findall("theory, .* ms", printed)) == 2


def test_without_a_gpu_it_says_so(benchmark, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    monkeypatch.setattr(benchmark.backend, "gpu_unusable_because", lambda: "there is none")
    benchmark.main()
    assert capsys.readouterr().out == "no GPU here: there is none; --dry shows that the script works\n"


def test_its_lines_of_anybody_are_what_simulate_does(benchmark):
    """One step of one replicate against the gradient of the mean loss by finite differences."""
    import numpy as np

    rng, (n, d, q) = np.random.default_rng(0), (6, 4, 2)
    x, y, w, *deep = (rng.standard_normal((1, *shape)) for shape in ((n, d), (n, 1), (d, q), (q, q), (q, 1)))

    def loss(w):
        return float(((np.tanh(np.tanh(x @ w) @ deep[0]) @ deep[1] - y) ** 2).sum()) / 2

    benchmark.STEPS = 1
    stepped, unit = benchmark.descent(np, x, y, w, deep), 1e-6 * np.eye(d * q).reshape(-1, 1, d, q)
    slope = np.array([(loss(w + each) - loss(w - each)) / 2e-6 for each in unit]).reshape(1, d, q)
    np.testing.assert_allclose(stepped, w - benchmark.RATE * d / n * slope, atol=1e-8)
