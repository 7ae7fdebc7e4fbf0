import shutil

import numpy as np
import pytest

from sedyn.arrays import backend
from sedyn.arrays.backend import Card
from sedyn.kernels import dispatch
from tests.sedyn.kernels.cuda_host import HEADER, compile_for_host, host_kernel

H100 = Card(architecture=90, shared_memory=227 * 1024)


@pytest.fixture(scope="session")
def runtime(tmp_path_factory):
    """What runs kernels on the host, compiled once."""
    found = tmp_path_factory.mktemp("cuda") / "runtime.o"
    compile_for_host(HEADER.with_name("cuda_host.cpp"), found, "-O1", "-c")
    return found


@pytest.fixture
def on_host(monkeypatch, request):
    """Call a function with its kernel compiled for the host, and count that it was launched."""
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler")
    launches, runtime = [], request.getfixturevalue("runtime")

    def counted(*args, **macros):
        kernel = host_kernel(runtime, *args, **macros)

        def launch(*grid_block_and_arguments):
            launches.append(args[1])
            kernel(*grid_block_and_arguments)

        return launch

    def call(function, *args, card=H100, **kwargs):
        with monkeypatch.context() as patch:
            patch.setattr(backend, "on_cuda", lambda x: True)
            patch.setattr(backend, "cuda_kernel", counted)
            patch.setattr(backend, "gpu_card", lambda: card)
            patch.setattr(backend, "asarray", lambda array, device: np.array(array))
            patch.setattr(backend, "empty", lambda shape, device, dtype="float64": np.zeros(shape, dtype))
            for operation in (dispatch.descend_path, dispatch.remove_own_gradients, dispatch.average_scores):
                # Those of a CPU would take the host's arrays.
                kept = [each for each in operation._kernels if each[1].__module__.startswith("sedyn.kernels.cuda")]
                patch.setattr(operation, "_kernels", kept)
            launches.clear()
            result = function(*args, **kwargs)
        assert launches
        return result

    call.launches = launches
    return call
