"""Whether two commits give the same numbers, bit by bit: run a set of sweeps with each checkout, and compare.

    python -m tests.same_numbers make CHECKOUT FOLDER    # with that checkout's own environment; about a minute
    python -m tests.same_numbers compare FOLDER FOLDER

The sweeps are small and touch every option that computes: laws, the estimate, covariances, mini-batches, signals,
kinks, losses, single precision, the deferred design, joined cells, a target precision on Ray.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import zarr

SMALL = ["compute=inline", "replicates=4", "problem.steps=6"]
THEORY = ["theory.samples=1024", "theory.randomizations=4"]
RATES = "problem.learning_rate=[0.9,0.8,0.7,0.5,0.3,0.1]"
FEW = [*SMALL, *THEORY]
SWEEPS = {
    "quickstart": ["experiment=quickstart", "report=null"],
    "laws": [
        *FEW, "laws=true", "aspect=2", "grid.n=[128,256]", "problem.width=2",
        'grid.covariance=[identity,"two_level(4,0.25)"]',
    ],
    "no_estimate": [*FEW, "estimate=false", "grid.noise=[0.1,0.5]", "problem.n=200"],
    "covariance": [
        *FEW, 'grid.covariance=["power_law(0.25)","two_level(3,0.25)"]', "problem.n=300",
        "problem.learning_rate=0.3", "problem.momentum=0.3",
    ],
    "batches": [
        *FEW, "grid.batching=[without_replacement,shuffle]", "problem.batch_fraction=0.25", "problem.n=240",
        "problem.weight_decay=0.1",
    ],
    "signals": [
        *FEW, "problem.signals=2", "grid.combine=[sum,product]", "problem.link=erf", "problem.init_overlap=0.3",
        "problem.n=300",
    ],
    "kinks": [*FEW, "problem.activation=relu", "grid.depth=[2,3]", "problem.n=300", "problem.learning_rate=0.3"],
    "float32": [
        *FEW, "dtype=float32", "engine=dense", 'grid.features=[gaussian,rademacher,"sparse(0.1)","sparse_rows(3)"]',
        "problem.n=400",
    ],
    "deferred": [*FEW, "engine=deferred", "grid.n=[400,1200]", "problem.activation=gelu"],
    "joined": [
        "compute=inline", "replicates=6", "problem.steps=5", *THEORY, "grid.noise=[0.1,0.2,0.3]",
        "grid.learning_rate=[0.2,0.5]", "problem.n=64", "block=2",
    ],
    "target": [
        "compute=local", "replicates=8", "problem.steps=5", *THEORY, "grid.n=[64,128]", "target.stderr=0.02",
        "target.max_replicates=64",
    ],
    "losses": [
        *FEW, "problem.labels=binary", "grid.loss=[squared,logistic,huber]", "grid.activation=[sigmoid,softplus]",
        "problem.n=200",
    ],
    "frozen": [
        *FEW, "problem.train=first", "problem.deep_init=signs", "grid.activation=[silu,erf,identity]",
        "problem.link=hermite3", "problem.initialization=random", "problem.n=200",
    ],
    "linear": [*FEW, "problem=linear", "grid.noise=[0.1,0.5]", "problem.n=400"],
    "schedule": [*FEW, RATES, 'grid.features=["student_t(5)",laplace,uniform,exponential]', "problem.n=240"],
    "wide": [*FEW, "problem.width=12", "problem.n=300", "problem.learning_rate=0.2"],
}  # fmt: skip
# Groups whose numbers a problem and a seed decide; `status` says when, where and how long.
GROUPS = ("simulation", "theory")


def make(checkout: Path, folder: Path) -> int:
    """Run every sweep with a checkout's environment, each into a store of its own."""
    failures = 0
    for name, words in SWEEPS.items():
        store = folder.resolve() / f"{name}.zarr"
        command = [checkout.resolve() / ".venv/bin/python", "-m", "sweeps", *words, f"store={store}"]
        done = subprocess.run(command, cwd=checkout, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
        failures += done.returncode != 0
        print(f"{name}: {'done' if done.returncode == 0 else done.stderr.decode().strip()}")
    return int(failures > 0)


def numbers(path: Path) -> dict[str, tuple]:
    """Every array of a store's computed groups by name: type, shape and bytes."""
    arrays = dict(zarr.open_group(path, mode="r").members(max_depth=None))
    found = {}
    for name, array in arrays.items():
        if isinstance(array, zarr.Array) and name.startswith(GROUPS):
            values = np.asarray(array[...])
            content = values.tolist() if values.dtype.kind not in "fiu" else values.tobytes()
            found[name] = str(values.dtype), values.shape, content
    return found


def compare(one: Path, two: Path) -> int:
    """Say of every store of one folder whether the other one has the same numbers."""
    differing = 0
    for path in sorted(one.glob("*.zarr")):
        here, there = numbers(path), numbers(two / path.name)
        names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
        print(f"{path.stem}:", "different: " + ", ".join(names) if names else f"equal, {len(here)} arrays")
        differing += bool(names)
    print("all equal" if not differing else f"{differing} stores differ")
    return int(differing > 0)


if __name__ == "__main__":
    action, first, second = sys.argv[1:]
    sys.exit({"make": make, "compare": compare}[action](Path(first), Path(second)))
