"""Run the application: ``python -m sweeps``."""

import sys

from sweeps.application.sweep import main

if __name__ == "__main__":
    sys.exit(main())
