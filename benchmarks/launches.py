"""What `sedyn.simulate` asks of a GPU, counted where there is none: launches, transfers and views, phase by phase.

    python benchmarks/launches.py [--sites] [--replicates R] [--steps T] [--estimate] [--dtype float32]

A device is pretended whose arrays are numpy's in a box that counts what is done with them. It has no kernels: those
launched are counted and not run, so that what stands in arrays is of no use, and nothing that is counted hangs on it.
Tests run the kernels' twins in their place and compare results with those of a CPU. Operations that cupy makes of
several launches count as many, by its source (14.x).
"""

from __future__ import annotations

import argparse
import operator
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import array_api_compat.numpy
import numpy as np

import sedyn
from sedyn.arrays import backend
from sedyn.arrays.backend import Card

H100 = Card(architecture=90, shared_memory=227 * 1024)
FREE = 2**36
PACKAGE = str(Path(sedyn.__file__).parent)
# Whoever is on the stack below is asked first; the phase is that of the innermost function that is named here.
PHASES = {
    "updates_together": "updates",
    "initial_weights_and_signals": "start",
    "_design": "designs",
    "draw": "data",
    "begin": "estimate",
    "along": "estimate",
    "readout_of": "points and labels",
    "descend_path": "descent, its set-up",
    "observe": "observations",
    "meet": "readout",
    "scores": "readout",
    "to_host": "results",
}
STEP_KERNELS = "descend", "advance_weights"
# Microseconds that the interpreter takes for a launch, at least and at most, for a view or room, and for a transfer.
LAUNCH, VIEW, TRANSFER = (5, 10), (1, 1), (15, 25)


class Event(NamedTuple):
    """Something that was asked of the device.

    Attributes
    ----------
    kind : {'kernel', 'launch', 'transfer', 'view'}
        A kernel of this project; of the library; of numbers to the device or from it; or of nothing on the device.
    name : str
    times : int
    phase, site : str
        Of the call, and where in sedyn it stands.
    """

    kind: str
    name: str
    times: int
    phase: str
    site: str


EVENTS: list[Event] = []


def asked(kind: str, name: str, times: int = 1) -> None:
    """Write down what was asked of the device."""
    if times:
        phase, site = _place(sys._getframe(1))
        EVENTS.append(Event(kind, name, times, "steps" if name in STEP_KERNELS else phase, site))


def _place(frame: FrameType | None) -> tuple[str, str]:
    """Phase, and file and line, of the innermost calls in sedyn."""
    phase = site = ""
    while frame is not None and not (phase and site):
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE):
            if not site and not file.endswith("arrays/backend.py"):
                site = f"{file[len(PACKAGE) + 1 :]}:{frame.f_lineno} {frame.f_code.co_name}"
            phase = phase or PHASES.get(frame.f_code.co_name, "")
        frame = frame.f_back
    return phase or "other", site


def unboxed(value: Any) -> Any:
    """Arrays of numpy in place of the device's, in lists and tuples too."""
    if isinstance(value, DeviceArray):
        return value.host
    if isinstance(value, np.ndarray):
        raise TypeError("an array of the host meets those of the device")
    return type(value)(map(unboxed, value)) if type(value) in (list, tuple) else value


class DeviceArray:
    """An array on the pretended device."""

    __array_ufunc__ = None

    def __init__(self, host: np.ndarray, base: DeviceArray | None = None) -> None:
        self.host = host
        self.base = None if base is None else base if base.base is None else base.base

    @property
    def data(self) -> Any:
        """Where it lies."""
        return SimpleNamespace(ptr=self.host.ctypes.data)

    def __getattr__(self, name: str) -> Any:
        if name not in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "flags"):
            raise AttributeError(name)
        return getattr(self.host, name)

    device = "device"

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return NAMESPACE

    def get(self) -> np.ndarray:
        """Bring it to the host."""
        asked("transfer", "get")
        return self.host.copy()

    def __getitem__(self, key: Any) -> DeviceArray:
        key = key if isinstance(key, tuple) else (key,)
        found = self.host[unboxed(key if Ellipsis in key else (*key, ...))]  # of one entry, too, a view
        shared = _shares(found, self.host)
        asked("view" if shared else "launch", "index")
        return DeviceArray(found, self if shared else None)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.host[unboxed(key)] = unboxed(value)
        asked("launch", "set")

    @property
    def T(self) -> DeviceArray:
        """Its axes the other way round."""
        asked("view", "T")
        return DeviceArray(self.host.T, self)

    def __bool__(self) -> bool:
        asked("transfer", "bool")
        return bool(self.host)

    def __float__(self) -> float:
        asked("transfer", "float")
        return float(self.host)

    def __int__(self) -> int:
        asked("transfer", "int")
        return int(self.host)


def _operator(name: str, function: Callable[..., Any], *, swapped: bool = False, kept: bool = False) -> None:
    def apply(own: DeviceArray, *others: Any) -> Any:
        arguments = own.host, *map(unboxed, others)
        if function is operator.matmul:
            asked("launch", name, _launches("matmul", arguments))
        else:
            asked("launch", name)
        with np.errstate(all="ignore"):
            found = function(*(arguments[::-1] if swapped else arguments))
        if kept:
            own.host[...] = found
            return own
        return DeviceArray(np.asarray(found))

    setattr(DeviceArray, name, apply)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor"):
    _own = getattr(operator, f"{_name}_" if _name in ("and", "or") else _name)
    _operator(f"__{_name}__", _own)
    _operator(f"__r{_name}__", _own, swapped=True)
    _operator(f"__i{_name}__", _own, kept=True)
for _name in ("lshift", "rshift", "lt", "le", "gt", "ge", "eq", "ne", "neg", "abs", "invert"):
    _operator(f"__{_name}__", getattr(operator, _name))
DeviceArray.__hash__ = None  # type: ignore[assignment]

VIEWS = {"reshape", "moveaxis", "matrix_transpose", "permute_dims", "broadcast_to", "expand_dims", "squeeze", "astype"}
VIEWS |= {"asarray", "diagonal"}
ROOM = {"empty", "empty_like"}


def _shares(view: np.ndarray, whole: np.ndarray) -> bool:
    """Whether nothing was copied."""
    return view.size == 0 or np.may_share_memory(view, whole)


ALL_AT_ONCE = 8  # arrays that are joined one by one; more in one launch, with their places sent


def _launches(name: str, arguments: Sequence[Any]) -> int:
    """How many launches cupy makes of one of its functions that is no view."""
    if name in ("concat", "stack"):
        return len(arguments[0]) if len(arguments[0]) <= ALL_AT_ONCE else 1
    if name == "matmul":
        a, b = arguments[:2]
        copies = sum(not each.flags.c_contiguous for each in (a, b))
        if max(a.ndim, b.ndim) <= 2:
            return 1
        pointers = 3 if a.shape[:-2] != b.shape[:-2] else 0
        return 1 + copies + pointers * (max(a.ndim, b.ndim) - 2)
    if name == "cholesky":  # a copy, pointers, the factor, and what is above it set to zero
        return 4 + max(1, arguments[0].ndim - 2)
    return {"inv": 5, "std": 3, "var": 2, "eye": 2}.get(name, 1)


class Namespace:
    """The array API on the pretended device."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._module, name)
        if name == "linalg":
            return Namespace(own)
        if not callable(own) or isinstance(own, type):
            return own

        def call(*args: Any, **kwargs: Any) -> Any:
            kwargs.pop("device", None)
            if name == "asarray" and not isinstance(args[0], DeviceArray):
                asked("transfer", "asarray")
                return DeviceArray(np.array(args[0], dtype=kwargs.get("dtype")))
            plain, others = [unboxed(each) for each in args], {key: unboxed(each) for key, each in kwargs.items()}
            with np.errstate(all="ignore"):
                try:
                    found = np.zeros_like(own(*plain, **others)) if name in ROOM else own(*plain, **others)
                except np.linalg.LinAlgError:  # a device's library says nothing
                    found = np.full_like(plain[0], np.nan)
            if name in ROOM:
                asked("view", name)
            elif name in VIEWS and _shares(found, plain[0]):
                asked("view", name)
                return DeviceArray(np.asarray(found), args[0])
            else:
                asked("launch", name, _launches(name, plain))
                if name in ("concat", "stack") and len(plain[0]) > ALL_AT_ONCE:
                    asked("transfer", name, 1 if len({each.shape for each in plain[0]}) == 1 else 3)
            return DeviceArray(np.asarray(found))

        return call


NAMESPACE = Namespace(array_api_compat.numpy)

Kernels = Callable[..., Callable[[tuple, tuple, tuple], None]]


def no_kernel(source: Path, name: str, *, shared_memory: int = 0, **macros: int | str) -> Callable[..., None]:
    """A kernel that does nothing."""
    return lambda grid, block, arguments: None


@contextmanager
def pretended(kernels: Kernels = no_kernel, card: Card = H100) -> Iterator[list[Event]]:
    """Let ``device="gpu"`` mean the pretended device.

    Parameters
    ----------
    kernels : callable, optional
        In place of `sedyn.arrays.backend.cuda_kernel`; on arrays of numpy.
    card : Card, optional

    Yields
    ------
    list of Event
        What was asked of the device.
    """
    EVENTS.clear()

    def asarray(array: Any, device: str) -> Any:
        if device == "cpu":
            return array
        asked("transfer", "asarray")
        return DeviceArray(np.array(array))

    def empty(shape: tuple[int, ...], device: str, dtype: Any = "float64") -> Any:
        if device == "cpu":
            return np.zeros(shape, dtype)
        asked("view", "empty")
        return DeviceArray(np.zeros(shape, dtype))

    def contiguous(x: Any) -> Any:
        if not isinstance(x, DeviceArray):
            return np.ascontiguousarray(x)
        if x.flags.c_contiguous:
            return x
        asked("launch", "contiguous")
        return DeviceArray(np.ascontiguousarray(x.host))

    def cuda_kernel(source: Path, name: str, **chosen: Any) -> Callable[[tuple, tuple, tuple], None]:
        kernel = kernels(source, name, **chosen)

        def launch(grid: tuple, block: tuple, arguments: tuple) -> None:
            asked("kernel", name)
            kernel(grid, block, tuple(each.host if isinstance(each, DeviceArray) else each for each in arguments))

        return launch

    def on_device(own: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any], Any]:
        def call(x: Any) -> Any:
            if not isinstance(x, DeviceArray):
                return own(x)
            asked("launch", own.__name__)
            return DeviceArray(own(x.host))

        return call

    with ExitStack() as stack:
        for name, own in {
            "resolve_device": lambda device: device,
            "device_description": lambda device: device,
            "free_device_memory": lambda device, beyond=0.0: None,
            "gpu_memory": lambda: (FREE, FREE),
            "gpu_card": lambda: card,
            "on_cuda": lambda x: isinstance(x, DeviceArray),
            "asarray": asarray,
            "empty": empty,
            "contiguous": contiguous,
            "cuda_kernel": cuda_kernel,
            "device_generator": lambda seed, device: None,
            "launches": lambda device: device == "gpu",
        }.items():
            stack.enter_context(mock.patch.object(backend, name, own))
        for name in ("erf", "ndtr", "ndtri"):
            for module in [each for each in sys.modules.values() if getattr(each, "__name__", "").startswith("sedyn.")]:
                if module.__dict__.get(name) is getattr(backend, name) and module is not backend:
                    stack.enter_context(mock.patch.object(module, name, on_device(getattr(backend, name))))
        for name in ("erf", "ndtr", "ndtri"):
            stack.enter_context(mock.patch.object(backend, name, on_device(getattr(backend, name))))
        yield EVENTS


def counted(problem: sedyn.Problem, replicates: int, kernels: Kernels = no_kernel, **how: Any) -> list[Event]:
    """What `simulate` asks of a device, the second time that it is asked for the same.

    Parameters
    ----------
    problem : Problem
    replicates : int
    kernels : callable, optional
        As for `pretended`.
    **how
        Further arguments of `sedyn.simulate`.
    """
    with pretended(kernels) as events:
        for _ in range(2):
            events.clear()
            sedyn.simulate(problem, replicates, device="gpu", engine="dense", **how)
        return list(events)


def totals(events: Sequence[Event]) -> dict[str, int]:
    """How often each kind of event was."""
    found = Counter({"kernel": 0, "launch": 0, "transfer": 0, "view": 0})
    for event in events:
        found[event.kind] += event.times
    return dict(found)


def milliseconds(events: Sequence[Event]) -> tuple[float, float]:
    """What the interpreter takes for them, at least and at most."""
    of = totals(events)
    least, most = (
        (of["kernel"] + of["launch"]) * LAUNCH[k] + of["view"] * VIEW[k] + of["transfer"] * TRANSFER[k] for k in (0, 1)
    )
    return least / 1000, most / 1000


def table(events: Sequence[Event]) -> str:
    """One line for each phase."""
    lines = [
        "| phase | own kernels | operations of the library | transfers | views | ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    phases = {event.phase: None for event in events}
    of_each = [(phase, [event for event in events if event.phase == phase]) for phase in phases]
    for name, some in [*of_each, ("all", list(events))]:
        of, (least, most) = totals(some), milliseconds(some)
        numbers = f"{of['kernel']} | {of['launch']} | {of['transfer']} | {of['view']}"
        lines.append(f"| {name} | {numbers} | {least:.2f} to {most:.2f} |")
    return "\n".join(lines)


def sites(events: Sequence[Event]) -> str:
    """One line for each place in sedyn, the most expensive first."""
    lines = []
    for site in dict.fromkeys(event.site for event in events):
        some = [event for event in events if event.site == site]
        names = Counter[str]()
        for event in some:
            names[f"{event.kind} {event.name}"] += event.times
        said = ", ".join(f"{count} {name}" for name, count in names.items())
        lines.append((milliseconds(some)[1], f"{milliseconds(some)[1]:7.3f}  {some[0].phase:20}  {site}: {said}"))
    return "\n".join(line for _, line in sorted(lines, reverse=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", action="store_true", help="also each place in the code")
    parser.add_argument("--replicates", type=int, default=64)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--estimate", action="store_true")
    parser.add_argument("--dtype", default="float32")
    asked_for = parser.parse_args()
    problem = sedyn.Problem(n=256, d=128, width=3, depth=3, steps=asked_for.steps, learning_rate=0.3, noise=0.3)
    events = counted(problem, asked_for.replicates, estimate=asked_for.estimate, dtype=asked_for.dtype)
    print(table(events))
    if asked_for.sites:
        print("\n" + sites(events))


if __name__ == "__main__":
    main()
