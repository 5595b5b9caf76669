"""Fixtures that several modules share."""

from tests.finished_run import finished

__all__ = ["finished"]

# Other tests share the cores: how long one example takes says nothing, unless a test sets a limit of its own.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")
