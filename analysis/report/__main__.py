"""Run as ``python -m analysis.report PATH [PATH ...]``."""

import sys

from analysis.report import main

sys.exit(main())
