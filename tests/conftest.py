"""Fixtures that several modules share, and what all tests agree on."""

from hypothesis import settings

from tests.finished_run import finished

__all__ = ["finished"]

# Other tests share the cores: how long one example takes says nothing, unless a test sets a limit of its own.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
