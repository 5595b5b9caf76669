"""Fixtures that several modules share."""

from tests.finished_run import finished

__all__ = ["finished"]
