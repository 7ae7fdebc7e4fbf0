"""Workers that are jobs of Slurm: they take tasks from a folder beside the store until their time is up.

Nothing but the file system that all nodes share connects the driver with its workers: no port is open, and neither
has to outlive the other. Its modules from the lowest to the highest: `queue`, the folder; `jobs`, what is asked of
Slurm; `job`, the process that Slurm starts; `work`, a worker in it; `executor`, what the driver sees.
"""
