"""Structured logs: every event as a JSON line in ``run.log``, warnings and progress also on the terminal.

Event names are dotted (``record.failed``), facts are fields. Secrets are cut out of every value on the way.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.terminal import can_be_drawn_on, tell

_SHOWN = {"warning", "error", "critical"}
_LONGEST = 400
"""Characters that the user is shown of an event; ``run.log`` has all of it."""


class _LogFile:
    """A file that a full disk cannot make fatal: losing a log line must not lose a run."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> None:
        try:
            self._file.write(text)
        except OSError:
            return

    def flush(self) -> None:
        try:
            self._file.flush()
        except OSError:
            return


def configure(path: Path, redact: Callable[[str], str], *, verbose: bool = False) -> None:
    """Send this process's structlog events to ``path``, each text through ``redact``. Raises ``OSError``.

    ``verbose`` shows the user every one of them as well.
    """
    file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "a", encoding="utf-8")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redacting(redact),
            _echoing(verbose),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=_LogFile(file)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


def silence() -> None:
    """Show nothing of this process's events but errors' tracebacks, until a log is configured.

    structlog's own default is standard output, which belongs to what a command is asked for.
    """

    def show(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if "exception" in event:
            tell(event["exception"])
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, show], cache_logger_on_first_use=False)


def _redacting(redact: Callable[[str], str]) -> Processor:
    def clean(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: redact(value) if isinstance(value, str) else value for key, value in event.items()}

    return clean


def _echoing(verbose: bool) -> Processor:
    """Warnings also go to the user, short and free of control characters; so does progress where there is no picture.

    Progress is never cut: what it tells of the last endpoint counts as much as what it tells of the first.
    """

    def echo(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        progress = event.get("event") == "progress"
        if verbose or (progress and not can_be_drawn_on()) or event.get("level") in _SHOWN:
            hidden = {"event", "level", "timestamp", "exception"}
            fields = " ".join(f"{k}={v}" for k, v in event.items() if k not in hidden)
            line = plain(f"{event['timestamp'][11:19]} {event['event']} {fields}")
            tell(line if progress else line[:_LONGEST])
        return event

    return echo
