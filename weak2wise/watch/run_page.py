"""The page of one run, wherever its facts come from: the live run of this process, or the files of a work_dir.

Decisions:

- The page only reads; only ``GET`` is supported.
- State is sent as server-sent events; each part of it only when it has changed. Lists that grow with the run are asked
  for, a page at a time.
- Texts of models are escaped here. In addition the Content-Security-Policy allows only the page's own script.
- A report is a file that anybody may have put there: it is shown with no script and in an origin of its own.
"""

import asyncio
from pathlib import Path
from typing import Protocol

import msgspec
from aiohttp import web

from weak2wise.watch.gallery import Found, Wanted, wanted_of
from weak2wise.watch.guard import HEADERS
from weak2wise.watch.losses import Kind, Losses
from weak2wise.watch.site import Static

_REPORT = HEADERS | {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; sandbox allow-downloads"
}
MOST_REPORT = 1 << 28
"""Bytes of a report that is served."""


class ShownRun(Protocol):
    """What the page shows of a run. Each ``None``: not known yet."""

    every: float
    """Seconds between two events."""

    async def event(self) -> dict[str, object]:
        """The parts of its state; a part that has not changed is the same object as before."""

    async def traces(self, wanted: Wanted) -> Found | None:
        """A page of the list of golden traces."""

    async def trace(self, row: int) -> str | None:
        """An expanded trace, as escaped HTML."""

    async def losses(self, kind: Kind) -> Losses | None:
        """The questions that failed or were dropped."""

    async def report(self) -> Path | None:
        """The file of its report, if there is one."""


class RunPage:
    """The page's requests."""

    def __init__(self, run: ShownRun, closing: asyncio.Event, static: Static) -> None:
        self._run = run
        self._closing = closing
        self._static = static
        self._encoder = msgspec.json.Encoder()

    def add_to(self, app: web.Application, path: str) -> None:
        """Answer below a path, which ends in a slash."""
        self._static.add_to(app, path, "run.html")
        app.router.add_get(f"{path}events", self.events)
        app.router.add_get(f"{path}traces", self.traces)
        app.router.add_get(f"{path}trace/{{row:[0-9]{{1,9}}}}", self.trace)
        app.router.add_get(f"{path}losses/{{kind:failed|dropped}}", self.losses)
        app.router.add_get(f"{path}report", self.report)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Its state, again and again."""
        response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
        await response.prepare(request)
        last, sent = False, dict[str, object]()
        while not last:
            last = self._closing.is_set()  # then this event says how the run ended
            event = await self._run.event()
            fresh = {key: part for key, part in event.items() if key not in sent or sent[key] is not part}
            sent = event
            try:
                await response.write(b"data: " + self._encoder.encode(fresh) + b"\n\n")
                async with asyncio.timeout(self._run.every):
                    await self._closing.wait()
            except TimeoutError:
                continue
            except ConnectionError:
                break
        return response

    async def traces(self, request: web.Request) -> web.Response:
        """A page of the list of traces."""
        try:
            wanted = wanted_of(request.query.items())
        except msgspec.ValidationError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        return self._json(await self._run.traces(wanted))

    async def losses(self, request: web.Request) -> web.Response:
        """The questions that failed or were dropped."""
        kind: Kind = "failed" if request.match_info["kind"] == "failed" else "dropped"
        return self._json(await self._run.losses(kind))

    async def trace(self, request: web.Request) -> web.Response:
        """An expanded trace."""
        text = await self._run.trace(int(request.match_info["row"]))
        if text is None:
            raise web.HTTPNotFound(text="There is no such trace.\n")
        return web.Response(text=text, content_type="text/html")

    async def report(self, _request: web.Request) -> web.Response:
        """The report, as it is in its file."""
        path = await self._run.report()
        text = await asyncio.to_thread(_read, path) if path else None
        if text is None:
            raise web.HTTPNotFound(text="There is no report yet: weak2wise report writes one.\n")
        response = web.Response(body=text, content_type="text/html", charset="utf-8")
        response.headers.update(_REPORT)
        return response

    def _json(self, found: object) -> web.Response:
        if found is None:
            raise web.HTTPServiceUnavailable(text="The run is not open yet.\n")
        return web.Response(body=self._encoder.encode(found), content_type="application/json")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes() if path.stat().st_size <= MOST_REPORT else None
    except OSError:
        return None


def report_in(folder: Path) -> Path | None:
    """The file of the report in a work_dir, if there is one; no link to a file elsewhere. Blocks."""
    path = folder / "report.html"
    return path if path.is_file() and not path.is_symlink() else None
