"""Fixtures that several modules share, and what all tests agree on."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.finished_run import finished
from tests.loopback import LoopbackProcess

__all__ = ["finished"]

# Other tests share the cores: how long one example takes says nothing, unless a test sets a limit of its own.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackProcess]:
    """A server that does nothing amiss."""
    with LoopbackProcess() as running:
        yield running
