"""Structured logs: every event of a run as a JSON line in that run's ``run.log``.

Event names are dotted (``record.failed``), facts are fields. Several runs may live in one process, so nothing here is
process-wide: an event goes to the log of the run in whose context it happens (``RunLog.active``), with the facts set
there (``log_facts``). Events of an endpoint concern every run that uses it: ``host_log`` writes them to the logs of all
runs of one host. Events outside of a run are dropped.
"""

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from weak2wise.telemetry.plain import plain

_SHOWN = {"warning", "error", "critical"}
MAX_BYTES = 128 << 20
"""The size at which ``run.log`` becomes ``run.log.1``, that one ``run.log.2``, and so on."""
OLDER_LOGS = 7
"""How many of these are kept."""
_BEGINNING = "run.started"
"""The event that says what the run is; it is repeated at the beginning of a new file, as readers need it."""
_LONGEST = 400
"""Characters of an event that the user sees; ``run.log`` has all of it."""
_AT_FIRST = 6
"""Lines of progress that are shown as they come; after that one of so many, which is one a minute."""
_NOT_SHOWN = {"event", "level", "timestamp", "exception"}
_OURS = {"event", "level", "timestamp"}
"""Fields that hold nothing foreign; readers of the log rely on them, so a secret like "info" does not change them."""

_AS_JSON = json.JSONEncoder(ensure_ascii=False, default=str).encode
"""``json.dumps`` would make an encoder for each event."""

_facts: ContextVar[Mapping[str, object]] = ContextVar("log_facts", default={})  # noqa: B039 - never changed in place
_run_log: ContextVar["RunLog | None"] = ContextVar("run_log", default=None)


class Echo(NamedTuple):
    """Shows events to the user, too: a line for each warning, also for ``progress``, or for ``everything``."""

    show: Callable[[str], None]
    progress: bool = False
    everything: bool = False


class RunLog:
    """One run's ``run.log``, which never grows beyond a bound: then it is renamed, by a thread, and a new one begun.

    Args:
        path: the file to append to.
        redact: removes this run's secrets from every text; it returns the same object if there are none.
        echo: shows events to the user, too; ``None``: not shown.
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
        self._path = path
        self._file = _opened(path)
        self._size = os.fstat(self._file.fileno()).st_size
        self._beginning = ""
        self._rotating: threading.Thread | None = None
        self._redact = redact
        self._lock = threading.Lock()
        self._echo = echo
        self._shown = 0
        """Progress events so far."""
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
        """Write one event; on a full disk the line is lost, but the run goes on."""
        clean = event
        line = _AS_JSON(event)
        if self._redact(line) is not line:  # hardly ever
            clean = {key: value if key in _OURS else self._clean(value) for key, value in event.items()}
            line = json.dumps(clean, ensure_ascii=False)
        if not line.isascii():  # a path that is no UTF-8 holds half surrogates, which no file and no reader takes
            line = line.encode(errors="backslashreplace").decode().replace("\\udc", "\\\\udc")
        if event.get("event") == _BEGINNING:
            self._beginning = f"{line}\n"
        with self._lock, suppress(OSError, ValueError):
            self._file.write(f"{line}\n")
            self._file.flush()
            self._size += len(line)
            if self._size > MAX_BYTES and self._rotating is None and not self._file.closed:
                self._rotating = threading.Thread(target=self._rotate, name="log-rotation")
                self._rotating.start()
        if self._echo:
            self._show(clean, self._echo)

    def _rotate(self) -> None:
        """Begin a new file. Lines written meanwhile go to the old one, so nothing is lost or out of order."""
        made = None
        with suppress(OSError):  # a full disk: the old file goes on, and the next try is a bound later
            for number in range(OLDER_LOGS, 0, -1):
                older = older_log(self._path, number - 1)
                if older.exists():
                    older.replace(older_log(self._path, number))
            made = _opened(self._path)
        with self._lock:
            if made:
                with suppress(OSError, ValueError):
                    made.write(self._beginning)
                    made.flush()
                self._file, made = made, self._file
                with suppress(OSError):
                    made.close()
            self._size = 0
            self._rotating = None

    def _clean(self, value: object) -> object:
        """A value as it may be kept: without secrets, and of types that JSON has."""
        match value:
            case None | int() | float():
                return value
            case dict():
                return {self._redact(str(key)): self._clean(inner) for key, inner in value.items()}
            case list() | tuple() | set():
                return [self._clean(inner) for inner in value]
        return self._redact(str(value))

    def _show(self, event: EventDict, echo: Echo) -> None:
        """Show a warning, shortened and without control characters, or the progress as a short line."""
        at, progress = event["timestamp"][11:19], event.get("event") == "progress"
        if progress and not echo.everything:
            if echo.progress and (self._shown < _AT_FIRST or self._shown % _AT_FIRST == 0):
                echo.show(plain(f"{at} {progress_line(event)}"))
            self._shown += 1
        elif echo.everything or event.get("level") in _SHOWN:
            fields = " ".join(f"{key}={value}" for key, value in event.items() if key not in _NOT_SHOWN)
            line = plain(f"{at} {event['event']} {fields}")
            echo.show(line if progress else line[:_LONGEST])

    def close(self) -> None:
        """Close the file; later events are lost."""
        if rotating := self._rotating:
            rotating.join()
        with suppress(OSError):
            self._file.close()


def progress_line(event: Mapping[str, Any]) -> str:
    """A progress event in a few words: what is done and failed, the rate, time left, cost, what stands still."""
    rows, ended = event.get("rows"), event["ended"]
    share = f"{100 * ended // rows}%, {ended:,} of {rows:,} questions done" if rows else f"{ended:,} questions done"
    facts = [share, f"{event['failed']:,} failed", f"{event['per_minute']:,.0f}/min"]
    if (left := event.get("seconds_left")) is not None:
        facts.append(f"about {timedelta(seconds=round(left))} left")
    if cost := event.get("cost_usd"):
        facts.append(f"${cost:,.2f}")
    facts += [f"{key.removesuffix('_down')} down for {event[key]} s" for key in event if key.endswith("_down")]
    facts += [f"{key.removesuffix('_held')} waits: {event[key]}" for key in event if key.endswith("_held")]
    return ", ".join(facts)


def _opened(path: Path) -> TextIOWrapper:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8")


def older_log(path: Path, number: int) -> Path:
    """The log file that is so many files older than ``path``, which is number 0."""
    return path.with_name(f"{path.name}.{number}") if number else path


@contextmanager
def log_facts(**facts: object) -> Iterator[None]:
    """Add facts, such as the row, to every event that happens inside, and in tasks started inside."""
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
            # The facts describe a call of this run, not of the others.
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
"""For events of one run."""
host_log = _logger(_deliver_to_all)
"""For events that concern every run of a host: its endpoints and engines."""
