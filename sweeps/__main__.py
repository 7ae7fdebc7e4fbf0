"""Run the application: ``python -m sweeps``."""

import sys

from sweeps.application.command import program

if __name__ == "__main__":
    program(["sweep", *sys.argv[1:]])
