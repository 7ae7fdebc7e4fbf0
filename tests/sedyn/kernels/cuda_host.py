"""CUDA kernels compiled for the host, in the place of `sedyn.arrays.backend.cuda_kernel`, on numpy arrays."""

import ctypes
import functools
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from sedyn.arrays import backend

HEADER = Path(__file__).with_name("cuda_host.h")


def compile_for_host(code, to, *options):
    # Compiling is most of what these tests cost: C++14 has the smaller <cmath>.
    command = ["g++", "-std=gnu++14", "-fPIC", "-Wno-unknown-pragmas", f"-I{HEADER.parent}", *options]
    subprocess.run([*command, "-o", to, *([code] if isinstance(code, Path) else code)], check=True, timeout=120)


@functools.cache
def host_library(runtime, source, name, macros):
    """Compile a kernel for the host: a function of a grid, a block, shared memory and pointers to the arguments."""
    with TemporaryDirectory() as folder:
        code, library = Path(folder) / "kernel.cpp", Path(folder) / "kernel.so"
        code.write_text(
            f'#include "{HEADER}"\n{backend.cuda_source(source, **dict(macros))}\n'
            f"static void body(void** arguments) {{ call({name}, arguments); }}\n"
            'extern "C" void run(unsigned x, unsigned y, unsigned block, unsigned cluster, size_t bytes, void** p) {\n'
            "    run_grid(body, p, {x, y}, block, cluster, bytes);\n}\n"
        )
        compile_for_host([code, runtime], library, "-O0", "-shared")
        return ctypes.CDLL(str(library)).run


# Kernels that are told the strides of what they are given.
TAKE_STRIDES = "adjoints", "row_moments"
SCALARS = {np.int64: ctypes.c_longlong, np.uint64: ctypes.c_ulonglong, np.float64: ctypes.c_double}


def host_kernel(runtime, source, name, *, shared_memory=0, **macros):
    """Stand in for `backend.cuda_kernel`, on numpy arrays."""
    run, cluster = host_library(runtime, source, name, tuple(macros.items())), macros.get("CLUSTER", 1)

    def kernel(grid, block, arguments):
        values = []
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                assert argument.dtype in (np.float64, np.float32, np.uint64, np.int64)
                assert argument.flags.c_contiguous or name in TAKE_STRIDES
                values.append(ctypes.c_void_p(argument.ctypes.data))
            else:
                values.append(SCALARS[type(argument)](argument))
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(value) for value in values))
        run(*grid, *block, cluster, ctypes.c_size_t(shared_memory), pointers)

    return kernel
