"""How often theory is as close to the truth as its standard errors say, on problems that make it hard.

For each problem and number of samples many solutions of other seeds, against one of far more samples. Shares have
standard errors over seeds: entries and iterations of one solution err together. What is solved is kept in a folder,
where the same command goes on.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import xarray as xr
from scipy import stats

import sedyn
from sedyn import Problem

RANDOMIZATIONS = 8
HALF = {"n": 2000, "d": 1000, "width": 2, "depth": 2}
PROBLEMS = {
    "default": Problem(),
    "near instability": Problem(**{**HALF, "width": 3}, learning_rate=3.0, steps=12),
    "relu": Problem(**HALF, activation="relu", steps=10, init_overlap=0.3),
    "60 steps": Problem(**HALF, steps=60),
    "hermite3": Problem(
        n=1024, d=682, width=2, depth=2, learning_rate=0.5, noise=0.3, init_overlap=0.3, steps=10, link="hermite3"
    ),
}
OBSERVABLES = ("train_error", "test_error", "signal_overlap", "weight_gram")


def solution(problem: Problem, samples: int, seed: int, file: Path) -> xr.Dataset:
    """Theory on a seed, from the file where that has been solved before."""
    if file.exists():
        return xr.load_dataset(file)
    start = time.process_time()
    theory = sedyn.state_evolution(problem, samples, RANDOMIZATIONS, seed)
    kept = theory[[name + suffix for name in OBSERVABLES for suffix in ("", "_stderr")]].isel(iteration=slice(1, None))
    kept = kept.assign_attrs({"seconds": time.process_time() - start})
    kept.to_netcdf(file.with_suffix(".part"), engine="scipy")
    file.with_suffix(".part").rename(file)
    return kept


def deviation(theory: xr.Dataset, reference: xr.Dataset, name: str) -> np.ndarray:
    """Error of an observable in combined standard errors, (iteration, entries)."""
    stated = np.hypot(theory[f"{name}_stderr"], reference[f"{name}_stderr"])
    found = ((theory[name] - reference[name]) / stated).values
    return found.reshape(len(found), -1)


def share(inside: np.ndarray) -> str:
    """Share of errors within their intervals in percent and its standard error, from the share of each seed."""
    mean, error = 100 * inside.mean(), 100 * inside.std(ddof=1) / np.sqrt(len(inside))
    return f"{mean:.1f} +- {error:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--reference", type=int, default=2**18, help="samples of the reference, all together")
    parser.add_argument("--problems", nargs="+", choices=list(PROBLEMS), default=list(PROBLEMS))
    parser.add_argument("--samples", nargs="+", type=int, default=[2**9, 2**11, 2**13])
    parser.add_argument("--folder", type=Path, default=Path("build/solver_coverage"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    reach = stats.t.ppf(0.975, RANDOMIZATIONS - 1)
    print(f"% of errors within 95% intervals (t with {RANDOMIZATIONS - 1} degrees of freedom), {given.seeds} seeds")
    print(f"{'problem':18} {'samples':>8} {'train':>12} {'test':>12} {'all':>12} {'largest mean':>13} {'seconds':>8}")
    for name in given.problems:

        def file(samples: int, seed: int, name: str = name) -> Path:
            return given.folder / f"{name.replace(' ', '_')}.{samples}.{seed}.nc"

        problem, most = PROBLEMS[name], given.reference // RANDOMIZATIONS
        reference = solution(problem, most, 2**20, file(most, 2**20))
        for samples in given.samples:
            solved = [solution(problem, samples, seed, file(samples, seed)) for seed in range(given.seeds)]
            found = {each: np.array([deviation(one, reference, each) for one in solved]) for each in OBSERVABLES}
            inside = {each: (np.abs(values) < reach).mean(axis=(1, 2)) for each, values in found.items()}
            # Overlaps and Gram entries that every unit shares count as often as there are units.
            shares = inside["train_error"], inside["test_error"], np.mean(list(inside.values()), axis=0)
            shift = max(np.abs(values.mean(axis=0)).max() for values in found.values())
            seconds = np.mean([one.attrs["seconds"] for one in solved])
            said = " ".join(f"{share(each):>12}" for each in shares)
            print(f"{name:18} {samples:8d} {said} {shift:13.2f} {seconds:8.2f}", flush=True)


if __name__ == "__main__":
    main()
