"""Machinery that moves data: queues, ledgers, endpoints. The method itself lives in ``workers``."""

import os
import signal
import sys
from pathlib import Path

__version__ = "0.1.0"


def _end(_number: int, _frame: object) -> None:
    os.write(2, b"Interrupted.\n")
    os._exit(130)


if (sys.argv[:1] == ["-m"] or (sys.argv and Path(sys.argv[0]).name == "weak2wise")) and (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    # We are the program, not a library of it. Until its command begins there is nothing to tidy up, and an exception
    # in the middle of an import is a traceback, or in a compiled module worse.
    signal.signal(signal.SIGINT, _end)
