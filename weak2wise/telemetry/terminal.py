"""Standard error, where a run talks to its user: a picture on a terminal that can be drawn on, else lines.

Nobody may be there any more: a closed terminal, a full disk behind it, a reader that has ended. That costs no run.
"""

import os
import sys
from contextlib import suppress


def tell(text: str) -> None:
    """Say it, if anybody can hear it."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")


def can_be_drawn_on() -> bool:
    """Whether standard error is a terminal on which a picture can be drawn anew in its place."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}
