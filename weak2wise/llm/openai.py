"""One attempt at an OpenAI-compatible ``/chat/completions``: send, read, and name what came back.

Source of the shapes: the providers' API references (OpenAI, DeepSeek, DashScope, OpenRouter, vLLM). Retries and the
journal are wrapped around this; limits are inside, so that waiting for them never counts as a time-out.
"""

import math
import os
import time
from collections.abc import Mapping
from typing import Any, Protocol, Self

import msgspec
import structlog
from msgspec import structs

from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.errors import ModelError, RateLimited, Rejected
from weak2wise.llm.limits import Limits, Slot
from weak2wise.llm.meter import Meter
from weak2wise.llm.model import Completion, Prompt, Usage
from weak2wise.llm.purse import Purse, write_off
from weak2wise.llm.replicas import Replica, Replicas
from weak2wise.llm.wire import Wire

DEAD = frozenset({"connection", "timeout", "server_error"})
"""The kinds of fault that a dead endpoint shows; a body that makes no sense comes from a live one."""
CHARACTERS_PER_TOKEN = 4
"""Roughly, for answers of an endpoint that does not count."""

log = structlog.get_logger()


def limits_of(endpoint: OpenAIEndpoint) -> Limits:
    """The limits that an endpoint's settings ask for."""
    return Limits(
        in_flight=endpoint.max_concurrent_requests,
        requests_per_minute=endpoint.max_requests_per_minute,
        tokens_per_minute=endpoint.max_tokens_per_minute,
    )


class WayOut(Protocol):
    """Where requests go out, which may be shut."""

    shut: bool

    async def park(self) -> None:
        """Wait to be cancelled instead of being sent."""
        ...


class OpenAIModel:
    """A ``Model`` over HTTP with its own session; open it with ``async with``."""

    def __init__(
        self,
        name: str,
        endpoint: OpenAIEndpoint,
        limits: Limits | None = None,
        purse: Purse | None = None,
        way_out: WayOut | None = None,
        *,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        """``limits`` are its own unless it shares them with other endpoints; ``purse`` pays for its answers.

        ``way_out``, and whether there is money left, is looked at right before a request is sent, however long it
        waited for its turn.
        """
        self.name = name
        self.meter = Meter()
        self.limits = limits or limits_of(endpoint)
        self._purse = purse or Purse()
        self._way_out = way_out
        self._endpoint = endpoint
        urls = [url.rstrip("/") + "/chat/completions" for url in endpoint.base_urls or (endpoint.base_url,)]
        self._replicas = Replicas(name, urls, endpoint.outage_patience)
        self._wire = Wire(name, endpoint, env)
        self._removed = {k for k, v in endpoint.extra_body.items() if v is None}
        self._extra = {k: v for k, v in endpoint.extra_body.items() if v is not None}
        self._encoder = msgspec.json.Encoder()
        self._counts_tokens = True

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._wire.__aexit__(*exc)

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Send one request and read its answer.

        Raises:
            ModelError, Unusable: see ``weak2wise.llm.errors``.
        """
        body = self._encoder.encode(self._body(prompt))
        while True:
            await self._replicas.ready()
            slot = await self.limits.acquire()
            try:
                shut = self._way_out if self._way_out and (self._way_out.shut or not self._purse.open()) else None
                if not shut and (replica := self._replicas.take()):
                    return await self._ask(replica, prompt, body, slot)
            finally:
                slot.release()
            if shut:  # without a place, so that those behind it see the same
                await shut.park()

    async def _ask(self, replica: Replica, prompt: Prompt, body: bytes, slot: Slot) -> Completion:
        self.meter.sent += 1
        began = time.monotonic()
        replied: bool | None = None
        try:
            completion = await self._wire.post(replica.url, body, slot)
            replied = True
        except ModelError as error:
            self.meter.faults[error.kind] += 1
            if error.kind in DEAD:
                replied = False
            elif isinstance(error, RateLimited | Rejected):
                replied = True
            if isinstance(error, RateLimited) and slot.refused(error.retry_after):
                self._log_limits(error.retry_after)
            if error.usage:
                self._purse.pay(self.cost(error.usage))
                slot.tokens = error.usage.tokens
                await write_off.get()(error.usage)
            raise
        finally:
            self._replicas.give_back(replica, replied=replied)
        self.meter.answered += 1
        self.meter.took.note(time.monotonic() - began)
        if not completion.usage.tokens:
            completion = self._counted(prompt, completion)
        self._purse.pay(self.cost(completion.usage))
        slot.answered(completion.usage.tokens)
        return completion

    def cost(self, usage: Usage) -> float:
        """US dollars for a call."""
        return self._endpoint.prices.cost(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)

    def _counted(self, prompt: Prompt, completion: Completion) -> Completion:
        """The same with an estimate of its tokens, without which it would seem to cost nothing."""
        if self._counts_tokens:
            self._counts_tokens = False
            log.warning("endpoint.no_usage", endpoint=self.name, tokens="estimated from the length of the texts")
        asked = sum(len(message.content) for message in prompt.messages)
        said = len(completion.text) + len(completion.reasoning or "")
        prompt_tokens, completion_tokens = (math.ceil(n / CHARACTERS_PER_TOKEN) for n in (asked, said))
        return structs.replace(completion, usage=Usage(prompt_tokens, completion_tokens, estimated=True))

    def _log_limits(self, said: float | None) -> None:
        rate = self.limits.pace.rate
        log.info(
            "endpoint.limited",
            endpoint=self.name,
            retry_after=said,
            in_flight=int(self.limits.window.size),
            requests_per_minute=rate and round(60 * rate, 1),
        )

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
        if self._endpoint.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        body |= self._extra
        for key in self._removed:
            body.pop(key, None)
        return body
