"""One attempt at an OpenAI-compatible ``/chat/completions``: send, read, and name what came back.

Source of the shapes: the providers' API references (OpenAI, DeepSeek, DashScope, OpenRouter, vLLM). Retries and the
journal are wrapped around this; limits are inside, so that waiting for them never counts as a time-out.
"""

import os
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Self

import aiohttp
import msgspec

from weak2wise.config import OpenAIEndpoint
from weak2wise.errors import Kind
from weak2wise.llm.errors import ModelError, RateLimited, Transient, Unusable
from weak2wise.llm.limits import Limits
from weak2wise.llm.meter import Meter
from weak2wise.llm.model import Completion, Prompt
from weak2wise.llm.replies import error_for, parse_reply

MAX_BODY = 64 << 20
"""Bytes of an unpacked response body; more is no answer to a chat."""


class OpenAIModel:
    """A ``Model`` over HTTP with its own session; open it with ``async with``."""

    def __init__(self, name: str, endpoint: OpenAIEndpoint, *, env: Mapping[str, str] = os.environ) -> None:
        self.name = name
        self.meter = Meter()
        self.limits = Limits(
            in_flight=endpoint.max_concurrent_requests,
            requests_per_minute=endpoint.max_requests_per_minute,
            tokens_per_minute=endpoint.max_tokens_per_minute,
        )
        self._endpoint = endpoint
        self._url = endpoint.base_url.rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json"} | {
            k: env[v[1:]] if v.startswith("$") else v for k, v in endpoint.headers.items()
        }
        key_variable = endpoint.api_key_env
        if key_variable is None and endpoint.base_url.startswith("https://api.openai.com/"):
            key_variable = "OPENAI_API_KEY"
        if key_variable and (key := env.get(key_variable)):
            self._headers.setdefault("Authorization", f"Bearer {key}")
        self._removed = {k for k, v in endpoint.extra_body.items() if v is None}
        self._extra = {k: v for k, v in endpoint.extra_body.items() if v is not None}
        self._encoder = msgspec.json.Encoder()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Time-outs cover one sent request; connections are bounded by the in-flight limit, not by the connector.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=self._endpoint.request_timeout, sock_connect=30),
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session:
            await self._session.close()

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Send one request and read its answer.

        Raises:
            Transient, RateLimited, Rejected, Unusable: see ``weak2wise.llm.errors``.
        """
        body = self._encoder.encode(self._body(prompt))
        async with self.limits.slot() as slot:
            self.meter.sent += 1
            try:
                completion = await self._exchange(body)
            except RateLimited as error:
                self.meter.faults[error.kind] += 1
                self.limits.cool_down(error.retry_after)
                raise
            except ModelError as error:
                self.meter.faults[error.kind] += 1
                raise
            self.meter.answered += 1
            self.limits.succeeded()
            slot.tokens = completion.usage.prompt_tokens + completion.usage.completion_tokens
            return completion

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        kwargs = self._endpoint.generation_kwargs
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": prompt.messages,
            "temperature": prompt.temperature if kwargs.do_sample else 0.0,
            "max_tokens": kwargs.max_new_tokens or self._endpoint.max_tokens,
            "seed": prompt.seed,
        }
        for key in ("top_p", "top_k", "min_p", "repetition_penalty"):
            if (value := getattr(kwargs, key)) is not None:
                body[key] = value
        body |= self._extra
        for key in self._removed:
            body.pop(key, None)
        return body

    async def _exchange(self, body: bytes) -> Completion:
        assert self._session is not None
        try:
            async with self._session.post(self._url, data=body, allow_redirects=False) as response:
                text = await self._read(response)
                if response.status == 200:
                    return parse_reply(text, self.name)
                raise error_for(
                    response.status, text, self.name, _retry_after(response.headers), response.headers.get("Location")
                )
        except TimeoutError:
            seconds = self._endpoint.request_timeout
            raise self._transient("timeout", f"no answer within {seconds:g} s of sending") from None
        except aiohttp.ClientSSLError as error:
            raise Unusable(
                f"{self.name}: TLS refused: {error}", hint="Mend the certificate or the endpoint's base_url."
            ) from None
        except aiohttp.InvalidURL:
            raise Unusable(
                f"{self.name}: not a usable address: {self._endpoint.base_url}",
                hint=f"Correct model_endpoints.{self.name}.base_url.",
            ) from None
        except aiohttp.ClientConnectorError as error:
            raise self._transient("connection", f"cannot connect: {error.os_error or error}") from None
        except aiohttp.ClientPayloadError as error:
            raise self._transient("truncated", f"the answer broke off: {error}") from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._transient("connection", f"connection lost: {error or type(error).__name__}") from None

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks = []
        size = 0
        async for chunk in response.content.iter_any():
            size += len(chunk)
            if size > MAX_BODY:
                raise self._transient("oversized", f"an answer of more than {MAX_BODY >> 20} MiB")
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _transient(self, kind: Kind, message: str) -> Transient:
        return Transient(kind, f"{self.name}: {message}", endpoint=self.name)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks for: a number or an HTTP date (RFC 9110, 10.2.3)."""
    value = headers.get("Retry-After")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
