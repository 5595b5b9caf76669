"""One HTTP exchange: send a body, read the reply, and turn every failure into one of our error types."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any, Self

import aiohttp

from weak2wise.config import OpenAIEndpoint
from weak2wise.errors import Kind
from weak2wise.llm.errors import ModelError, Transient, Unusable
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.incoming import Incoming
from weak2wise.llm.http.proxy import proxies_for, proxy_refusal, proxy_secrets
from weak2wise.llm.http.rate_limit_headers import remaining, retry_after
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
_DIRECT: dict[str, Any] = {}


def chat_urls(endpoint: OpenAIEndpoint) -> list[str]:
    """The addresses of chat completions, one a replica. A query (Azure's ``api-version``) stays at the end."""
    parts = [url.partition("?") for url in endpoint.base_urls or (endpoint.base_url,)]
    return [f"{path.rstrip('/')}/chat/completions{mark}{query}" for path, mark, query in parts]


class Transport:
    """One endpoint's connections; open it with ``async with``."""

    def __init__(self, name: str, endpoint: OpenAIEndpoint, env: Mapping[str, str]) -> None:
        self._name = name
        self._endpoint = endpoint
        secrets = {header: env[variable] for header, variable in endpoint.secrets().items() if variable in env}
        self._redact = redactor([*secrets.values(), *proxy_secrets(env)])
        self._headers = {"Content-Type": "application/json"} | endpoint.headers
        self._headers |= {k: v if k in endpoint.headers else f"Bearer {v}" for k, v in secrets.items()}
        self._proxies = proxies_for(chat_urls(endpoint), env)
        self._session: aiohttp.ClientSession | None = None
        self._host_found = False
        self._first_try_at: float | None = None

    async def __aenter__(self) -> Self:
        # Time-outs cover one sent request; connections are bounded by the in-flight limit, not by the connector.
        end = self._endpoint
        total, silence = (None, end.idle_timeout) if end.stream else (end.request_timeout, None)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS, sock_read=silence),
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
        reply = Incoming(self._name)
        try:
            return await self._exchange(url, body, slot, reply)
        except (ModelError, Unusable) as error:
            error.args = (self._redact(str(error))[:LONGEST_MESSAGE],)
            error.usage = error.usage or reply.usage
            error.characters = error.characters or reply.characters
            raise

    async def _exchange(self, url: str, body: bytes, slot: Slot, reply: Incoming) -> Completion:
        assert self._session is not None
        proxy = self._proxies.get(url, _DIRECT)
        try:
            async with self._session.post(url, data=body, allow_redirects=False, **proxy) as response:
                self._host_found = True
                headers = response.headers
                requests, tokens = remaining(headers, "requests"), remaining(headers, "tokens")
                if requests or tokens:
                    slot.note_quota(requests, tokens)
                if response.status == 200:
                    reply.named_events = response.content_type == "text/event-stream"
                    return await self._answer(response, reply)
                text = await self._read(response)
                wait = retry_after(headers, response.status)
                location, host = headers.get("Location"), response.url.host or ""
                raise error_for(response.status, text, self._name, wait, location, host=host)
        except aiohttp.ConnectionTimeoutError:
            raise self._transient("connection", f"cannot connect within {CONNECT_SECONDS:g} s") from None
        except TimeoutError:
            raise self._timeout() from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise Unusable(
                f"{self._name}: TLS refused: {error}", hint="Fix the certificate or the endpoint's base_url."
            ) from None
        except aiohttp.InvalidURL:
            raise Unusable(
                f"{self._name}: not a valid address: {url}", hint=f"Correct model_endpoints.{self._name}.base_url."
            ) from None
        except (aiohttp.ClientConnectorError, aiohttp.ClientHttpProxyError) as error:
            raise self._unreached(error) from None
        except aiohttp.ClientPayloadError as error:
            raise self._unheard(self._transient("truncated", f"the answer broke off: {error}")) from None
        except (aiohttp.ClientError, OSError) as error:
            lost = self._transient("connection", f"connection lost: {error or type(error).__name__}")
            raise self._unheard(lost) from None

    def _unreached(self, error: aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError) -> Transient | Unusable:
        """A host that cannot be found may be a temporary fault; one that was never found is probably misspelled."""
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return proxy_refusal(error, self._name)
        now = time.monotonic()
        if not isinstance(error, aiohttp.ClientConnectorDNSError):
            self._host_found = True  # but it refuses connections
        self._first_try_at = self._first_try_at or now
        if self._host_found or now - self._first_try_at < UNKNOWN_SECONDS:
            where = f" to the proxy {error.host}" if isinstance(error, aiohttp.ClientProxyConnectionError) else ""
            return self._transient("connection", f"cannot connect{where}: {error.os_error or error}")
        return Unusable(
            f"{self._name}: cannot find the host {error.host}",
            hint=f"Correct model_endpoints.{self._name}.base_url, or fix this machine's network or its HTTPS_PROXY.",
        )

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        began = time.monotonic()
        chunks = []
        async for chunk in self._chunks(response):
            chunks.append(chunk)
            if time.monotonic() - began > self._endpoint.request_timeout:  # a stream has no total time-out
                raise self._timeout()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _answer(self, response: aiohttp.ClientResponse, reply: Incoming) -> Completion:
        heard_at = time.monotonic()
        try:
            async for chunk in self._chunks(response):
                now = time.monotonic()
                if reply.feed(chunk):
                    heard_at = now
                elif now - heard_at > self._endpoint.request_timeout:
                    raise self._timeout()
                if reply.done:
                    break
        except (ModelError, Unusable, TimeoutError, aiohttp.ClientError, OSError):
            if not reply.whole:  # a whole answer is paid for: do not ask again for its last bytes
                raise
        completion = reply.completion()
        if reply.done:
            with suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(LAST_BYTES_SECONDS):
                    await response.content.readany()
        return completion

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        """The decompressed body as it arrives. Raises ``Transient`` if it is too large."""
        most = self._endpoint.max_response_mb
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > most << 20:
                raise self._transient("oversized", f"an answer of more than {most} MiB")
            yield chunk

    def _timeout(self) -> Transient:
        if self._endpoint.stream:
            message = f"silent for {self._endpoint.idle_timeout:g} s, or nothing but keep-alives"
        else:
            message = f"no answer within {self._endpoint.request_timeout:g} s of sending"
        return self._unheard(self._transient("timeout", message))

    @staticmethod
    def _unheard(error: Transient) -> Transient:
        error.unheard = True
        return error

    def _transient(self, kind: Kind, message: str) -> Transient:
        return Transient(kind, f"{self._name}: {message}", endpoint=self._name)
