"""What the server has seen: counts by model and by request, and the log that outlives the server.

A request is known by the digest of its body, so two askings of the same thing count as the same request. *Answered*
means that the last byte of a whole answer was handed to the operating system while the client was still connected: a
moment before the client can know. A harness that kills clients allows for answers that were under way.
"""

import os
import time
from pathlib import Path
from typing import Literal, Self

import msgspec
from msgspec import Struct, field

Event = Literal["received", "answered", "failed"]


class ModelCount(Struct):
    """The requests for one model; ``failed`` counts by reason, a fault's kind or one of the server's own words.

    The server's words: ``rate_limited`` (``--rpm``), ``too_many`` (``--max-in-flight``), ``no_such_model``, and
    ``abandoned`` where the client went away first.
    """

    received: int = 0
    answered: int = 0
    in_flight: int = 0
    max_in_flight: int = 0
    failed: dict[str, int] = field(default_factory=dict)


class RequestCount(Struct):
    """How often one body was asked, and how often the whole answer was sent."""

    asked: int = 0
    answered: int = 0


class Stats(Struct):
    """Counts by model name and by body digest; what ``GET /_stats`` shows."""

    models: dict[str, ModelCount] = field(default_factory=dict)
    requests: dict[str, RequestCount] = field(default_factory=dict)


class LogLine(Struct, omit_defaults=True):
    """One line of the log; ``t`` is the monotonic clock in seconds, the same for all processes of a machine."""

    event: Event
    t: float
    model: str
    digest: str
    reason: str = ""


class Recorder:
    """Counts, and logs each event before anything else happens; use as a context manager to close the log."""

    def __init__(self, log: Path | None = None) -> None:
        self.stats = Stats()
        # One unbuffered append an event: what was logged stays, however the server ends.
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._log is not None:
            os.close(self._log)

    def received(self, model: str, digest: str) -> tuple[ModelCount, RequestCount]:
        """A request came in."""
        count = self.stats.models.get(model)
        if count is None:
            count = self.stats.models[model] = ModelCount()
        request = self.stats.requests.get(digest)
        if request is None:
            request = self.stats.requests[digest] = RequestCount()
        count.received += 1
        count.in_flight += 1
        count.max_in_flight = max(count.max_in_flight, count.in_flight)
        request.asked += 1
        self._write("received", model, digest)
        return count, request

    def ended(self, model: str, digest: str, failure: str | None) -> None:
        """A request that was received is over: answered, or failed for a reason."""
        count = self.stats.models[model]
        count.in_flight -= 1
        if failure is None:
            count.answered += 1
            self.stats.requests[digest].answered += 1
            self._write("answered", model, digest)
        else:
            count.failed[failure] = count.failed.get(failure, 0) + 1
            self._write("failed", model, digest, failure)

    def _write(self, event: Event, model: str, digest: str, reason: str = "") -> None:
        if self._log is not None:
            line = LogLine(event=event, t=time.monotonic(), model=model, digest=digest, reason=reason)
            os.write(self._log, msgspec.json.encode(line) + b"\n")


def read_log(path: Path) -> list[LogLine]:
    """All lines of a log, oldest first; one still being written is left out."""
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [msgspec.json.decode(line, type=LogLine) for line in whole.splitlines()]
