"""Somewhere to write to that nobody reads, for tests of what an engine does then."""

import os
import pty
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def unread(place: str) -> Iterator[int]:
    """A file descriptor to write to, whose other end is open, not read, and full already."""
    ours, theirs = os.pipe() if place == "pipe" else pty.openpty()
    os.set_blocking(theirs, False)
    with suppress(BlockingIOError):
        while True:
            os.write(theirs, b"x" * 100)
    with suppress(BlockingIOError):
        while True:
            os.write(theirs, b"x")
    os.set_blocking(theirs, True)
    try:
        yield theirs
    finally:
        os.close(theirs)
        os.close(ours)
