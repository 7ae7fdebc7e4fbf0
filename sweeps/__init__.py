"""The machine: what to run, what it takes, where it lands, in which order, where it runs, and the command line.

Its rooms from the lowest to the highest. A room imports rooms above it in this list only; those of one line do not
import each other.

0. `terminal`: lines that are shown and not obeyed.
1. `plan`: cells and tasks. `compute`: where a sweep should compute. `provenance`: what computed a result. `sources`:
   the code that does. `user_modules`: what a user registers. `interruption`: ending in order.
2. `cost`: every prediction of seconds and bytes. `target`: how precise cells should be. `refinement`: which axis gets
   more values. `theories`: solutions that a worker keeps. `sessions`: Ray, from its start to its end. `registered`: by
   digests, what a user registered and a sweep uses.
3. `pace`: how long the rest takes. Above it `store`: one Zarr store, from its making to what is in it. `progress`: what
   a person sees.
4. `bundles`: tasks of many cells. Above it `schedule`: from what is missing to tasks. `worker`: what one task does.
   `wanted`: how many replicates a cell wants.
5. `attempts`: what driver and executors tell each other. Above it `slurm`: workers that are jobs of Slurm.
6. `precision`: further replicates where they pay most. `bisection`: further values where a verdict changes.
   `executors`: in this process, on Ray actors, or in jobs of Slurm.
7. `driver`: the loop that turns tasks into results.
8. `forecast`: what a plan says.
9. `application`: from the words of a command line to a sweep.
10. `status`, `validate`, `redo`, `drop` and `doctor`: the commands beside it.
"""

import sys

if sys.platform == "win32":
    try:
        import sedyn  # noqa: F401 - says where it runs
    except ImportError as error:
        raise SystemExit(str(error)) from None
