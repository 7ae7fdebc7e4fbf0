"""A sweep of many cheap cells, planned, killed, resumed and run to its end: seconds, memory and files of each.

The cells are sizes times learning rates times noises: all sizes of one aspect ratio share a theory, and every rate with
every noise has one. Features are Gaussian: of others each run is tested on thousands of fresh samples, which takes ten
times as long as such a run. The sweep is killed at random moments, its processes and all, and started again; then it is
run in an undisturbed store too, and the two are compared bit by bit (`--twice`).
"""

from __future__ import annotations

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from hashlib import sha256
from pathlib import Path

import xarray as xr

SMALL = {"steps": 2, "depth": 1, "width": 1, "activation": "identity", "link": "identity"}


def words_of(side: int, sizes: int, replicates: int, compute: str) -> list[str]:
    """Say the sweep on a command line."""
    given = {
        "n": [8 + 2 * k for k in range(sizes)],
        "learning_rate": [round(1e-4 * (k + 1), 4) for k in range(side)],
        "noise": [round(1e-3 * k, 3) for k in range(side)],
    }
    words = [f"problem.{name}={value}" for name, value in SMALL.items()]
    words += [f"grid.{name}=[{','.join(map(str, values))}]" for name, values in given.items()]
    words += ["aspect=2", "theory.samples=64", "theory.randomizations=2"]
    return [*words, f"replicates={replicates}", f"compute={compute}"]


def run(name: str, module: str, *arguments: str, kill_after: float | None = None) -> str:
    """Run a command, to its end or until it is killed, and print what it and processes that it waited for took."""
    command, begun = [sys.executable, "-m", module, *arguments], time.monotonic()
    # In a group of processes of its own, which is killed whole.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        if kill_after is not None:
            timer = threading.Timer(kill_after, os.killpg, (process.pid, signal.SIGKILL))
            timer.start()
        assert process.stdout is not None, "its output is a pipe"
        output = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        seconds, process.returncode = time.monotonic() - begun, os.waitstatus_to_exitcode(status)
    if kill_after is not None:
        timer.cancel()
    processor = used.ru_utime + used.ru_stime
    print(f"| {name} | {seconds:.1f} | {processor:.1f} | {used.ru_maxrss / 1024:.0f} |", flush=True)
    if process.returncode not in (0, -signal.SIGKILL):
        sys.exit(output)
    return output


def files_of(store: Path) -> tuple[int, float, float]:
    """Count the files of a store, and the MiB in them and on the disk."""
    found = [path.stat() for path in store.rglob("*") if path.is_file()]
    return len(found), sum(each.st_size for each in found) / 2**20, sum(each.st_blocks for each in found) / 2**11


def same(one: Path, other: Path) -> bool:
    """Whether readers of two stores find the same results, bit by bit."""
    trees = [xr.open_datatree(path, engine="zarr") for path in (one, other)]
    return all(
        len({sha256(tree[group][name].values).digest() for tree in trees}) == 1
        for group in ("simulation", "theory")
        for name, values in trees[0][group].data_vars.items()
        if values.dtype.kind == "f"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the stores go; what is there is gone on with")
    parser.add_argument("--side", type=int, default=16, help="learning rates, and noises")
    parser.add_argument("--sizes", type=int, default=16, help="sizes: times the square of the side it is the cells")
    parser.add_argument("--replicates", type=int, default=16)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--between", type=float, default=60, help="seconds between kills, in the mean")
    parser.add_argument("--compute", default="inline")
    parser.add_argument("--twice", action="store_true", help="also undisturbed, and compare")
    given = parser.parse_args()
    words = words_of(given.side, given.sizes, given.replicates, given.compute)
    store = given.folder / "killed.zarr"
    print(f"{given.sizes * given.side**2} cells x {given.replicates} replicates\n")
    print("| | s | processor s | largest process, MiB |\n|---|---|---|---|")
    plan = run("plan", "sweeps", *words, "plan=true", f"store={store}")
    draw = random.Random(0)
    for number in range(given.kills):
        until = draw.expovariate(1 / given.between)
        run(f"until kill {number + 1}", "sweeps", *words, f"store={store}", kill_after=until)
        run("plan of what is left", "sweeps", *words, "plan=true", f"store={store}")
    run("the rest", "sweeps", *words, f"store={store}")
    run("again, with nothing missing", "sweeps", *words, f"store={store}")
    run("status", "sweeps.status", str(store))
    found = run("validate", "sweeps.validate", str(store), "--repair")  # files of killed writers are no faults
    if given.twice:
        run("undisturbed", "sweeps", *words, f"store={given.folder / 'whole.zarr'}")
        print(f"\nbit-identical with an undisturbed run: {same(store, given.folder / 'whole.zarr')}")
    files, held, taken = files_of(store)
    print(f"\n{found.strip()}")
    print(f"\n{files} files, {held:.1f} MiB in them, {taken:.1f} MiB of the disk; the plan said:")
    print("\n".join(re.findall(r"^(?:predicted|store's size).*", plan, re.MULTILINE)))


if __name__ == "__main__":
    main()
