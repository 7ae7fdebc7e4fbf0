"""The machine: what to run (plan), where (executors), where it lands (store), and the Hydra application."""
