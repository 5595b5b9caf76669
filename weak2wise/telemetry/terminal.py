"""Standard streams, where a run shows its state: a live screen if the terminal can redraw, else lines.

Writing may fail: the terminal was closed, a disk is full, or the reader of a pipe has ended. That never stops the run.
Writing may also block, for as long as nobody reads: a stalled ssh connection, Ctrl-S, a pipe to a program that waits. A
blocked event loop hears no signal and loses every answer that arrives. So the program writes through a thread.
"""

import io
import os
import select
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TextIO

MOST_WAITING = 1 << 18
"""Bytes that wait for a reader at most. Further lines are left out, and how many is shown in their place."""
UNREAD_SECONDS = 2.0
"""How long the end of the program waits for a reader."""


class QueuedStream(io.TextIOBase):
    """A text stream whose ``write`` never blocks: a thread writes to ``stream``'s file descriptor, if it has one.

    ``write`` and ``drained`` raise ``OSError`` once the thread could not write. The thread never takes Python's lock of
    the stream, so it cannot hold up the end of the program.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        try:
            self._fd = stream.fileno()
        except OSError:  # it is in memory, so it never blocks
            self._fd = -1
        self._changed = threading.Condition()  # it is re-entrant: a signal handler may write, too
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """The stream's."""
        return self._stream.errors

    def fileno(self) -> int:
        """The stream's."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """It is."""
        return True

    @property
    def is_behind(self) -> bool:
        """Whether something waits to be written."""
        return self._size > 0

    def write(self, text: str) -> int:
        """Have it written, or left out if too much waits. Raises ``OSError``."""
        if self._fd < 0:
            return self._stream.write(text)
        data = text.encode(self.encoding, self.errors or "strict")
        with self._changed:
            if self._error:
                raise self._error
            if self._size + len(data) > MOST_WAITING:
                self._left_out += text.count("\n")
            else:
                self._enqueue(data)
        return len(text)

    def drained(self, seconds: float | None = None) -> bool:
        """Wait until everything is written, or for so many seconds; returns whether it is. Raises ``OSError``."""
        with self._changed:
            done = self._changed.wait_for(lambda: self._error or not self._size, seconds)
            if self._error:
                raise self._error
        return bool(done)

    def _enqueue(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)
        if self._thread is None:
            self._thread = threading.Thread(target=self._write_all, name="stream", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                data = self._waiting.popleft()
            try:
                _write(self._fd, data)
            except OSError as error:
                with self._changed:
                    self._error = error
                    self._changed.notify_all()
                return
            with self._changed:
                self._size -= len(data)
                if self._left_out and not self._size:
                    self._enqueue(f"… {self._left_out:,} lines are left out here: nobody was reading.\n".encode())
                    self._left_out = 0
                self._changed.notify_all()


def _write(fd: int, data: bytes) -> None:
    """Write all of it, whether or not the file descriptor blocks."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # another program that has the terminal open made it so
            select.select([], [fd], [])


def write_line(text: str) -> None:
    """Write a line to stderr; ignore a closed stream."""
    with suppress(OSError, ValueError):
        sys.stderr.write(f"{text}\n")


def wait_for_reader() -> bool:
    """Wait up to ``UNREAD_SECONDS`` until what was written to stderr is out; returns whether it is. Blocks."""
    try:
        return not isinstance(sys.stderr, QueuedStream) or sys.stderr.drained(UNREAD_SECONDS)
    except OSError:
        return False


def can_be_drawn_on() -> bool:
    """Whether standard error is a terminal that can redraw a screen in place."""
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in {"dumb", "unknown"}
