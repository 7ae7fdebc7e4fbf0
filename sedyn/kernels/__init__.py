"""The model's definitions, computed faster: without these kernels no number changes beyond rounding."""

# They tell the dispatcher what they compute and when they serve. What is registered last is asked first.
from sedyn.kernels.cpu import serving as _cpu  # noqa: F401
from sedyn.kernels.cuda import descent as _descent  # noqa: F401
from sedyn.kernels.cuda import launch as _cuda  # noqa: F401
from sedyn.kernels.cuda import paths as _paths  # noqa: F401
from sedyn.kernels.cuda import points as _points  # noqa: F401
from sedyn.kernels.cuda import rows as _rows  # noqa: F401
