"""``weak2wise view``: the pages of runs from their files, whether they are finished, stopped or running.

A work_dir is looked at every two seconds while somebody has its page open, and read again when it has changed; what is
large is read less often, so that reading takes at most a tenth of the time. Nothing is written there, not even a lock.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import msgspec
from aiohttp import web

from weak2wise.errors import ConfigError, RunStopped
from weak2wise.ledger.files import holder
from weak2wise.outputs.report.text import title
from weak2wise.outputs.side_by_side import SideBySide, side_by_side
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.watch.about import About, Next, about, next_steps
from weak2wise.watch.address import Address
from weak2wise.watch.board import Board
from weak2wise.watch.files_board import board_of
from weak2wise.watch.gallery import Found, Source, Table, Wanted, found, opened_trace
from weak2wise.watch.losses import Kind, Losses, losses
from weak2wise.watch.run_page import RunPage, report_in
from weak2wise.watch.site import FILES, Static, site
from weak2wise.watch.trend import Trend, TrendReader
from workers.records import Golden, Scored

LOOK_EVERY = 2.0
"""Seconds between two looks whether a work_dir has changed."""
SHARE = 10
"""Reading takes at most this part of the time."""


class FileRun:
    """One work_dir. In memory it takes nine bytes a row and step, and thirteen for a trace that is listed.

    Raises:
        ConfigError: there is no run in the folder, or its files are damaged.
        RunStopped: they cannot be read.
    """

    every = LOOK_EVERY

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._reading = asyncio.Lock()
        self._looked = -LOOK_EVERY
        self._took = 0.0
        self._stamp: object = None
        self._gone = ""
        self._read()

    def _read(self) -> None:
        """Read everything anew. Blocks."""
        began = time.monotonic()
        stamp = _stamp(self.folder)
        work = WorkDir(self.folder)
        if (created := work.manifest.created) != getattr(self, "_created", None):
            self._created = created
            self._reader = TrendReader(self.folder / "run.log", datetime.fromisoformat(created))
            self._table = Table()
        self.work = work
        self.board: Board = board_of(work)
        self.about: About = about(self.folder, work.manifest, _config_of(work))
        self._trend: Trend = self._reader.read()
        self._next: list[Next] = next_steps(self.board, self.about)
        self._report = report_in(self.folder) is not None
        self._stamp, self._gone, self._took = stamp, "", time.monotonic() - began

    async def look(self) -> None:
        """Read it again if it has changed; a folder that is gone or damaged keeps its last state, and says so."""
        async with self._reading:
            now = time.monotonic()
            if now - self._looked < max(LOOK_EVERY, SHARE * self._took):
                return
            self._looked = now
            await asyncio.to_thread(self._look)

    def _look(self) -> None:
        try:
            if self._gone or _stamp(self.folder) != self._stamp:
                self._read()
        except (ConfigError, RunStopped, OSError) as error:
            self._gone = f"The folder was deleted or moved: {self.folder}" if not self.folder.is_dir() else str(error)

    @property
    def gone(self) -> str:
        """Why the files cannot be read any more; empty if they can."""
        return self._gone

    async def event(self) -> dict[str, object]:
        """As ``ShownRun``; also why the files cannot be read any more."""
        await self.look()
        return {
            "live": False,
            "about": self.about,
            "board": self.board,
            "trend": self._trend,
            "next": self._next,
            "report": self._report,
            "gone": self._gone,
        }

    async def traces(self, wanted: Wanted) -> Found:
        """As ``ShownRun``."""
        async with self._reading:
            return await asyncio.to_thread(self._found, wanted)

    def _found(self, wanted: Wanted) -> Found:
        source = self._source()
        self._table.follow(source.golden)
        return found(self._table, source, wanted)

    async def trace(self, row: int) -> str | None:
        """As ``ShownRun``."""
        return await asyncio.to_thread(opened_trace, self._source(), row)

    async def losses(self, kind: Kind) -> Losses:
        """As ``ShownRun``."""
        work = self.work
        return await asyncio.to_thread(losses, work.intake, [work.steps[step] for step in work.through], kind)

    async def report(self) -> Path | None:
        """As ``ShownRun``."""
        return await asyncio.to_thread(report_in, self.folder)

    def _source(self) -> Source:
        work = self.work
        return Source(work.made(Golden), work.made(Scored), work.scorer, work.manifest.rules)


def _config_of(work: WorkDir) -> Path | None:
    name = work.history.config
    return Path(name) if name else None


def _stamp(folder: Path) -> object:
    """What changes when the run has gone on: its log, its manifest, its report, and whether it is locked."""
    return [holder(folder), *(_seen(folder / name) for name in ("manifest.json", "run.log", "report.html"))]


def _seen(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


class Overview(msgspec.Struct, frozen=True):
    """One run in the overview; ``gone``: why it cannot be read any more."""

    about: About
    board: Board
    gone: str


@asynccontextmanager
async def viewed(
    folders: Sequence[Path], address: Address, env: Mapping[str, str] = os.environ, *, show_token: bool = False
) -> AsyncIterator[str]:
    """Serve the pages of these work_dirs while the context is open. Yields and raises as ``site`` and ``FileRun``."""
    runs = [await asyncio.to_thread(FileRun, folder) for folder in folders]
    closing = asyncio.Event()
    static = await asyncio.to_thread(Static, (*FILES, "run.html", "runs.html", "runs.js", "compare.html", "compare.js"))
    app = web.Application()
    for name in (*FILES, "runs.js", "compare.js"):
        static.add_to(app, f"/{name}", name)
    if len(runs) == 1:
        RunPage(runs[0], closing, static).add_to(app, "/")
    else:
        _Several(runs, static).add_to(app)
        for number, run in enumerate(runs):
            RunPage(run, closing, static).add_to(app, f"/run/{number}/")
    app.router.add_get("/healthz", _health)
    async with site(app, address, closing, env, option="--host/--port", show_token=show_token) as url:
        yield url


def _compared(one: WorkDir, other: WorkDir) -> SideBySide:
    """The two side by side, with the questions as escaped HTML. Blocks."""
    found = side_by_side(one, other)
    apart = [msgspec.structs.replace(far, question=title(far.question, 140)) for far in found.apart]
    return msgspec.structs.replace(found, apart=apart)


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"ok": True})


class _Several:
    """The overview of several runs, and two of them compared."""

    def __init__(self, runs: Sequence[FileRun], static: Static) -> None:
        self._runs = runs
        self._static = static
        self._encoder = msgspec.json.Encoder()
        self._comparing = asyncio.Lock()
        self._compared: tuple[list[WorkDir], SideBySide] | None = None

    def add_to(self, app: web.Application) -> None:
        self._static.add_to(app, "/", "runs.html")
        self._static.add_to(app, "/compare", "compare.html")
        app.router.add_get("/runs", self.overview)
        app.router.add_get("/two/{one:[0-9]{1,4}}/{other:[0-9]{1,4}}", self.two)

    async def overview(self, _request: web.Request) -> web.Response:
        for run in self._runs:
            await run.look()
        return self._json([Overview(run.about, run.board, run.gone) for run in self._runs])

    async def two(self, request: web.Request) -> web.Response:
        numbers = [int(request.match_info[name]) for name in ("one", "other")]
        if max(numbers) >= len(self._runs) or numbers[0] == numbers[1]:
            raise web.HTTPNotFound(text="There are no such two runs.\n")
        runs = [self._runs[number] for number in numbers]
        async with self._comparing:
            for run in runs:
                await run.look()
            works = [run.work for run in runs]
            if self._compared is None or any(a is not b for a, b in zip(self._compared[0], works, strict=True)):
                self._compared = works, await asyncio.to_thread(_compared, *works)
            return self._json(self._compared[1])

    def _json(self, made: object) -> web.Response:
        return web.Response(body=self._encoder.encode(made), content_type="application/json")
