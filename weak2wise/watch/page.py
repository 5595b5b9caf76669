"""The live page, served by the engine's own process (by default on loopback). It loads nothing from other hosts.

Decisions:

- The page only reads; only ``GET`` is supported. ``guard`` decides which requests are allowed. ``/healthz``, which
  reveals nothing about the run, is open to all.
- Every address needs a token, loopback too: all users of a machine can reach it. If the user has set none, each start
  makes one, which is in the printed URL and nowhere else.
- State is sent as server-sent events, one a second and the same for all clients. Rates and charts come from the board.
- Texts of models are escaped here. In addition the Content-Security-Policy allows only the page's own script.
"""

import asyncio
import ipaddress
import os
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import NamedTuple

import msgspec
from aiohttp import web

from weak2wise.errors import ConfigError
from weak2wise.watch import gallery
from weak2wise.watch.board import EVERY, Observed
from weak2wise.watch.guard import HEADERS, TOKEN, guard
from weak2wise.watch.health import CLOSING, STARTING, health_of
from weak2wise.watch.metrics import metrics
from weak2wise.watch.vitals import Disk

_STATIC = {
    "/": ("weak2wise.watch", "static/page.html", "text/html"),
    "/page.js": ("weak2wise.watch", "static/page.js", "text/javascript"),
    "/page.css": ("weak2wise.watch", "static/page.css", "text/css"),
    "/icon.svg": ("weak2wise.watch", "static/icon.svg", "image/svg+xml"),
    "/style.css": ("weak2wise.outputs.report", "style.css", "text/css"),
}


_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the address to open, not to bind
_DISK_SECONDS = 4.0
"""How long a disk may take to say how full it is."""


class Address(NamedTuple):
    """The host and port that the page is served on."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> "Address":
        """Parse ``8000`` or ``HOST:PORT`` (an IPv6 host in brackets). Raises ``ConfigError``."""
        host, _, port = text.rpartition(":")
        if not port.isdecimal() or not 0 <= int(port) < 65536:
            raise ConfigError(f"--page {text}: expected a port or HOST:PORT")
        return cls(host.strip("[]") or "127.0.0.1", int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@asynccontextmanager
async def served(
    observer: "asyncio.Future[Observed]", address: Address, env: Mapping[str, str] = os.environ
) -> AsyncIterator[str]:
    """Serve the page while the context is open.

    Yields its URL on this machine, with the token: ``$W2W_PAGE_TOKEN``, by this name, or one made for this start.

    Raises:
        ConfigError: the address cannot be used, or needs a token.
    """
    given = env.get(TOKEN, "")
    token = given or secrets.token_urlsafe(16)
    if not address.is_loopback and not given:
        raise ConfigError(
            f"--page {address.host}:{address.port}: other machines could see it; set {TOKEN} to a secret value first"
        )
    app = web.Application(middlewares=[guard(address.host, token)])
    page = _Page(observer, await asyncio.to_thread(_read_static))
    for path in _STATIC:
        app.router.add_get(path, page.static)
    app.router.add_get("/events", page.events)
    app.router.add_get("/trace/{row:[0-9]{1,15}}", page.trace)
    app.router.add_get("/metrics", page.metrics)
    app.router.add_get("/healthz", page.health)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"--page {address.host}:{address.port}: {error.strerror}; choose another port") from None
        port = runner.addresses[0][1]
        here = _WILDCARDS.get(address.host, address.host)
        here = f"[{here}]" if ":" in here else here
        yield f"http://{here}:{port}/?token=" + (f"${TOKEN}" if given else token)
    finally:
        page.closing.set()
        await runner.cleanup()


def _read_static() -> dict[str, bytes]:
    """The static files of the page, by URL path. Blocks."""
    return {path: files(package).joinpath(name).read_bytes() for path, (package, name, _) in _STATIC.items()}


class _Page:
    def __init__(self, observer: "asyncio.Future[Observed]", static: Mapping[str, bytes]) -> None:
        self._observer = observer
        self._static = static
        self._encoder = msgspec.json.Encoder()
        self._newest = gallery.Newest()
        self.closing = asyncio.Event()

    async def static(self, request: web.Request) -> web.Response:
        kind = _STATIC[request.path][-1]
        return web.Response(body=self._static[request.path], content_type=kind, charset="utf-8")

    async def trace(self, request: web.Request) -> web.Response:
        text = (
            await gallery.opened_trace(self._observer.result(), int(request.match_info["row"])) if self._ready else None
        )
        if text is None:
            raise web.HTTPNotFound(text="There is no such trace.\n")
        return web.Response(text=text, content_type="text/html")

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

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
        await response.prepare(request)
        shown, last, sent = -1.0, False, None
        while not last:
            last = self.closing.is_set()  # then this event says how the run ended
            event: dict[str, object] = {"board": None}
            if self._ready:
                observer = self._observer.result()
                points = [point for point in observer.points if point.seconds > shown]
                shown = points[-1].seconds if points else shown
                event = {"board": observer.board(), "points": points}
                if (traces := await self._newest.entries(observer)) != sent:  # they are most of the bytes
                    event["traces"] = sent = traces
            try:
                await response.write(b"data: " + self._encoder.encode(event) + b"\n\n")
                async with asyncio.timeout(EVERY):
                    await self.closing.wait()
            except TimeoutError:
                continue
            except ConnectionError:
                break
        return response

    @property
    def _ready(self) -> bool:
        return self._observer.done() and not self._observer.cancelled()
