"""The feature matrix X as an operator, and nothing else."""
