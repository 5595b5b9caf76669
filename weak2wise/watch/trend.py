"""The trend of a run, for the charts: how far it was and what it had cost, from the progress events of its log."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct, structs

from weak2wise.ledger.account import Totals
from weak2wise.outputs.history import UNREADABLE, run_events

MOST_POINTS = 720
"""Points kept; when there are more, every second one is left out."""
_CHUNK = 1 << 20


class Point(Struct, frozen=True, array_like=True):
    """One moment of a run.

    ``seconds``: the time for which the run had been running, all starts together. ``start``: the number of the start,
    from 0. ``done``: the rows that each step of the trend had done; empty where that is not logged. Rates are a
    minute's, and a second's for tokens.
    """

    seconds: float
    start: int
    ended: int
    cost_usd: float
    requests: float
    tokens: float
    done: tuple[int, ...]


class Trend(Struct):
    """All points of a run in order; ``starts``: the seconds and the time of each start."""

    steps: tuple[str, ...] = ()
    points: list[Point] = []
    starts: list[tuple[float, datetime]] = []


class TrendReader:
    """Reads the trend from ``run.log``, each time only what has been added since. Blocks.

    ``since``: what was logged before belongs to a run that is no more in the work_dir.
    """

    def __init__(self, log: Path, since: datetime) -> None:
        self.trend = Trend()
        self._log = log
        self._since = since
        self._file: int | None = None
        """The inode of the file that was read last, and how far."""
        self._read = 0
        self._began: datetime | None = None
        self._before = 0.0
        """Seconds of all starts before this one."""
        self._last = 0.0
        """Seconds of the last event."""
        self._every, self._skipped = 1, 0

    def read(self) -> Trend:
        """The trend so far; the same object as before if nothing was added. Raises ``OSError``."""
        before = len(self.trend.points), len(self.trend.starts), self._every
        for path in (*self._older(), self._log):
            with suppress(FileNotFoundError), path.open("rb") as file:
                self._read_on(file)
        if (len(self.trend.points), len(self.trend.starts), self._every) != before:
            self.trend = Trend(self.trend.steps, list(self.trend.points), list(self.trend.starts))
        return self.trend

    def _older(self) -> Iterator[Path]:
        """The files of the log that are to be read before the present one, the oldest first: it may be begun anew."""
        names = sorted(self._log.parent.glob(f"{self._log.name}.[0-9]"), reverse=True)
        if self._file is None:
            yield from names
        elif self._log.exists() and self._log.stat().st_ino != self._file:
            yield from (name for name in names if name.stat().st_ino == self._file)

    def _read_on(self, file: BinaryIO) -> None:
        stat = os.fstat(file.fileno())
        if stat.st_ino != self._file or stat.st_size < self._read:
            self._file, self._read = stat.st_ino, 0
        file.seek(self._read)
        while lines := file.read(_CHUNK):
            lines += file.readline()
            whole = lines[: lines.rfind(b"\n") + 1]
            self._take_all(whole)
            self._read += len(whole)
            if len(whole) < len(lines):
                break

    def _take_all(self, lines: bytes) -> None:
        for event, fields in run_events(lines):
            assert event.timestamp is not None
            if event.timestamp < self._since:
                continue
            try:
                self._take(event.event, event.timestamp, fields)
            except UNREADABLE:
                continue

    def _take(self, event: str, at: datetime, fields: dict[str, Any]) -> None:
        trend = self.trend
        if event == "run.started" and at == self._began:
            return  # a log that was begun anew says again what it is about
        if event == "run.started":
            steps = tuple(str(step) for step in fields["steps"])
            if len(steps) > len(trend.steps):
                trend.steps = steps
            self._before, self._began = self._last, at
            trend.starts.append((round(self._before, 1), at))
            last = trend.points[-1] if trend.points else None
            ended, cost, done = (last.ended, last.cost_usd, last.done) if last else (0, 0.0, (0,) * len(trend.steps))
            trend.points.append(Point(round(self._before, 1), len(trend.starts) - 1, ended, cost, 0.0, 0.0, done))
            return
        if self._began is None:
            return
        self._last = max(self._last, self._before + (at - self._began).total_seconds())
        if event == "progress":
            self._skipped += 1
            if self._skipped >= self._every:
                self._skipped = 0
                trend.points.append(self._point(fields))
                self._thin()
        elif event == "run.finished":
            totals = msgspec.convert(fields["totals"], type=Totals)
            ended = totals.rows - totals.unfinished
            trend.points.append(structs.replace(trend.points[-1], seconds=round(self._last, 1), ended=ended, done=()))

    def _point(self, fields: dict[str, Any]) -> Point:
        def rates(suffix: str) -> float:
            return sum(float(fact) for key, fact in fields.items() if key.endswith(suffix))

        return Point(
            seconds=round(self._last, 1),
            start=len(self.trend.starts) - 1,
            ended=int(fields["ended"]),
            cost_usd=float(fields.get("cost_usd", 0.0)),
            requests=round(rates("_per_minute"), 1),
            tokens=round(rates("_tokens_per_second"), 1),
            done=tuple(int(str(fields.get(step, "0")).partition("+")[0]) for step in self.trend.steps),
        )

    def _thin(self) -> None:
        """Leave out every second point if there are too many, but none with which a start begins."""
        points = self.trend.points
        if len(points) > MOST_POINTS:
            first = {0} | {at for at in range(1, len(points)) if points[at].start != points[at - 1].start}
            kept = [point for at, point in enumerate(points) if at % 2 == 0 or at in first]
            self._every *= 2
            points[:] = kept
