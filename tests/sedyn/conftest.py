from __future__ import annotations

import pytest

from tests.sedyn import pretend_gpu as pretended


@pytest.fixture
def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``device="gpu"`` a strict library's second device, see `tests.sedyn.pretend_gpu`."""
    pretended.install(monkeypatch)
