"""What holds for every test of an engine."""

import gc
import warnings
from collections.abc import Iterator

import pytest


def free_engines() -> None:
    """Free the engines that a test left behind here, not in a later test: vLLM leaves its ZeroMQ context open."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[Uu]nclosed context", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def _freed_after_each_test() -> Iterator[None]:
    yield
    free_engines()


@pytest.fixture(autouse=True, scope="module")
def _freed_after_the_last() -> Iterator[None]:
    """An engine that several tests share is let go after the last one's own clean-up."""
    yield
    free_engines()


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure() -> None:
    """What only the session still held is freed before pytest itself looks for what was left open."""
    free_engines()
