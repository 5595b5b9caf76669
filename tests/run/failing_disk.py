"""The engine on a disk that fails: ``python -m tests.run.failing_disk ERRNO BYTES FOLDER run --config …``.

Writes to files below FOLDER go through until BYTES bytes are written. The write that crosses the line is cut short
there; every later one, and every fsync, fails with ERRNO (``EIO``, ``ENOSPC``).
"""

import errno
import os
import sys
from pathlib import Path

from weak2wise.commands import run_command_line


def fail_after(number: int, budget: int, folder: str) -> None:
    """Put the failing layer between this process and its files."""
    write, fsync = os.write, os.fsync

    def hit(fd: int) -> bool:
        return str(Path(f"/proc/self/fd/{fd}").readlink()).startswith(folder)

    def failing_write(fd: int, data: "bytes | memoryview") -> int:
        nonlocal budget
        if not hit(fd):
            return write(fd, data)
        if budget <= 0:
            raise OSError(number, os.strerror(number))
        written = write(fd, data[:budget])
        budget -= written
        return written

    def failing_fsync(fd: int) -> None:
        if budget <= 0 and hit(fd):
            raise OSError(number, os.strerror(number))
        fsync(fd)

    os.write, os.fsync = failing_write, failing_fsync  # type: ignore[assignment]


if __name__ == "__main__":
    fail_after(getattr(errno, sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    del sys.argv[1:4]
    run_command_line()
