"""Shapes of arrays as a part of signatures, such as ``Float[Array, "q n"]``.

Dimensions have the letters of the docs (n samples, d features, q units, k signals, T steps, N points), ``...`` stands
for axes of replicates in front. The tests check these annotations at every call (`tests.shapes`); otherwise nothing
reads them, and the library that gives them their meaning is not loaded.
"""

import sys
from typing import TYPE_CHECKING

__all__ = ["Float", "Integer", "Shaped"]

if TYPE_CHECKING or "jaxtyping" in sys.modules:
    from jaxtyping import Float, Integer, Shaped
else:
    Float = Integer = Shaped = None
