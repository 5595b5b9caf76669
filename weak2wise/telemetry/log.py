"""Structured logs: every event of a run as a JSON line in that run's ``run.log``.

Event names are dotted (``record.failed``), facts are fields. Several runs may live in one process, so nothing here is
process-wide: an event goes to the log of the run in whose context it happens (``RunLog.active``), with the facts that
are known there (``log_facts``). What happens to an endpoint concerns every run that uses it: ``host_log`` writes to
the logs of all runs of one host. Outside of a run events go nowhere.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from weak2wise.telemetry.plain import plain

_SHOWN = {"warning", "error", "critical"}
_LONGEST = 400
"""Characters that the user is shown of an event; ``run.log`` has all of it."""
_NOT_SHOWN = {"event", "level", "timestamp", "exception"}

_facts: ContextVar[Mapping[str, object]] = ContextVar("log_facts", default={})  # noqa: B039 - never changed in place
_run_log: ContextVar["RunLog | None"] = ContextVar("run_log", default=None)


class Echo(NamedTuple):
    """Who is shown events beside the log: a line for each warning, for ``progress``, or for ``everything``."""

    show: Callable[[str], None]
    progress: bool = False
    everything: bool = False


class RunLog:
    """One run's ``run.log``.

    Args:
        path: the file to append to.
        redact: cuts this run's secrets out of every text.
        echo: who is shown events, too; ``None``: nobody.
        peers: the logs of all runs of the same host; this one joins them while it is active.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        redact: Callable[[str], str],
        *,
        echo: Echo | None = None,
        peers: "set[RunLog] | None" = None,
    ) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file: TextIOWrapper = os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8")
        self._redact = redact
        self._lock = threading.Lock()
        self._echo = echo
        self.peers = set() if peers is None else peers

    @contextmanager
    def active(self) -> Iterator[None]:
        """Events that happen inside, and in tasks and threads started inside, are written to this log."""
        token = _run_log.set(self)
        self.peers.add(self)
        try:
            yield
        finally:
            self.peers.discard(self)
            _run_log.reset(token)

    def write(self, event: EventDict) -> None:
        """Write one event; a full disk costs the line, not the run."""
        clean = {key: self._redact(value) if isinstance(value, str) else value for key, value in event.items()}
        line = json.dumps(clean, ensure_ascii=False, default=str)
        with self._lock, suppress(OSError, ValueError):
            self._file.write(f"{line}\n")
            self._file.flush()
        if self._echo:
            self._show(clean, self._echo)

    @staticmethod
    def _show(event: EventDict, echo: Echo) -> None:
        """Warnings, short and free of control characters; progress is never cut.

        What progress says of the last endpoint counts as much as what it says of the first.
        """
        progress = event.get("event") == "progress"
        if echo.everything or (progress and echo.progress) or event.get("level") in _SHOWN:
            fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in _NOT_SHOWN)
            line = plain(f"{event['timestamp'][11:19]} {event['event']} {fields}")
            echo.show(line if progress else line[:_LONGEST])

    def close(self) -> None:
        """Close the file; later events are lost."""
        with suppress(OSError):
            self._file.close()


@contextmanager
def log_facts(**facts: object) -> Iterator[None]:
    """Add facts to every event that happens inside, and in tasks started inside: which row, which call."""
    token = _facts.set({**_facts.get(), **facts})
    try:
        yield
    finally:
        _facts.reset(token)


def _deliver(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if run_log := _run_log.get():
        run_log.write({**_facts.get(), **event})
    raise structlog.DropEvent


def _deliver_to_all(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if run_log := _run_log.get():
        for each in tuple(run_log.peers | {run_log}):
            # Whose call it was is known for one run alone.
            each.write({**_facts.get(), **event} if each is run_log else dict(event))
    raise structlog.DropEvent


def _logger(deliver: Processor) -> Any:
    return structlog.wrap_logger(
        None,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            deliver,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        context_class=dict,
        cache_logger_on_first_use=True,
    )


log = _logger(_deliver)
"""For what concerns one run."""
host_log = _logger(_deliver_to_all)
"""For what concerns every run of a host: its endpoints and engines."""
