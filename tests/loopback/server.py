"""The server: aiohttp reads the requests, our own bytes go back.

aiohttp's low-level ``web.Server`` parses; a reply is written straight to the transport, because half of them break HTTP
and the other half must be cheap: in a benchmark this server is half of the work. Listens on 127.0.0.1 only.

``serve`` runs it in the caller's event loop, ``python -m tests.loopback`` in a process of its own.
"""

import asyncio
import math
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from tests.loopback.answers import SOLVE, TRACE_CHARS, Answer, Request, answer_to, role_of
from tests.loopback.batch import BatchSettings
from tests.loopback.batch_replies import BatchReplies
from tests.loopback.batches import Batches, BatchStats
from tests.loopback.counts import ModelCount, Recorder, Stats
from tests.loopback.faults import Faults, Script
from tests.loopback.limits import RateLimit
from tests.loopback.replies import Exchange, Reply, error, json_reply, whole_reply
from tests.loopback.spoil import spoilt_reply

HOST = "127.0.0.1"

Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Settings(Struct, frozen=True, kw_only=True):
    """How the server behaves.

    ``latency`` (seconds) passes before each reply; refusals by limits come at once. ``rpm`` is requests a minute
    for one model, counted in a sliding window of ``rate_window`` seconds, and told in ``x-ratelimit-*`` headers unless
    ``rate_headers`` is off; ``max_in_flight`` is for one model too.
    ``solve`` and ``trace_chars``: see ``tests.loopback.answers``. ``log`` is appended to (``counts.LogLine``).
    ``batches``: see ``tests.loopback.batch``.
    """

    latency: Seconds = 0.0
    rpm: Positive | None = None
    rate_window: Positive = 60.0
    rate_headers: bool = True
    max_in_flight: Count | None = None
    faults: Script = ()
    solve: Share = SOLVE
    trace_chars: Count = TRACE_CHARS
    log: Path | None = None
    tls: Literal["self", "expired"] | None = None
    batches: BatchSettings = BatchSettings()


class _Sent(web.StreamResponse):
    """Tells aiohttp that a reply is out already, and whether the connection may be used again."""

    def __init__(self, *, kept: bool) -> None:
        super().__init__()
        self._keep_alive = kept

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing left to do."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing left to do."""


class LoopbackServer:
    """A running server; made by ``serve``."""

    def __init__(self, settings: Settings, recorder: Recorder) -> None:
        self.port = 0
        self._settings = settings
        self._recorder = recorder
        self._faults = Faults(settings.faults)
        self._limits: dict[str, RateLimit] = {}
        self._decoder = msgspec.json.Decoder(Request)
        self._batches = BatchReplies(Batches(settings.batches, self._answer, time.time))
        self._handlers: set[asyncio.Task[Any]] = set()
        self._kept, self._closed = _Sent(kept=True), _Sent(kept=False)

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL."""
        return f"{'https' if self._settings.tls else 'http'}://{HOST}:{self.port}/v1"

    @property
    def stats(self) -> Stats:
        """The counts so far, live."""
        return self._recorder.stats

    @property
    def batches(self) -> BatchStats:
        """The counts of files and batches so far."""
        return self._batches.batches.stats()

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Serve one HTTP request."""
        task = asyncio.current_task()
        assert task is not None
        self._handlers.add(task)
        try:
            if http.method == "POST" and http.path.endswith("/chat/completions"):
                kept = await self._chat(http)
            elif http.path == "/_stats":
                kept = await _send(http, json_reply(self.stats))
            elif http.path == "/_batches":
                kept = await _send(http, json_reply(self.batches))
            elif self._batches.serves(http.path):
                kept = await _send(http, await self._batches.reply(http))
            else:
                kept = await _send(http, error(404, f"No such path: {http.path}", type_="invalid_request_error"))
        finally:
            self._handlers.discard(task)
        return self._kept if kept and http.keep_alive else self._closed

    async def stop(self) -> None:
        """End what is still being handled, hangs too."""
        for task in self._handlers:
            task.cancel()
        if self._handlers:
            await asyncio.wait(self._handlers)

    async def _chat(self, http: web.BaseRequest) -> bool:
        body = await http.content.read()
        try:
            request = self._decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            return await _send(http, error(400, f"Bad request: {problem}", type_="invalid_request_error"))
        model = request.model
        digest = blake2b(body, digest_size=12).hexdigest()
        count, asked = self._recorder.received(model, digest)
        outcome: str | None = "abandoned"
        try:
            now = time.monotonic()
            reply, reason = self._refusal(model, count, now)
            if reply is None:
                fault = self._faults.choose(model, body, digest, asked.asked, now)
                headers = self._headers(model, now)  # as things stand when the request is let in, like a gateway's
                if self._settings.latency:
                    await asyncio.sleep(self._settings.latency)
                exchange = Exchange(request, digest, self._answer(request), headers)
                reply = whole_reply(exchange) if fault is None else spoilt_reply(exchange, fault)
                reason = "" if fault is None else fault.fault
            if not reply.whole:
                outcome = reason
            kept = await _send(http, reply)
            if reply.whole and http.transport is not None:
                outcome = None
            return kept
        finally:
            self._recorder.ended(model, digest, outcome)

    def _refusal(self, model: str, count: ModelCount, now: float) -> tuple[Reply | None, str]:
        """The reply to a request that gets no further, and why."""
        settings = self._settings
        if role_of(model) is None:
            missing = f"The model '{model}' does not exist."
            return error(404, missing, type_="invalid_request_error", code="model_not_found"), "no_such_model"
        if settings.max_in_flight is not None and count.in_flight > settings.max_in_flight:
            return _too_many("Too many concurrent requests.", "Retry-After: 1\r\n"), "too_many"
        if settings.rpm is not None:
            limit = self._limits.setdefault(model, RateLimit(settings.rpm, settings.rate_window))
            if wait := limit.wait(now):
                headers = f"Retry-After: {math.ceil(wait)}\r\n{self._headers(model, now)}"
                return _too_many(f"Rate limit reached for {model}.", headers), "rate_limited"
        return None, ""

    def _answer(self, request: Request) -> Answer:
        return answer_to(request, solve=self._settings.solve, trace_chars=self._settings.trace_chars)

    def _headers(self, model: str, now: float) -> str:
        limit = self._limits.get(model)
        return "" if limit is None or not self._settings.rate_headers else limit.headers(now)


def _too_many(message: str, headers: str) -> Reply:
    return error(429, message, type_="requests", code="rate_limit_exceeded", headers=headers)


async def _send(http: web.BaseRequest, reply: Reply) -> bool:
    """Send a reply; whether the connection may be used again."""
    for part in reply.parts:
        if isinstance(part, float):
            await asyncio.sleep(part)
        elif http.transport is not None:
            http.transport.write(part)
            await http.writer.drain()
    if reply.end == "reset" and (transport := http.transport) is not None:
        # Lingering for no time at all makes closing send a reset instead of an orderly end.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return reply.end == "keep"


@asynccontextmanager
async def serve(*, port: int = 0, **settings: Any) -> AsyncIterator[LoopbackServer]:
    """Run the server in this event loop for as long as the block lasts.

    Args:
        port: where to listen; 0 takes a free one.
        **settings: the fields of ``Settings``.
    """
    chosen = Settings(**settings)
    context = None
    if chosen.tls is not None:
        from tests.loopback.tls import server_context  # noqa: PLC0415 - slow to import, seldom wanted

        context = server_context(chosen.tls)
    with Recorder(chosen.log) as recorder:
        served = LoopbackServer(chosen, recorder)
        http = web.Server(served.handle, handler_cancellation=True, access_log=None)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(http, HOST, port, backlog=4096, ssl=context)
        served.port = listener.sockets[0].getsockname()[1]
        try:
            yield served
        finally:
            listener.close()
            await served.stop()
            await http.shutdown(0.01)  # 0 would mean for ever
