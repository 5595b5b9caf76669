"""Machinery that moves data: queues, ledgers, endpoints. The method itself lives in ``workers``."""

import sys
from pathlib import Path
from types import TracebackType

__version__ = "0.1.0"


def _end(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write("Interrupted.\n")  # and Python ends by the signal, which a shell calls 130
    else:
        sys.__excepthook__(kind, error, traceback)


if sys.argv[:1] == ["-m"] or (sys.argv and Path(sys.argv[0]).name == "weak2wise"):
    # We are the program, not a library of it, and a Ctrl-C while the rest is imported is no traceback, either.
    sys.excepthook = _end
