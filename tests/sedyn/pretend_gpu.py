"""A GPU that any machine has: the second device of a library that keeps the array API standard to the letter.

An operation that mixes its arrays with those of the host is an error, and so is handing one to numpy. Beyond that,
kernels may only use what cupy has, called as cupy can be called (`tests.sedyn.cupy_interface`).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

import array_api_strict
import numpy as np
import pytest

from sedyn.arrays import backend
from tests.sedyn import cupy_interface

DEVICE = array_api_strict.Device("device1")
Array = type(array_api_strict.asarray(0.0))


def on_device(array: Any) -> Any:
    """Copy an array to the pretend device."""
    return array_api_strict.asarray(array, device=DEVICE)


class CupyLike:
    """The strict namespace, less what cupy's lacks.

    Parameters
    ----------
    module : module
    parameters : dict of str to str
        Of each function, by its name with `prefix`, as in the table of cupy's interface.
    prefix : str, optional
    """

    __name__ = "array_api_strict"

    def __init__(self, module: ModuleType, parameters: dict[str, str], prefix: str = "") -> None:
        self._module, self._parameters, self._prefix = module, parameters, prefix

    def __getattr__(self, name: str) -> Any:
        own, full = getattr(self._module, name), self._prefix + name
        if isinstance(own, ModuleType):
            return CupyLike(own, self._parameters, full + ".")
        if not callable(own) or isinstance(own, type(array_api_strict.float64)):
            return own
        assert full in self._parameters, f"cupy has no {full}"

        def call(*args: Any, **kwargs: Any) -> Any:
            cupy_interface.signature_of(self._parameters[full]).bind(*args, **kwargs)
            return own(*args, **kwargs)

        return call


def install(patch: pytest.MonkeyPatch) -> None:
    """Let ``device="gpu"`` mean the pretend device, and its arrays behave as cupy's."""
    table = cupy_interface.load()
    namespace = CupyLike(array_api_strict, table["functions"])
    patch.setattr(Array, "__array_namespace__", lambda array, api_version=None: namespace)
    # The door to the host that cupy has.
    patch.setattr(Array, "get", lambda array: np.asarray(array._array), raising=False)
    # Functions that cupy has and the strict library has not: no way to the host.
    on_host = backend._on_host
    patch.setattr(backend, "_on_host", lambda f, x: on_device(f(x._array)) if isinstance(x, Array) else on_host(f, x))

    def getattribute(array: Any, name: str) -> Any:
        assert name in table["array"] or name.startswith("_"), f"cupy's arrays have no {name}"
        return object.__getattribute__(array, name)

    patch.setattr(Array, "__getattribute__", getattribute)
    for name in set(dir(operator)) & set(vars(Array)) - set(table["array"]):
        patch.delattr(Array, name)
    patch.setattr(backend, "resolve_device", lambda device: device)
    patch.setattr(backend, "device_description", lambda device: device)
    patch.setattr(backend, "free_device_memory", lambda device, beyond=0.0: None)
    patch.setattr(backend, "gpu_memory", lambda: (2**24, 2**24))
    patch.setattr(backend, "asarray", lambda array, device: array if device == "cpu" else on_device(array))
    patch.setattr(
        backend,
        "empty",
        lambda shape, device, dtype="float64": backend.asarray(np.full(shape, np.nan, dtype), device),
    )
    # Drawn on the host, numbers are the same on both devices.
    patch.setattr(backend, "device_generator", lambda seed, device: None)


def count_transfers(patch: pytest.MonkeyPatch) -> list[str]:
    """Let every way from the pretend device to the host leave its name in a list."""
    ways: list[str] = []

    def counting(name: str) -> Callable[[Any], Any]:
        way = getattr(Array, name)
        return lambda array: ways.append(name) or way(array)

    for name in ("get", "__bool__", "__float__", "__int__"):
        patch.setattr(Array, name, counting(name))
    return ways


def count_launches(patch: pytest.MonkeyPatch) -> list[str]:
    """Let every operation on the pretend device leave its name in a list: what a GPU's library launches, one by one."""
    launches: list[str] = []

    def counting(name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: launches.append(name) or own(*args, **kwargs)

    look_up = CupyLike.__getattr__

    def function(namespace: CupyLike, name: str) -> Any:
        own = look_up(namespace, name)
        return counting(name, own) if callable(own) and name not in VIEWS and not isinstance(own, CupyLike) else own

    patch.setattr(CupyLike, "__getattr__", function)
    for name in ARITHMETIC:
        for form in (f"__{name}__", f"__r{name}__", f"__i{name}__"):
            if form in vars(Array):
                patch.setattr(Array, form, counting(form, getattr(Array, form)))
    for form in ("__neg__", "__setitem__", "__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__invert__"):
        patch.setattr(Array, form, counting(form, getattr(Array, form)))
    return launches


# Operators that two arrays have, and functions that only look at an array in another way, or only make room.
ARITHMETIC = (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
)
VIEWS = ("reshape", "moveaxis", "matrix_transpose", "permute_dims", "broadcast_to", "expand_dims", "empty", "float64")


class DeviceGenerator:
    """A generator on the pretend device that has the methods of cupy's, with the numbers of numpy's.

    Parameters
    ----------
    seed : SeedSequence
    convert : callable, optional
        Takes numbers to the device.
    """

    def __init__(self, seed: np.random.SeedSequence, convert: Callable[[np.ndarray], Any] = on_device) -> None:
        self._rng, self._convert = np.random.default_rng(seed), convert
        self._parameters = cupy_interface.load()["generator"]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        assert name in self._parameters, f"cupy's generators have no {name}"

        def draw(*args: Any, **kwargs: Any) -> Any:
            cupy_interface.signature_of(self._parameters[name]).bind(*args, **kwargs)
            return self._convert(getattr(self._rng, name)(*args, **kwargs))

        return draw


def draw_on_device(patch: pytest.MonkeyPatch) -> None:
    """Let the pretend device draw its own numbers, as a GPU does."""
    patch.setattr(backend, "device_generator", lambda seed, device: DeviceGenerator(seed) if device == "gpu" else None)
