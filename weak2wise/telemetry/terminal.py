"""Standard error, where a run shows its state: a live screen if the terminal can redraw, else lines.

Writing may fail: the terminal was closed, a disk is full, or the reader of a pipe has ended. That never stops the run.
"""

import os
import sys
from contextlib import suppress


def write_line(text: str) -> None:
    """Write a line to stderr; ignore a closed stream."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")


def can_be_drawn_on() -> bool:
    """Whether standard error is a terminal that can redraw a screen in place."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}
