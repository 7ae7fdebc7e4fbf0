"""Annotations of array shapes, `sedyn.arrays.shapes`, held against the arrays of calls while the tests run."""

import contextlib
import dataclasses
import functools
import inspect
from collections import Counter
from typing import Any, get_args

import jaxtyping
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

CALLS = 8
"""How often a test has a function checked with arguments of the same shapes: a loop of a thousand steps makes the same
call a thousand times, and a check takes longer than most of what is checked."""

jaxtyped = jaxtyping.jaxtyped
calls: Counter[tuple] = Counter()  # since the test began, by function and shapes


def names_a_shape(hint):
    """Whether an annotation says something about the shape of an array."""
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return True
    return any(map(names_a_shape, get_args(hint)))


def annotations_of(function):
    """What a function's annotations are; of those that cannot be read yet jaxtyping checks nothing either."""
    for hint in function.__annotations__.values():
        with contextlib.suppress(Exception):
            yield eval(hint, function.__globals__) if isinstance(hint, str) else hint


def check_shapes(function):
    """Make a function check its annotations of shapes, and no others."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint if names_a_shape(hint) else Any for name, hint in hints.items()}
    return beartype(function)


def check_first_calls(function, *, typechecker=check_shapes):
    """Make a function, or the start of a dataclass, check its shapes in the first calls that a test makes of it."""
    if inspect.isclass(function):
        if dataclasses.is_dataclass(function):
            function.__init__ = check_first_calls(function.__init__, typechecker=typechecker)
        return function
    if not any(map(names_a_shape, annotations_of(function))):
        return function
    checked = jaxtyped(function, typechecker=typechecker)

    @functools.wraps(function)
    def call(*args, **options):
        key = (function, *[getattr(each, "shape", None) for each in (*args, *options.values())])
        if calls[key] == CALLS:
            return function(*args, **options)
        calls[key] += 1
        return checked(*args, **options)

    return call


def install():
    """Check the functions of every module in `CHECKED` that is imported from now on."""
    # The hook decorates functions with this.
    jaxtyping.jaxtyped = lambda *, typechecker: functools.partial(check_first_calls, typechecker=typechecker)
    install_import_hook(CHECKED, "tests.shapes.check_shapes")
