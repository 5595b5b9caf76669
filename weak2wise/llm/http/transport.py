"""One HTTP exchange: send a body, read the reply, and turn every failure into one of our error types."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import date
from typing import Any, NamedTuple

import aiohttp

from weak2wise.config import OpenAIEndpoint
from weak2wise.deadline import Deadline
from weak2wise.errors import Kind
from weak2wise.llm.errors import ModelError, Transient, Unusable
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.incoming import Incoming
from weak2wise.llm.http.model_list import parse_models
from weak2wise.llm.http.proxy import proxies_for, proxy_refusal, proxy_secrets
from weak2wise.llm.http.rate_limit_headers import remaining, retry_after
from weak2wise.llm.limits.limiter import AnySlot
from weak2wise.llm.model import Completion
from weak2wise.telemetry.redaction import message_redactor

LONGEST_MESSAGE = 400
"""Characters that are kept of an error's message. Secrets are removed first: half a key would not be recognised."""
LAST_BYTES_SECONDS = 0.5
"""How long to wait for the end of a finished stream, so that its connection can be used again."""
CONNECT_SECONDS = 30.0
"""How long a new connection may take."""
UNKNOWN_SECONDS = 15.0
"""How long a host that was never found may be unknown before that counts as a mistake in the config."""
LIST_SECONDS = 15.0
"""How long a provider's list of models may take."""
_DIRECT: dict[str, Any] = {}


def chat_urls(endpoint: OpenAIEndpoint) -> list[str]:
    """The addresses of chat completions, one a replica."""
    return [_url(base_url, "chat/completions") for base_url in endpoint.base_urls or (endpoint.base_url,)]


def models_url(endpoint: OpenAIEndpoint) -> str:
    """The address of the list of models, of the first replica."""
    return _url(next(iter(endpoint.base_urls), endpoint.base_url), "models")


def _url(base_url: str, path: str) -> str:
    """A path under a base URL, whose query (Azure's ``api-version``) stays at the end."""
    base, mark, query = base_url.partition("?")
    return f"{base.rstrip('/')}/{path}{mark}{query}"


class _Connector(aiohttp.TCPConnector):
    async def _create_connection(self, *args: Any, **kwargs: Any) -> Any:
        """Connect within ``CONNECT_SECONDS``. Raises ``TimeoutError``, of which aiohttp makes an error of its own."""
        async with Deadline(CONNECT_SECONDS):
            return await super()._create_connection(*args, **kwargs)


class Reply(NamedTuple):
    """A reply whose body is still to come; each part of it that arrives renews ``silent``."""

    response: aiohttp.ClientResponse
    silent: Deadline


class Transport:
    """One endpoint's connections; ``open`` it before the first request.

    ``redact`` removes the endpoint's secrets from a text.
    """

    def __init__(
        self, name: str, endpoint: OpenAIEndpoint, env: Mapping[str, str], redact: Callable[[str], str]
    ) -> None:
        self._name = name
        self._endpoint = endpoint
        secrets = {header: env[variable] for header, variable in endpoint.secrets().items() if variable in env}
        proxy = message_redactor(proxy_secrets(env))
        self._redact: Callable[[str], str] = lambda text: redact(proxy(text))
        self._headers = {"Content-Type": "application/json"} | endpoint.headers
        self._headers |= {k: v if k in endpoint.headers else f"Bearer {v}" for k, v in secrets.items()}
        self._proxies = proxies_for([*chat_urls(endpoint), models_url(endpoint)], env)
        self._session: aiohttp.ClientSession | None = None
        self._host_found = False
        self._first_try_at: float | None = None

    async def open(self) -> None:
        """Open the session."""
        # Connections are bounded by the in-flight limit, not by the connector. aiohttp's own time-outs are off: after
        # the process stood still they would fire before the answers that have arrived are read.
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the session, if it is open."""
        if self._session:
            await self._session.close()

    async def post(self, url: str, body: bytes, slot: AnySlot) -> Completion:
        """Send one request and read its answer.

        Raises:
            ModelError, Unusable: see ``weak2wise.llm.errors``; their messages hold no key.
        """
        reply = Incoming(self._name)
        try:
            return await self._in_time(url, body, slot, reply)
        except (ModelError, Unusable) as error:
            error.args = (self._redact(str(error))[:LONGEST_MESSAGE],)
            error.usage = error.usage or reply.usage
            error.characters = error.characters or reply.characters
            raise

    async def models(self, url: str) -> dict[str, date | None]:
        """The models in a provider's list, each with its ``shutdown_date``; empty if there is no list to be read."""
        assert self._session is not None
        proxy = self._proxies.get(url, _DIRECT)
        try:
            async with (
                Deadline(LIST_SECONDS) as silent,
                self._session.get(url, allow_redirects=False, **proxy) as response,
            ):
                body = b"".join([chunk async for chunk in self._chunks(response, silent)])
        except (aiohttp.ClientError, OSError, Transient):
            return {}
        return parse_models(body) if response.status == 200 else {}

    async def _in_time(self, url: str, body: bytes, slot: AnySlot, reply: Incoming) -> Completion:
        end = self._endpoint
        try:
            async with Deadline(end.request_timeout) as whole:
                if not end.stream:
                    return await self._exchange(url, body, slot, reply, whole=whole)
                async with Deadline(end.idle_timeout) as silent:
                    return await self._exchange(url, body, slot, reply, whole=whole, silent=silent)
        except TimeoutError:
            if reply.whole:  # it is paid for: do not ask again for its last bytes
                return reply.completion()
            raise self._timeout() from None

    async def _exchange(
        self, url: str, body: bytes, slot: AnySlot, reply: Incoming, *, whole: Deadline, silent: Deadline | None = None
    ) -> Completion:
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
                    return await self._answer(response, reply, whole, silent)
                raise await self._refusal(response, silent)
        except (aiohttp.ClientError, OSError) as error:
            raise self._fault(error, url) from None

    @asynccontextmanager
    async def request(
        self, method: str, path: str, *, data: Any = None, kind: str = "application/json", seconds: float
    ) -> "AsyncIterator[Reply]":
        """Send another request than a chat and open its reply, for calls about files and batches.

        Args:
            method: of HTTP.
            path: under the base URL, with its query.
            data: the body.
            kind: its content type.
            seconds: how long nothing may come, or go, before the request counts as failed.

        Raises:
            ModelError, Unusable: see ``weak2wise.llm.errors``; their messages hold no key.
        """
        assert self._session is not None
        url = _url(self._endpoint.base_url, path)
        proxy = self._proxies.get(models_url(self._endpoint), _DIRECT)
        try:
            async with Deadline(seconds) as silent:
                try:
                    async with self._session.request(
                        method, url, data=data, allow_redirects=False, headers={"Content-Type": kind}, **proxy
                    ) as response:
                        self._host_found = True
                        if response.status not in {200, 201, 202, 204}:
                            raise await self._refusal(response, silent)
                        yield Reply(response, silent)
                except (aiohttp.ClientError, OSError) as error:
                    raise self._fault(error, url) from None
        except TimeoutError:
            message = f"no answer to {method} {path.partition('?')[0]} within {seconds:g} s"
            raise self._unheard(self._transient("timeout", message)) from None
        except (ModelError, Unusable) as error:
            error.args = (self._redact(str(error))[:LONGEST_MESSAGE],)
            raise

    async def _refusal(self, response: aiohttp.ClientResponse, silent: Deadline | None) -> ModelError | Unusable:
        """The error that a reply with another status than 200 stands for."""
        text = b"".join([chunk async for chunk in self._chunks(response, silent)])
        wait = retry_after(response.headers, response.status)
        location, host = response.headers.get("Location"), response.url.host or ""
        error = error_for(response.status, text, self._name, wait, location, host=host)
        error.status = response.status
        return error

    def _fault(self, error: aiohttp.ClientError | OSError, url: str) -> Transient | Unusable:
        """Our error for one of aiohttp's or the system's."""
        match error:
            case aiohttp.ConnectionTimeoutError():
                return self._transient("connection", f"cannot connect within {CONNECT_SECONDS:g} s")
            case aiohttp.ClientConnectorCertificateError():
                return Unusable(
                    f"{self._name}: TLS refused: {error}", hint="Fix the certificate or the endpoint's base_url."
                )
            case aiohttp.InvalidURL():
                hint = f"Correct model_endpoints.{self._name}.base_url."
                return Unusable(f"{self._name}: not a valid address: {url}", hint=hint)
            case aiohttp.ClientConnectorError() | aiohttp.ClientHttpProxyError():
                return self._unreached(error)
            case aiohttp.ClientPayloadError():
                return self._unheard(self._transient("truncated", f"the answer broke off: {error}"))
        return self._unheard(self._transient("connection", f"connection lost: {error or type(error).__name__}"))

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

    async def _answer(
        self, response: aiohttp.ClientResponse, reply: Incoming, whole: Deadline, silent: Deadline | None
    ) -> Completion:
        try:
            async for chunk in self._chunks(response, silent):
                if reply.feed(chunk) and self._endpoint.stream:
                    whole.renew()
                if reply.done:
                    break
        except (ModelError, Unusable, aiohttp.ClientError, OSError):
            if not reply.whole:  # a whole answer is paid for: do not ask again for its last bytes
                raise
        completion = reply.completion()
        if reply.done:
            with suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(LAST_BYTES_SECONDS):
                    await response.content.readany()
        return completion

    async def _chunks(self, response: aiohttp.ClientResponse, silent: Deadline | None) -> AsyncIterator[bytes]:
        """The decompressed body as it arrives, each piece a sign of life. Raises ``Transient`` if it is too large."""
        most = self._endpoint.max_response_mb
        size = 0
        async for chunk in response.content.iter_any():
            if silent:
                silent.renew()
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
