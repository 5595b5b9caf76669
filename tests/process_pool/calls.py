"""Functions that are called in other processes, most of them badly behaved."""

import os
import signal
import time

from weak2wise.process_pool import MEMORY_LIMIT


def double(number: int) -> int:
    return 2 * number


def worker_id() -> int:
    return os.getpid()


def hang() -> None:
    while True:
        pass


def hang_deep_in_c() -> int:
    return len(str(3 ** (10**9)))


def crash() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise LookupError("nothing there")


def devour() -> int:
    return len(bytearray(MEMORY_LIMIT))


def slow_start() -> None:
    time.sleep(1.5)


def busy(seconds: float) -> str:
    """Take so many seconds of CPU time."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "done"
