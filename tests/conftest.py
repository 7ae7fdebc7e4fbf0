from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests import shapes

shapes.install()


@pytest.fixture(autouse=True)
def registries_as_they_were() -> Iterator[None]:
    """Let what a test registers go with it."""
    from sedyn.model.architecture import layers_of
    from sedyn.model.features import FEATURES
    from sedyn.model.functions import ACTIVATIONS, LINKS, LOSSES
    from sedyn.model.layers import HIDDEN
    from sedyn.model.noise import NOISE_LAWS

    registries = (ACTIVATIONS, LINKS, LOSSES, FEATURES, NOISE_LAWS, HIDDEN)
    before = [dict(registry) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry._entries = entries
    layers_of.cache_clear()  # it keeps what names stood for


@pytest.fixture(scope="session", autouse=True)
def the_disk_is_not_waited_for() -> Iterator[None]:
    """A power cut is not among the tests: those of what one would leave make that themselves."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def shapes_are_checked_anew() -> None:
    """Let no test rely on the calls of another."""
    shapes.calls.clear()


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Start Ray once for all tests that need it; it takes seconds. Its GPU exists for placement only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()
