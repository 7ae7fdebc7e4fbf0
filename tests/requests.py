"""What command lines ask for, each read once for all tests: composing is most of what such tests cost."""

from functools import cache

import pytest

from sweeps.application import sweep
from sweeps.application.request import Request


@cache
def request_of(*words: str) -> Request:
    """What a command line asks for, as the application reads it."""
    asked: list[Request] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sweep, "run", lambda request: asked.append(request) or 0)
        assert sweep.main(words) == 0
    (request,) = asked
    return request
