"""One attempt at an OpenAI-compatible ``/chat/completions``: send, read, and name what came back.

Source of the shapes: the providers' API references (OpenAI, DeepSeek, DashScope, OpenRouter, vLLM). Retries and the
journal are wrapped around this; limits are inside, so that waiting for them never counts as a time-out.
"""

import math
import os
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import msgspec
import structlog
from msgspec import structs

from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.errors import Down, ModelError, RateLimited
from weak2wise.llm.gate import Gate
from weak2wise.llm.limits import MOST_IN_FLIGHT, Limits, Slot
from weak2wise.llm.meter import Meter
from weak2wise.llm.model import Completion, Prompt, Usage
from weak2wise.llm.purse import Purse, write_off
from weak2wise.llm.replicas import Replicas, Visit
from weak2wise.llm.wire import Wire
from weak2wise.worker import patient

DEAD = frozenset({"connection", "timeout", "server_error"})
"""The kinds of fault that a dead endpoint shows; a body that makes no sense comes from a live one."""
CHARACTERS_PER_TOKEN = 4
"""Roughly, before anything is known of an endpoint's answers, and for one that does not count."""
LONGEST_PATIENCE = 60.0
"""Seconds; a longer pause that a provider asks for is the same as being down to who has others to ask."""

log = structlog.get_logger()


def limits_of(name: str, endpoint: OpenAIEndpoint, most_in_flight: int = MOST_IN_FLIGHT) -> Limits:
    """The limits that an endpoint's settings ask for; ``most_in_flight`` where they do not say how many those are."""
    return Limits(
        endpoint.limit_group or name,
        in_flight=endpoint.max_concurrent_requests,
        most_in_flight=most_in_flight,
        requests_per_minute=endpoint.max_requests_per_minute,
        tokens_per_minute=endpoint.max_tokens_per_minute,
    )


class OpenAIModel:
    """A ``Model`` over HTTP with its own session; open it with ``async with``."""

    def __init__(
        self,
        name: str,
        endpoint: OpenAIEndpoint,
        limits: Limits | None = None,
        purse: Purse | None = None,
        gate: Gate | None = None,
        *,
        one_of_several: bool = False,
        env: Mapping[str, str] = os.environ,
    ) -> None:
        """An endpoint.

        Args:
            name: what the config calls it.
            endpoint: its settings.
            limits: its own unless it shares them with other endpoints.
            purse: pays for its answers. That there is money left, and that the gate is open, is looked at right before
                a request is sent, however long it waited for its turn.
            gate: the way out of all calls.
            one_of_several: others do the same work; so while this one is down, a record that will be tried again does
                not wait for it (``weak2wise.worker.patient``) and keeps no place that the others could use.
            env: where keys are looked up.
        """
        self.name = name
        self.meter = Meter()
        self.limits = limits or limits_of(name, endpoint)
        self._purse = purse or Purse()
        self._gate = gate or Gate()
        self._one_of_several = one_of_several
        self._endpoint = endpoint
        urls = [url.rstrip("/") + "/chat/completions" for url in endpoint.base_urls or (endpoint.base_url,)]
        self._replicas = Replicas(name, urls, endpoint.outage_patience)
        self._wire = Wire(name, endpoint, env)
        self._most_tokens = endpoint.generation_kwargs.max_new_tokens or endpoint.max_tokens
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
        waits = patient.get() or not self._one_of_several
        tokens = len(body) / CHARACTERS_PER_TOKEN + self._most_tokens
        while True:
            if self._stopped():
                await self._gate.park()
            if not waits and (pause := self.limits.pause_left) > LONGEST_PATIENCE:
                raise Down(f"{self.name}: wants nothing for {pause:,.0f} s", endpoint=self.name)
            await self._replicas.ready(patient=waits)
            slot = await self.limits.acquire(tokens, partial(self._may_go, waits))
            if slot is None:
                continue
            try:
                if not self._stopped() and (visit := self._replicas.take()):
                    return await self._ask(visit, prompt, body, slot)
            finally:
                slot.release()

    def _stopped(self) -> bool:
        return self._gate.shut or not self._purse.open()

    def _may_go(self, waits: bool) -> bool:
        late = not waits and self.limits.pause_left > LONGEST_PATIENCE
        return self._replicas.available and not late and not self._stopped()

    async def _ask(self, visit: Visit, prompt: Prompt, body: bytes, slot: Slot) -> Completion:
        await self._gate.enter()
        self.meter.sent += 1
        began = time.monotonic()
        replied: bool | None = None
        cause = ""
        try:
            completion = await self._wire.post(visit.replica.url, body, slot)
            replied = True
        except ModelError as error:
            self.meter.faults[error.kind] += 1
            replied, cause = error.kind not in DEAD, str(error)
            if isinstance(error, RateLimited) and slot.refused(error.retry_after):
                self._log_limits(error.retry_after)
            usage = error.usage or (self._estimated(prompt, error.characters) if error.characters else None)
            if usage:
                self._purse.pay(self.cost(usage))
                slot.tokens = usage.tokens
                await write_off.get()(usage)
            raise
        finally:
            self._gate.leave()
            if self._replicas.give_back(visit, replied=replied, cause=cause):
                self.limits.sweep()
        self.meter.answered += 1
        self.meter.took.note(time.monotonic() - began)
        if not completion.usage.tokens:
            if self._counts_tokens:
                self._counts_tokens = False
                log.warning("endpoint.no_usage", endpoint=self.name, tokens="estimated from the length of the texts")
            said = len(completion.text) + len(completion.reasoning or "")
            completion = structs.replace(completion, usage=self._estimated(prompt, said))
        self._purse.pay(self.cost(completion.usage))
        slot.answered(completion.usage.tokens)
        return completion

    @property
    def down_for(self) -> float | None:
        """Seconds for which nobody has answered there; ``None`` as long as somebody does."""
        return self._replicas.down_for

    def cost(self, usage: Usage) -> float:
        """US dollars for a call."""
        return self._endpoint.prices.cost(usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)

    def _estimated(self, prompt: Prompt, said: int) -> Usage:
        """What a call took whose endpoint does not say so, ``said`` being the characters of the answer.

        Without it the call would seem to cost nothing.
        """
        asked = sum(len(message.content) for message in prompt.messages)
        prompt_tokens, completion_tokens = (math.ceil(n / CHARACTERS_PER_TOKEN) for n in (asked, said))
        return Usage(prompt_tokens, completion_tokens, estimated=True)

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
            "max_tokens": self._most_tokens,
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
