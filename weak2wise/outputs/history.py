"""A run's history from its log: the last start, its input, its progress, and how it ended."""

import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from weak2wise.telemetry.log import OLDER_LOGS, older_log

RECENT = 60
"""Number of progress events kept: those of the last ten minutes."""


class Speed(Struct, frozen=True):
    """By endpoint: answers a minute of those over HTTP, answer tokens a second of embedded ones; only where known."""

    per_minute: dict[str, float]
    tokens_per_second: dict[str, float]


class Progress(Struct, frozen=True):
    """One ``progress`` event: its time, the outcomes of each step so far, and the estimated seconds left.

    ``speed``: of the endpoints that answered in the minute before. ``held``: of each endpoint that waits for off-peak
    hours, the number of calls and until when, in words.
    """

    at: datetime
    outcomes: dict[str, int]
    seconds_left: float | None = None
    speed: Speed = Speed({}, {})
    held: dict[str, str] = {}


class History(Struct, kw_only=True):
    """The last start in a work_dir and the events after it; empty if there is no log."""

    started: datetime | None = None
    config: str | None = None
    """The config file, if the run had one."""
    input: str | None = None
    sets: tuple[str, ...] = ()
    """The evaluation sets."""
    output: str | None = None
    steps: tuple[str, ...] = ()
    progress: deque[Progress] = msgspec.field(default_factory=lambda: deque(maxlen=RECENT))
    last: datetime | None = None
    finished: bool = False
    rows: int | None = None
    """Rows of the input, once the run has counted them."""
    stopped: str | None = None
    starts: int = 0
    before: float = 0.0
    """Seconds of the starts before the last one."""
    until: datetime | None = None
    """The last of the events read here."""

    @property
    def seconds(self) -> float:
        """For how long the run has been at work, over all starts; good to the ten seconds between progress events."""
        if self.started is None or self.until is None:
            return self.before
        return self.before + max(0.0, (self.until - self.started).total_seconds())

    def per_minute(self) -> dict[str, float]:
        """Recent outcomes a minute of each step; empty with fewer than two progress events."""
        if len(self.progress) < 2:
            return {}
        first, last = self.progress[0], self.progress[-1]
        seconds = (last.at - first.at).total_seconds()
        if seconds <= 0:
            return {}
        return {step: 60 * (last.outcomes[step] - first.outcomes[step]) / seconds for step in self.steps}

    def speed(self) -> Speed:
        """The best speed of each endpoint in the last ten minutes of the start: it was not always busy."""
        return Speed(
            _highest([progress.speed.per_minute for progress in self.progress]),
            _highest([progress.speed.tokens_per_second for progress in self.progress]),
        )

    def seconds_left(self, now: datetime) -> float | None:
        """The run's last estimate minus the time since then; ``None`` if it had no estimate."""
        last = self.progress[-1] if self.progress else None
        if last is None or last.seconds_left is None:
            return None
        return max(0.0, last.seconds_left - (now - last.at).total_seconds())


class Event(Struct):
    """A line of the log: its name and its time."""

    event: str = ""
    timestamp: datetime | None = None


_EVENT = msgspec.json.Decoder(Event)
_EVENTS = {"progress", "run.started", "run.finished", "run.interrupted", "run.stopped", "run.broken"}
_NAMED = re.compile(rb'"event": ?"(?:progress|run\.[a-z]+)"')
"""Stands in the lines of these events, and in no text: there the quotes are escaped."""
_CHUNK = 1 << 20


def read_history(log: Path) -> History:
    """Read ``run.log``, older files of it first; lines of other than run events are skipped without being read.

    Blocks; raises ``OSError``.
    """
    history = History()
    last: datetime | None = None
    for file in _files(log):
        with file:
            for lines in _chunks(file):
                for event, fields in run_events(lines):
                    with suppress(*UNREADABLE):
                        history = _updated(history, event, fields)
                        history.until = event.timestamp
                last = _last_time(lines) or last
    history.last = last
    return history


def _files(log: Path) -> list[BinaryIO]:
    """Its files, the oldest first.

    The newest is opened first: a run may rename them meanwhile, and then none is read twice, nor an older one left out.
    """
    found: list[BinaryIO] = []
    for number in range(OLDER_LOGS + 1):
        with suppress(FileNotFoundError):
            file = older_log(log, number).open("rb")
            if any(os.path.sameopenfile(file.fileno(), other.fileno()) for other in found):
                file.close()
            else:
                found.insert(0, file)
    return found


UNREADABLE = (msgspec.DecodeError, TypeError, ValueError, LookupError, AttributeError)
"""What a line raises that is not as it should be."""


def run_events(lines: bytes) -> "Iterator[tuple[Event, dict[str, Any]]]":
    """The run events in whole lines of a log, each with its fields."""
    for named in _NAMED.finditer(lines):
        line = lines[lines.rfind(b"\n", 0, named.start()) + 1 : lines.find(b"\n", named.end())]
        if (event := _read(line)) and event.event in _EVENTS:
            with suppress(*UNREADABLE):
                yield event, dict(msgspec.json.decode(line))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Whole lines, about a megabyte at a time; each ends with a line break."""
    while lines := file.read(_CHUNK):
        lines += file.readline()
        yield lines if lines.endswith(b"\n") else lines + b"\n"


def _read(line: bytes) -> Event | None:
    """An event with a time; ``None`` if the line is something else."""
    with suppress(*UNREADABLE):
        event = _EVENT.decode(line)
        return event if event.timestamp else None
    return None


def _last_time(lines: bytes) -> datetime | None:
    """The time of the last event."""
    end = len(lines)
    while end > 0:
        begin = lines.rfind(b"\n", 0, end - 1) + 1
        if event := _read(lines[begin:end]):
            return event.timestamp
        end = begin
    return None


def _updated(history: History, event: Event, fields: dict[str, Any]) -> History:
    assert event.timestamp is not None
    match event.event:
        case "run.started" if event.timestamp == history.started:
            return history  # the beginning of a newer file repeats it
        case "run.started":
            steps = tuple(str(step) for step in fields.get("steps", ()))
            sets, output = tuple(str(name) for name in fields.get("sets", ())), fields.get("output")
            return History(
                started=event.timestamp,
                config=fields.get("config"),
                input=fields.get("input"),
                sets=sets,
                output=None if output is None else str(output),
                steps=steps,
                starts=history.starts + 1,
                before=history.seconds,
            )
        case "progress":
            outcomes = {step: int(str(fields[step]).partition("+")[0]) for step in history.steps}
            outcomes[history.steps[0]] += int(fields["dropped"])  # nearly all drops are the first step's
            left = fields.get("seconds_left")
            speed = Speed(_ending_in("_per_minute", fields), _ending_in("_tokens_per_second", fields))
            held = {key.removesuffix("_held"): str(fact) for key, fact in fields.items() if key.endswith("_held")}
            left = None if left is None else float(left)
            history.progress.append(Progress(event.timestamp, outcomes, left, speed, held))
            if isinstance(rows := fields.get("rows"), int):
                history.rows = rows
        case "run.finished":
            history.finished = True
            history.rows = int(fields["totals"]["rows"])
        case "run.interrupted":
            history.stopped = "interrupted"
        case _:
            history.stopped = str(fields.get("reason") or "a bug; the traceback is in run.log")
    return history


def _ending_in(suffix: str, fields: dict[str, Any]) -> dict[str, float]:
    """The facts about endpoints with this suffix, by endpoint."""
    return {key.removesuffix(suffix): float(fact) for key, fact in fields.items() if key.endswith(suffix) and fact}


def _highest(facts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in facts:
        for name, fact in one.items():
            found[name] = max(fact, found.get(name, 0.0))
    return found
