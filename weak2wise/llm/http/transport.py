"""One HTTP exchange: send a body, read the reply, and turn every failure into one of our error types."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Self

import aiohttp

from weak2wise.config import OpenAIEndpoint
from weak2wise.deadline import Deadline
from weak2wise.errors import Kind
from weak2wise.llm.errors import ModelError, Transient, Unusable
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.rate_limit_headers import remaining, retry_after
from weak2wise.llm.http.responses import parse_reply
from weak2wise.llm.http.stream import Stream
from weak2wise.llm.limits.limits import Slot
from weak2wise.llm.model import Completion
from weak2wise.telemetry.plain import redactor

LONGEST_MESSAGE = 400
"""Characters that are kept of an error's message. Secrets are removed first: half a key would not be recognised."""
LAST_BYTES_SECONDS = 0.5
"""How long to wait for the end of a finished stream, so that its connection can be used again."""
CONNECT_SECONDS = 30.0
"""How long a new connection may take."""
UNKNOWN_SECONDS = 15.0
"""How long a host that was never found may be unknown before that counts as a mistake in the config."""


class _Connector(aiohttp.TCPConnector):
    async def _create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Connect within ``CONNECT_SECONDS``. Raises ``TimeoutError``, of which aiohttp makes an error of its own."""
        async with Deadline(CONNECT_SECONDS):
            return await super()._create_connection(*args, **kwargs)


class Transport:
    """One endpoint's connections; open it with ``async with``."""

    def __init__(self, name: str, endpoint: OpenAIEndpoint, env: Mapping[str, str]) -> None:
        self._name = name
        self._endpoint = endpoint
        secrets = {header: env[variable] for header, variable in endpoint.secrets().items() if variable in env}
        self._redact = redactor(secrets.values())
        self._headers = {"Content-Type": "application/json"} | endpoint.headers
        self._headers |= {k: v if k in endpoint.headers else f"Bearer {v}" for k, v in secrets.items()}
        self._session: aiohttp.ClientSession | None = None
        self._host_found = False
        self._first_try_at: float | None = None

    async def __aenter__(self) -> Self:
        # Connections are bounded by the in-flight limit, not by the connector. aiohttp's own time-outs are off: after
        # the process stood still they would fire before the answers that have arrived are read.
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session:
            await self._session.close()

    async def post(self, url: str, body: bytes, slot: Slot) -> Completion:
        """Send one request and read its answer.

        Raises:
            ModelError, Unusable: see ``weak2wise.llm.errors``; their messages hold no key.
        """
        stream = Stream(self._name)
        try:
            return await self._in_time(url, body, slot, stream)
        except (ModelError, Unusable) as error:
            error.args = (self._redact(str(error))[:LONGEST_MESSAGE],)
            if isinstance(error, ModelError):
                error.usage = error.usage or stream.usage
                error.characters = error.characters or stream.characters
            raise

    async def _in_time(self, url: str, body: bytes, slot: Slot, stream: Stream) -> Completion:
        end = self._endpoint
        try:
            async with (
                Deadline(end.request_timeout) as whole,
                Deadline(end.idle_timeout if end.stream else math.inf) as silent,
            ):
                return await self._exchange(url, body, slot, stream, whole=whole, silent=silent)
        except TimeoutError:
            if stream.whole:  # it is paid for: do not ask again for its last bytes
                return stream.completion()
            raise self._timeout() from None

    async def _exchange(
        self, url: str, body: bytes, slot: Slot, stream: Stream, *, whole: Deadline, silent: Deadline
    ) -> Completion:
        assert self._session is not None
        try:
            async with self._session.post(url, data=body, allow_redirects=False) as response:
                self._host_found = True
                headers = response.headers
                requests, tokens = remaining(headers, "requests"), remaining(headers, "tokens")
                if requests or tokens:
                    slot.note_quota(requests, tokens)
                if response.status == 200 and response.content_type == "text/event-stream":
                    return await self._streamed(response, stream, whole, silent)
                chunks = [chunk async for chunk in self._chunks(response, silent)]
                text = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                if response.status == 200:
                    return parse_reply(text, self._name)
                raise error_for(response.status, text, self._name, retry_after(headers), headers.get("Location"))
        except aiohttp.ConnectionTimeoutError:
            raise self._transient("connection", f"cannot connect within {CONNECT_SECONDS:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unusable(
                f"{self._name}: TLS refused: {error}", hint="Fix the certificate or the endpoint's base_url."
            ) from None
        except aiohttp.InvalidURL:
            raise Unusable(
                f"{self._name}: not a valid address: {url}", hint=f"Correct model_endpoints.{self._name}.base_url."
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise self._unreached(error) from None
        except aiohttp.ClientPayloadError as error:
            raise self._transient("truncated", f"the answer broke off: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._transient("connection", f"connection lost: {error or type(error).__name__}") from None

    def _unreached(self, error: aiohttp.ClientConnectorError) -> Transient | Unusable:
        """A host that cannot be found may be a temporary fault; one that was never found is probably misspelled."""
        now = time.monotonic()
        if not isinstance(error, aiohttp.ClientConnectorDNSError):
            self._host_found = True  # but it refuses connections
        self._first_try_at = self._first_try_at or now
        if self._host_found or now - self._first_try_at < UNKNOWN_SECONDS:
            return self._transient("connection", f"cannot connect: {error.os_error or error}")
        return Unusable(
            f"{self._name}: cannot find the host {error.host}",
            hint=f"Correct model_endpoints.{self._name}.base_url, or fix this machine's network.",
        )

    async def _streamed(
        self, response: aiohttp.ClientResponse, stream: Stream, whole: Deadline, silent: Deadline
    ) -> Completion:
        try:
            async for chunk in self._chunks(response, silent):
                if stream.feed(chunk) and self._endpoint.stream:
                    whole.renew()
                if stream.done:
                    break
        except (ModelError, Unusable, aiohttp.ClientError, OSError):
            if not stream.whole:
                raise
        completion = stream.completion()
        if stream.done:
            with suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(LAST_BYTES_SECONDS):
                    await response.content.readany()
        return completion

    async def _chunks(self, response: aiohttp.ClientResponse, silent: Deadline) -> AsyncIterator[bytes]:
        """The decompressed body as it arrives. Raises ``Transient`` if it is too large."""
        most = self._endpoint.max_response_mb
        size = 0
        async for chunk in response.content.iter_any():
            silent.renew()
            size += len(chunk)
            if size > most << 20:
                raise self._transient("oversized", f"an answer of more than {most} MiB")
            yield chunk

    def _timeout(self) -> Transient:
        if self._endpoint.stream:
            return self._transient(
                "timeout", f"silent for {self._endpoint.idle_timeout:g} s, or nothing but keep-alives"
            )
        return self._transient("timeout", f"no answer within {self._endpoint.request_timeout:g} s of sending")

    def _transient(self, kind: Kind, message: str) -> Transient:
        return Transient(kind, f"{self._name}: {message}", endpoint=self._name)
