"""Run the application: ``python -m sweeps``."""

import sys

from sweeps.app import main

if __name__ == "__main__":
    sys.exit(main())
