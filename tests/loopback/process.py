"""The server as a process of its own, and what both sides of that agree on."""

import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import structs

from tests.loopback.batch import BatchSettings
from tests.loopback.batches import BatchStats
from tests.loopback.counts import RequestCount, Stats
from tests.loopback.server import HOST, Settings

ROOT = Path(__file__).resolve().parents[2]


class LoopbackProcess:
    """``python -m tests.loopback`` for as long as a ``with`` block lasts.

    It starts in the constructor and is ready when that returns, about half a second later. That, ``stop`` and the
    look-ups block. It ends by itself if the process that started it dies, however that happens.

    Args:
        port: where to listen; 0 takes a free one.
        uvloop: whether the server runs on uvloop.
        **settings: the fields of ``Settings``.

    Raises:
        RuntimeError: the server did not start; the message holds what it said.
    """

    def __init__(self, *, port: int = 0, uvloop: bool = True, **settings: Any) -> None:
        chosen = Settings(**settings)
        with tempfile.TemporaryDirectory() as folder:
            port_file, said = Path(folder) / "port", Path(folder) / "said"
            with said.open("wb") as output:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "tests.loopback", "--until-eof"),
                        *("--port", str(port), "--port-file", str(port_file)),
                        *(["--uvloop"] if uvloop else []),
                        *_flags(chosen),
                    ],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            deadline = time.monotonic() + 30
            while not port_file.exists():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"the loopback server did not start:\n{said.read_text()}")
                time.sleep(0.005)
            self.port = int(port_file.read_text())
        scheme = "https" if chosen.tls else "http"
        self.base_url = f"{scheme}://{HOST}:{self.port}/v1"

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and wait for it; does nothing if it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def stats(self) -> Stats:
        """The counts, as the running server tells them (not over TLS)."""
        return msgspec.json.decode(self._read("_stats"), type=Stats)

    def batches(self) -> BatchStats:
        """The counts of files and batches, likewise."""
        return msgspec.json.decode(self._read("_batches"), type=BatchStats)

    def _read(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/{path}", timeout=30) as response:
            read: bytes = response.read()
            return read

    def requests(self) -> dict[str, RequestCount]:
        """Every request body's digest, and how often it was asked and answered."""
        return self.stats().requests

    def asked_each_once(self) -> bool:
        """Whether something was asked, and nothing twice."""
        counts = [request.asked for request in self.requests().values()]
        return counts != [] and set(counts) == {1}


def _flags(settings: Settings) -> list[str]:
    """The command line that says these settings."""
    flags = []
    for name, value in structs.asdict(settings).items():
        if value is None or value == () or value == BatchSettings():
            continue
        match name:
            case "faults" | "batches":
                text = msgspec.json.encode(value).decode()
            case "log":
                text = str(Path(value).resolve())  # the server runs in another folder
            case _:
                text = str(value)
        flags.append(f"--{name.replace('_', '-')}={text}")
    return flags
