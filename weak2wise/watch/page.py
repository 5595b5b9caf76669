"""The live page of a run, served by the engine's own process (by default on loopback). It loads nothing from others.

``guard`` decides which requests are allowed. ``/healthz``, which reveals nothing about the run, is open to all. Every
address needs a token, loopback too: all users of a machine can reach it. If the user has set none, each start makes
one, which is in the printed URL and nowhere else.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import load_manifest
from weak2wise.ledger.outcomes import Ledger
from weak2wise.watch.about import About, Next, about, next_steps
from weak2wise.watch.address import Served
from weak2wise.watch.gallery import Found, Scores, Source, Table, Wanted, found, opened_trace
from weak2wise.watch.health import CLOSING, STARTING, health_of
from weak2wise.watch.losses import Kind, Losses, losses
from weak2wise.watch.metrics import metrics
from weak2wise.watch.observer import EVERY, Observed
from weak2wise.watch.run_page import RunPage, report_in
from weak2wise.watch.site import FILES, Static, site
from weak2wise.watch.trend import Trend, TrendReader
from weak2wise.watch.vitals import Disk
from workers.method import step_making
from workers.records import Golden, Scored

TREND_EVERY = 5.0
"""Seconds between two looks at the log."""
_DISK_SECONDS = 4.0
"""How long a disk may take to say how full it is."""


@asynccontextmanager
async def served(
    observer: "asyncio.Future[Observed]",
    page: Served,
    env: Mapping[str, str] = os.environ,
    *,
    show_token: bool = False,
) -> AsyncIterator[str]:
    """Serve the page while the context is open. Yields and raises as ``site``."""
    closing = asyncio.Event()
    static = await asyncio.to_thread(Static, (*FILES, "run.html"))
    app = web.Application()
    for name in FILES:
        static.add_to(app, f"/{name}", name)
    RunPage(LiveRun(observer, page), closing, static).add_to(app, "/")
    process = _Process(observer, closing)
    app.router.add_get("/metrics", process.metrics)
    app.router.add_get("/healthz", process.health)
    async with site(app, page.address, closing, env, show_token=show_token) as url:
        yield url


def _ready(observer: "asyncio.Future[Observed]") -> bool:
    return observer.done() and not observer.cancelled()


class _Process:
    """Metrics and health."""

    def __init__(self, observer: "asyncio.Future[Observed]", closing: asyncio.Event) -> None:
        self._observer = observer
        self._encoder = msgspec.json.Encoder()
        self.closing = closing

    async def metrics(self, _request: web.Request) -> web.Response:
        text = metrics(self._observer.result(), await self._disk()) if self._ready else b""
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def health(self, _request: web.Request) -> web.Response:
        if self.closing.is_set():
            found = CLOSING
        elif self._ready:
            observer = self._observer.result()
            found = health_of(observer.vitals, observer.board(), observer.loop_lag(), await self._disk())
        else:
            found = STARTING
        return web.Response(
            body=self._encoder.encode(found), content_type="application/json", status=200 if found.ok else 503
        )

    async def _disk(self) -> Disk | None:
        """The work_dir's; ``None`` if it does not answer, as a network's may not."""
        try:
            async with asyncio.timeout(_DISK_SECONDS):
                return await asyncio.to_thread(Disk.of, self._observer.result().vitals.folder)
        except (OSError, TimeoutError):
            return None

    @property
    def _ready(self) -> bool:
        return _ready(self._observer)


class LiveRun:
    """The run of this process. Its traces are the newest ones: all of them are for ``weak2wise view``."""

    every = EVERY

    def __init__(self, observer: "asyncio.Future[Observed]", page: Served) -> None:
        self._observer = observer
        self._folder = page.work_dir
        self._config = page.config
        self._about: About | None = None
        self._reader: TrendReader | None = None
        self._trend = Trend()
        self._looked = -TREND_EVERY
        self._next: list[Next] = []
        self._table = Table()
        self._reading = asyncio.Lock()

    async def event(self) -> dict[str, object]:
        """As ``ShownRun``."""
        if not _ready(self._observer):
            return {"live": True, "board": None}
        if self._about is None:
            await asyncio.to_thread(self._open)
        board = self._observer.result().board()
        if self._reader and (time.monotonic() - self._looked >= TREND_EVERY or board.ending):
            async with self._reading:
                self._looked = time.monotonic()
                self._trend = await asyncio.to_thread(self._reader.read)
        if board.ending and self._about and not self._next:
            self._next = next_steps(board, self._about)
        event: dict[str, object] = {"live": True, "about": self._about, "board": board}
        event |= {"trend": self._trend, "next": self._next}
        if board.ending:
            event["report"] = await asyncio.to_thread(report_in, self._folder) is not None
        return event

    def _open(self) -> None:
        try:
            manifest = load_manifest(self._folder / "manifest.json")
        except ConfigError:
            manifest = None  # the run itself has read it
        if manifest:
            self._reader = TrendReader(self._folder / "run.log", datetime.fromisoformat(manifest.created))
            self._about = about(self._folder, manifest, self._config)

    async def traces(self, wanted: Wanted) -> Found | None:
        """As ``ShownRun``."""
        if not _ready(self._observer):
            return None
        if not (source := self._source()):
            return Found([], 0, None, [], Scores([], 0.0, 0.0))
        latest = [*next(s for s in self._observer.result().stages if s.ledger is source.golden).latest]
        async with self._reading:
            return await asyncio.to_thread(self._found, source, latest, wanted)

    def _found(self, source: Source, latest: list[int], wanted: Wanted) -> Found:
        self._table = self._table.only(latest)
        self._table.add(source.golden, latest)
        return found(self._table, source, wanted)

    async def trace(self, row: int) -> str | None:
        """As ``ShownRun``."""
        source = self._source() if _ready(self._observer) else None
        return await asyncio.to_thread(opened_trace, source, row) if source else None

    async def losses(self, kind: Kind) -> Losses | None:
        """As ``ShownRun``."""
        if not _ready(self._observer):
            return None
        observer = self._observer.result()
        return await asyncio.to_thread(losses, observer.intake, [stage.ledger for stage in observer.stages], kind)

    async def report(self) -> Path | None:
        """As ``ShownRun``."""
        return await asyncio.to_thread(report_in, self._folder)

    def _source(self) -> Source | None:
        """The ledgers of traces and scores; ``None`` if the run stops at an earlier step."""
        observer = self._observer.result()
        ledgers: dict[str, Ledger[Any]] = {stage.name: stage.ledger for stage in observer.stages}
        golden, scored = ledgers.get(step_making(Golden).name), ledgers.get(step_making(Scored).name)
        return Source(golden, scored, observer.scorer, observer.rules) if golden and scored else None
