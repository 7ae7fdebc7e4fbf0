"""Annotations of array shapes, `sedyn.arrays.shapes`, held against the arrays of every call while the tests run."""

from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray, install_import_hook

# Packages and modules; not those with compiled functions, whose compiler takes nothing that wraps a function.
CHECKED = (
    "sedyn.arrays.backend",
    "sedyn.arrays.blocks",
    "sedyn.arrays.history",
    "sedyn.arrays.memory",
    "sedyn.model",
    "sedyn.kernels.dispatch",
    "sedyn.kernels.cpu.samples",
    "sedyn.kernels.cpu.serving",
    "sedyn.kernels.cuda",
    "sedyn.designs",
    "sedyn.theory",
    "sedyn.descent",
    "sedyn.estimate",
    "sedyn.estimators",
    "sedyn.selfcheck",
)


def names_a_shape(hint):
    """Whether an annotation says something about the shape of an array."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(map(names_a_shape, get_args(hint)))


def check_shapes(function):
    """Make a function check its annotations of shapes, and no others."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint if names_a_shape(hint) else Any for name, hint in hints.items()}
    return beartype(function)


def install():
    """Check the functions of every module in `CHECKED` that is imported from now on."""
    install_import_hook(CHECKED, "tests.shapes.check_shapes")
