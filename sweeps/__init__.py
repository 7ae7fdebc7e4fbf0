"""The machine: what to run, what it takes, where it lands, in which order and where it runs, and the application.

Rooms from the lowest to the highest; each imports only rooms on lines above its own:

* `plan`: cells and tasks;  `provenance`: what computed a result;  `user_modules`: what a user registers;
  `compute`: where a sweep should compute
* `cost`: every prediction of seconds and bytes;  `target`: how precise cells should be
* `store`: one Zarr store, its making and growth, what tasks write, what is there
* `schedule`: from what is missing to tasks;  `theories`: solutions that a worker keeps
* `precision`: further replicates where they pay most;  `worker`: what one task does
* `executors`: in this process, or on Ray actors;  `progress`: what a person sees
* `driver`: the loop that turns tasks into results
* `target`...
"""
