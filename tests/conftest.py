"""Fixtures that several modules share, and what all tests agree on."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.finished_run import finished
from tests.loopback import LoopbackProcess

__all__ = ["finished"]

# The tests start hundreds of interpreters. Where the environment says that none keeps its bytecode, each compiles the
# whole package again, which takes as long as the rest of a short run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Other tests share the cores: how long one example takes says nothing, unless a test sets a limit of its own.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackProcess]:
    """A server that does nothing amiss."""
    with LoopbackProcess() as running:
        yield running
