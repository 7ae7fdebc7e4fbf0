"""Shapes of arrays as a part of signatures, such as ``Float[Array, "q n"]``.

Dimensions have the letters of the docs: n samples, d features, q units, k signals, T steps, N points, B spectral nodes,
and s or t iterations up to the present one. A letter is one number within a call. Where a size is a sum that a call
does not tell apart, the sum has a name, as ``qk`` for q + k. ``...`` stands for any axes in front, such as replicates;
``*replicates`` for axes that several arrays share; ``_`` for any size; a name in braces for the value of an argument.
Fields of named tuples have shapes that say more, as ``q+k``, and nothing checks them.

The tests check the others at every call (`tests.shapes`); otherwise nothing reads them, and the library that gives them
their meaning is not loaded.
"""

import sys
from typing import TYPE_CHECKING

__all__ = ["Float", "Integer", "Shaped"]

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Float, Integer, Shaped
else:
    Float = Integer = Shaped = None
