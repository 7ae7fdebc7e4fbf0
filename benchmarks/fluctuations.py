"""Predicted fluctuations beside measured ones, and what each costs.

``python -m benchmarks.fluctuations [FOLDER] [n] [replicates]`` runs varied problems, keeps what they show in a folder,
and prints the table of what is there and what a prediction costs beside runs that would know as much. Whatever is
stopped goes on where it was; 2000 replicates at n = 2000 are minutes.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import xarray as xr

import sedyn
from analysis.statistics.correlations import apart, largest_by_chance
from sedyn.descent import readout

SHARED = {"width": 2, "depth": 2, "steps": 8, "learning_rate": 1.0, "noise": 0.5, "init_overlap": 0.4}
# By name: fields, and samples per feature.
PROBLEMS: dict[str, tuple[dict, float]] = {
    "linear": ({"width": 1, "depth": 1, "learning_rate": 0.6, "init_overlap": 0.0}, 2),
    "linear, d > n, decay": ({"width": 1, "depth": 1, "learning_rate": 0.2, "weight_decay": 0.3}, 0.5),
    "tanh": ({}, 2),
    "tanh, 3 units, 3 layers": ({"width": 3, "depth": 3}, 1.25),
    "erf, momentum": ({"activation": "erf", "momentum": 0.5, "learning_rate": 0.6}, 2),
    "gelu, nesterov, decay": (
        {"activation": "gelu", "momentum": 0.4, "momentum_form": "nesterov", "weight_decay": 0.05},
        4,
    ),
    "schedule, hermite link": ({"link": "hermite3", "learning_rate": [1.5, 1.5, 1.0, 1.0, 0.5, 0.5, 0.2, 0.2]}, 2),
    "batches drawn anew": ({"batch_fraction": 0.25, "learning_rate": 0.7}, 2),
    "shuffled batches": ({"batch_fraction": 0.5, "batching": "shuffle"}, 2),
    "two signals, two levels": ({"signals": 2, "covariance": "two_level(4,0.25)", "learning_rate": 0.5}, 2),
    "huber, laplace noise": ({"loss": "huber(0.5)", "noise_law": "laplace"}, 2),
    "logistic, first layer": ({"loss": "logistic", "labels": "binary", "train": "first", "learning_rate": 3.0}, 2),
    "bias, skip, residual": (
        {"depth": 3, "bias": "all", "skip": True, "residual": True, "learning_rate": 0.4},
        2,
    ),
    "rademacher entries": ({"features": "rademacher"}, 2),
    "sparse entries": ({"features": "sparse(0.1)"}, 2),
}
OBSERVABLES = ("train_error", "test_error", "estimated_test_error", "signal_overlap", "deep_weights")
TOGETHER = 100  # replicates kept at a time
# Four times the points that test errors are read with: their error, subtracted below, is then small beside runs' own.
readout.POINTS_PER_DIMENSION *= 4
# Entries that are not Gaussian have to be drawn, all n d of them.
LARGEST_DENSE = 4000


def problem_of(name: str, n: int) -> sedyn.Problem:
    """One of the problems at n samples."""
    fields, per_feature = PROBLEMS[name]
    return sedyn.Problem(**{**SHARED, **fields}, n=n, d=round(n / per_feature))


def run(folder: Path, n: int, replicates: int) -> None:
    """Run what the folder lacks, some replicates of each problem in turn."""
    for start in range(0, replicates, TOGETHER):
        for name in PROBLEMS:
            if n > LARGEST_DENSE and problem_of(name, n).features != "gaussian":
                continue
            path = folder / f"{name.replace(' ', '_').replace(',', '')}.{n}.{start}.nc"
            if path.exists():
                continue
            begun = time.process_time()
            runs = sedyn.simulate(problem_of(name, n), range(start, start + TOGETHER))
            kept = runs[[name for name in (*OBSERVABLES, "test_error_stderr") if runs[name].size]]
            kept.attrs = {"seconds": time.process_time() - begun}
            part = path.with_suffix(".part")
            kept.to_netcdf(part, engine="scipy")
            part.rename(path)
            print(f"{name}: {start + TOGETHER} of {replicates}", flush=True)


def table(folder: Path, n: int) -> None:
    """Print measured over predicted standard deviations, smallest and largest over iterations and entries."""
    print(f"n = {n}: measured over predicted standard deviation, from smallest to largest over iterations and entries;")
    print(
        "largest difference of correlations between iterations, and its p-value; seconds of the prediction and of a run"
    )
    names = ["train_error", "test_error", "estimate_minus_test_error", "signal_overlap", "deep_weights"]
    print(
        f"{'problem':26s}{'runs':>6s}{'error':>7s}"
        + "".join(f"{name[-17:]:>19s}" for name in names)
        + "   corr. of train, test error   time"
    )
    for name in PROBLEMS:
        paths = sorted(folder.glob(f"{name.replace(' ', '_').replace(',', '')}.{n}.*.nc"))
        if not paths:
            continue
        parts = [xr.load_dataset(path, engine="scipy") for path in paths]
        runs = xr.concat(parts, "replicate", combine_attrs="drop").isel(iteration=slice(1, None))
        begun = time.process_time()
        predicted = sedyn.fluctuations(problem_of(name, n)).isel(iteration=slice(1, None), iteration_=slice(1, None))
        seconds, count = time.process_time() - begun, runs.sizes["replicate"]
        cells = []
        if "estimated_test_error" in predicted:
            runs["estimate_minus_test_error"] = runs.estimated_test_error - runs.test_error
        for observable in names:
            if observable not in runs or observable not in predicted:
                cells.append("")
                continue
            own = predicted[observable].transpose("iteration", "iteration_", ...).values
            variance = np.moveaxis(np.diagonal(own), -1, 0)
            readout = (runs.test_error_stderr**2).mean("replicate") if "test_error" in observable else 0.0
            measured = n * (runs[observable].var("replicate", ddof=1) - readout).values
            with np.errstate(invalid="ignore", divide="ignore"):
                ratio = np.sqrt(measured / variance)[variance > 1e-6]
            cells.append(f"{ratio.min():8.3f} - {ratio.max():.3f}" if ratio.size else " " * 16)
        correlations = []
        for observable in ("train_error", "test_error"):
            rng = np.random.default_rng(0)
            one = apart(runs[observable].values, predicted[observable].values, 2000, rng)
            correlations.append(f"{abs(one.found).max():.3f} (p {largest_by_chance([one]):.3f})")
        each = sum(part.attrs["seconds"] for part in parts) / count
        print(f"{name:26s}{count:6d}{(2 * count) ** -0.5:7.3f}" + "".join(f"{cell:>19s}" for cell in cells)
              + f"   {', '.join(correlations)} {seconds:5.1f} {each:.4f}", flush=True)  # fmt: skip


def cost(n: int = 4096, replicates: int = 400) -> None:
    """Print what a prediction costs, beside theory and beside runs that would know standard deviations as well."""
    problem, seconds = problem_of("tanh", n), {}
    sedyn.simulate(problem, 2, estimate=False)  # compiles
    predicted = None
    for words, work in (
        ("prediction", lambda: sedyn.fluctuations(problem)),
        ("theory", lambda: sedyn.state_evolution(problem)),
        ("run", lambda: sedyn.simulate(problem, replicates, estimate=False)),
    ):
        taken = []
        for _ in range(3):
            begun = time.process_time()
            found = work()
            taken.append(time.process_time() - begun)
        seconds[words], predicted = min(taken), found if predicted is None else predicted
    each = seconds["run"] / replicates
    print(f"processor seconds, least of 3: prediction {seconds['prediction']:.2f}, theory {seconds['theory']:.2f}, "
          f"a run at n = {n} {each:.4f}")  # fmt: skip
    for name in ("train_error", "test_error"):
        variance, error = (np.diagonal(predicted[name + end].values)[1:] for end in ("", "_stderr"))
        doubt = np.sqrt(np.mean((error / (2 * variance)) ** 2))
        needed = 1 / (2 * doubt**2)
        print(f"standard deviation of {name} known to {100 * doubt:.2f} %: as {needed:.0f} runs would, "
              f"{needed * each / seconds['prediction']:.0f} times the prediction's seconds")  # fmt: skip


if __name__ == "__main__":
    where, *numbers = sys.argv[1:] or ["build/fluctuations", "1000", "100"]
    size, wanted = map(int, (*numbers, *("2000", "400")[len(numbers) :]))
    Path(where).mkdir(parents=True, exist_ok=True)
    run(Path(where), size, wanted)
    table(Path(where), size)
    cost()
