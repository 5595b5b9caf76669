"""The live page: served on loopback from the engine's own process, without anything from elsewhere.

Decisions:

- It only reads, and only ``GET`` is known. Bound to loopback it answers to loopback names alone, so that no web site
  can reach it through a name of its own (DNS rebinding); bound elsewhere it wants a token.
- State goes out as server-sent events, one a second and the same for everybody; rates and charts come from the board.
- Texts of models are escaped here, and the Content-Security-Policy allows no script but ours, should one slip through.
"""

import asyncio
import hmac
import ipaddress
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import NamedTuple

import msgspec
from aiohttp import web

from weak2wise.errors import ConfigError
from weak2wise.watch import gallery
from weak2wise.watch.board import EVERY, Observer
from weak2wise.watch.metrics import metrics

TOKEN = "W2W_PAGE_TOKEN"  # noqa: S105 - the name of the variable that holds it
COOKIE = "weak2wise"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STATIC = {
    "/": ("weak2wise.watch", "static/page.html", "text/html"),
    "/page.js": ("weak2wise.watch", "static/page.js", "text/javascript"),
    "/page.css": ("weak2wise.watch", "static/page.css", "text/css"),
    "/icon.svg": ("weak2wise.watch", "static/icon.svg", "image/svg+xml"),
    "/style.css": ("weak2wise.outputs.report", "style.css", "text/css"),
}


class Address(NamedTuple):
    """Where the page is served."""

    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> "Address":
        """``8000`` or ``HOST:PORT``; an IPv6 host in brackets. Raises ``ConfigError``."""
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
    observer: "asyncio.Future[Observer]", address: Address, env: Mapping[str, str] = os.environ
) -> AsyncIterator[str]:
    """Serve the page while the context is open; yields its URL.

    Raises:
        ConfigError: the address cannot be used, or needs a token.
    """
    token = env.get(TOKEN, "")
    if not address.is_loopback and not token:
        raise ConfigError(
            f"--page {address.host}:{address.port}: others could see it; set {TOKEN} to a secret word first"
        )
    app = web.Application(middlewares=[_guard(address, token)])
    page = _Page(observer)
    for path in _STATIC:
        app.router.add_get(path, page.static)
    app.router.add_get("/events", page.events)
    app.router.add_get("/trace/{row:[0-9]{1,15}}", page.trace)
    app.router.add_get("/metrics", page.metrics)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, address.host, address.port)
        try:
            await site.start()
        except OSError as error:
            raise ConfigError(f"--page {address.host}:{address.port}: {error.strerror}; choose another port") from None
        port = runner.addresses[0][1]
        host = f"[{address.host}]" if ":" in address.host else address.host
        yield f"http://{host}:{port}/"
    finally:
        page.closing.set()
        await runner.cleanup()


def _guard(address: Address, token: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 - aiohttp's own type
    @web.middleware
    async def guard(request: web.Request, handler):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        if token:
            if "token" in request.query and hmac.compare_digest(request.query["token"].encode(), token.encode()):
                reply = web.HTTPSeeOther(request.path)
                reply.set_cookie(COOKIE, token, httponly=True, samesite="Strict")
                raise reply
            given = request.cookies.get(COOKIE) or request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), token.encode()):
                raise web.HTTPUnauthorized(text=f"Open the page with ?token= and what {TOKEN} holds.\n")
        elif (request.url.host or "") not in {"localhost", "127.0.0.1", "::1", address.host}:
            raise web.HTTPForbidden(text="This page answers to loopback names only.\n")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    return guard


class _Page:
    def __init__(self, observer: "asyncio.Future[Observer]") -> None:
        self._observer = observer
        self._encoder = msgspec.json.Encoder()
        self._newest = gallery.Newest()
        self.closing = asyncio.Event()

    async def static(self, request: web.Request) -> web.Response:
        package, name, kind = _STATIC[request.path]
        return web.Response(body=files(package).joinpath(name).read_bytes(), content_type=kind, charset="utf-8")

    async def trace(self, request: web.Request) -> web.Response:
        text = await gallery.one(self._observer.result(), int(request.match_info["row"])) if self._ready else None
        if text is None:
            raise web.HTTPNotFound(text="Not among the newest traces any more.\n")
        return web.Response(text=text, content_type="text/html")

    async def metrics(self, _request: web.Request) -> web.Response:
        text = metrics(self._observer.result()) if self._ready else b""
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
        await response.prepare(request)
        shown = -1.0
        while not self.closing.is_set():
            event: dict[str, object] = {"board": None}
            if self._ready:
                observer = self._observer.result()
                points = [point for point in observer.points if point.seconds > shown]
                shown = points[-1].seconds if points else shown
                event = {"board": observer.board(), "points": points, "traces": await self._newest.entries(observer)}
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
