"""Counter-based random numbers: any of them at once, as a function of a key and of its place alone.

Words come from Philox4x32-10 (Salmon et al. 2011), whose 64-bit key and 128-bit counter are all there is of a state, so
that processes, threads and devices that share work draw the same. Normals are those of Box and Muller, two from each
counter. Every step is additions, shifts, products of 32 bits and polynomials, which the compiler turns into vector
instructions. Radii have 53 bits of a uniform variable behind them, so tails are right down to probabilities of 2^-53,
which is 8.6 standard deviations.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sedyn.arrays import backend
from sedyn.arrays.backend import Array
from sedyn.arrays.compiling import compiled, widest_vectors
from sedyn.arrays.memory import aligned_empty
from sedyn.arrays.shapes import Float, Integer
from sedyn.arrays.threads import run_each

__all__ = ["random_words", "standard_normals"]

CUDA = Path(__file__).with_name("normals.cu")
CUDA_BLOCK = 256

# Of Philox4x32: rounds, multipliers, and what the key grows by in each round.
ROUNDS = 10
MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
GROWTH = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
LOW, HALF = np.uint64(2**32 - 1), np.uint64(32)
# Counters whose numbers are made at a time: they stay in the first-level cache.
BATCH = 256
# Normals that are a thread's work.
NORMALS_PER_PART = 2**17
MANTISSA = np.int64(2**52 - 1)
ROOT_HALF = np.array(math.sqrt(0.5)).view(np.int64)[()]
LOG_2 = math.log(2)
# Series in z, the square of the variable, highest power first: artanh(s)/s for |s| < 0.172; cos(x) and sin(x)/x for
# |x| < pi/2. What they leave out is below rounding.
ARTANH = tuple(1 / k for k in range(21, 0, -2))
COSINE = tuple((-1) ** k / math.factorial(2 * k) for k in range(11, -1, -1))
SINE = tuple((-1) ** k / math.factorial(2 * k + 1) for k in range(11, -1, -1))

_compiled = compiled({"contract", "nsz", "arcp"}, error_model="numpy")


def random_words(
    keys: Integer[np.ndarray, " R"], places: Integer[np.ndarray, " R"], count: int, device: str = "cpu"
) -> Integer[Array, "R {count}"]:
    """Draw words of 64 independent random bits.

    Parameters
    ----------
    keys : ndarray of uint64, shape (R,)
    places : ndarray of uint64, shape (R,)
        The upper half of the counter.
    count : int
    device : {'cpu', 'gpu'}, optional
        Where they are drawn, the same on both.

    Returns
    -------
    array of uint64, shape (R, count)
        Words 2 c and 2 c + 1 of each row are those of counter c.
    """
    if backend.launches(device):
        return _by_kernel("random_words", keys, places, count, device, "uint64")
    out = np.empty((keys.size, 2, -(-count // 2)), np.uint64)
    _fill_words(keys, places, out)
    return backend.asarray(np.ascontiguousarray(out.transpose(0, 2, 1).reshape(keys.size, -1)[:, :count]), device)


def standard_normals(
    keys: Integer[np.ndarray, " R"],
    places: Integer[np.ndarray, " R"],
    count: int,
    dtype: str | np.dtype = "float64",
    device: str = "cpu",
) -> Float[Array, "R {count}"]:
    """Draw independent standard normals, the same whatever the number of threads.

    Parameters
    ----------
    keys, places : ndarray of uint64, shape (R,)
        As for `random_words`.
    count : int
    dtype : dtype, optional
        To which they are rounded.
    device : {'cpu', 'gpu'}, optional
        A GPU draws the same words, and makes the same normals of them but for rounding.

    Returns
    -------
    array, shape (R, count)
        Normals 2 c and 2 c + 1 of each row are those of counter c, so that fewer are the beginning of more.
    """
    if not backend.launches(device):
        return backend.asarray(_on_host(keys, places, count, dtype), device)
    return _by_kernel("standard_normals", keys, places, count, device, dtype)


def _by_kernel(
    name: str, keys: np.ndarray, places: np.ndarray, count: int, device: str, dtype: str | np.dtype
) -> Array:
    """What a kernel of ``normals.cu`` draws."""
    found, common = backend.empty((keys.size, count), device, dtype), places[0]
    # Places of all purposes differ in what all replicates share, so that these are sent once for all.
    streams = backend.constant(np.stack([keys, places ^ common]), device)
    kernel = backend.cuda_kernel(CUDA, name, NUMBER="float" if found.dtype == np.float32 else "double")
    kernel((-(-count // (2 * CUDA_BLOCK)), keys.size), (CUDA_BLOCK,), (streams, common, np.int64(count), found))
    return found


def _on_host(keys: np.ndarray, places: np.ndarray, count: int, dtype: str | np.dtype) -> np.ndarray:
    replicates, out = keys.size, aligned_empty((keys.size, count), dtype)
    if replicates * count <= NORMALS_PER_PART:
        _fill_normals(keys, places, 0, out)
        return out
    rows, columns = max(1, NORMALS_PER_PART // count), min(count, NORMALS_PER_PART)

    def fill(part: tuple[int, int]) -> None:
        some, start = slice(part[0], part[0] + rows), part[1]
        _fill_normals(keys[some], places[some], start, out[some, start : start + columns])

    run_each(fill, [(row, start) for row in range(0, replicates, rows) for start in range(0, count, columns)])
    return out


@_compiled
def _draw_words(key: int, place: int, first: int, words: np.ndarray) -> None:
    """Set the two words of as many counters as there are columns, shape (2, m)."""
    widest_vectors()
    first_key, second_key, c2, c3 = key & LOW, key >> HALF, place & LOW, place >> HALF
    for i in range(words.shape[1]):
        counter = np.uint64(first) + np.uint64(i)
        a, b, c, d, k, m = counter & LOW, counter >> HALF, c2, c3, first_key, second_key
        for _ in range(ROUNDS):
            p, q = (a & LOW) * MULTIPLIERS[0], (c & LOW) * MULTIPLIERS[1]
            a, b, c, d = (q >> HALF) ^ b ^ k, q & LOW, (p >> HALF) ^ d ^ m, p & LOW
            k, m = (k + GROWTH[0]) & LOW, (m + GROWTH[1]) & LOW
        words[0, i], words[1, i] = a | (b << HALF), c | (d << HALF)


@_compiled
def _fill_words(keys: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    for r in range(out.shape[0]):
        _draw_words(keys[r], places[r], 0, out[r])


@_compiled
def _fill_normals(keys: np.ndarray, places: np.ndarray, first: int, out: np.ndarray) -> None:
    widest_vectors()
    words, radii, cosines, sines = np.empty((2, BATCH), np.uint64), np.empty(BATCH), np.empty(BATCH), np.empty(BATCH)
    bits = radii.view(np.int64)
    for r in range(out.shape[0]):
        for start in range(0, out.shape[1], 2 * BATCH):
            _draw_words(keys[r], places[r], (first + start) // 2, words)
            for i in range(BATCH):
                radii[i] = 1.0 - float(words[0, i] >> np.uint64(11)) * 2.0**-53  # in (0, 1]
            for i in range(BATCH):
                # Its logarithm: 2^exponent m with m between the roots of 1/2 and 2, and log m = 2 artanh s.
                shifted = bits[i] - ROOT_HALF
                cosines[i] = float(shifted >> 52)
                bits[i] = (shifted & MANTISSA) + ROOT_HALF
            for i in range(BATCH):
                s = (radii[i] - 1) / (radii[i] + 1)
                z = s * s
                series = 0.0
                for coefficient in ARTANH:
                    series = series * z + coefficient
                radii[i] = math.sqrt(-2 * (cosines[i] * LOG_2 + 2 * s * series))
            for i in range(BATCH):
                # Half the angle, between -pi/2 and pi/2, and then twice it.
                angle = (float(words[1, i] >> np.uint64(11)) * 2.0**-53 - 0.5) * math.pi
                z = angle * angle
                cosine = sine = 0.0
                for coefficient in COSINE:
                    cosine = cosine * z + coefficient
                for coefficient in SINE:
                    sine = sine * z + coefficient
                sine *= angle
                cosines[i] = radii[i] * (1 - 2 * sine * sine)
                sines[i] = radii[i] * (2 * sine * cosine)
            pairs = min(BATCH, (out.shape[1] - start) // 2)
            for i in range(pairs):
                out[r, start + 2 * i] = cosines[i]
                out[r, start + 2 * i + 1] = sines[i]
            if start + 2 * pairs < out.shape[1] and pairs < BATCH:
                out[r, start + 2 * pairs] = cosines[pairs]
