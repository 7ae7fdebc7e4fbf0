"""Run as ``python -m analysis.watch PATH``."""

import sys

from analysis.watch import main

sys.exit(main())
