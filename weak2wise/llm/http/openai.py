"""One attempt at an OpenAI-compatible ``/chat/completions``: send a request and read the reply.

Source of the shapes: the providers' API references (OpenAI, DeepSeek, DashScope, OpenRouter, vLLM). Retries and the
journal are wrapped around this; limits are inside, so that waiting for them never counts towards a time-out.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, Self

import msgspec
from msgspec import structs

from weak2wise.config import EngineOptions, OpenAIEndpoint
from weak2wise.errors import RecordError
from weak2wise.llm.call import Call, current_call
from weak2wise.llm.cost import Reservation
from weak2wise.llm.endpoint import Endpoint, HostParts, Load
from weak2wise.llm.errors import Down, ModelError, NoCapacity, RateLimited, Unusable
from weak2wise.llm.http.replicas import Replicas, Visit
from weak2wise.llm.http.transport import Transport, chat_urls, models_url
from weak2wise.llm.limits.call_sizes import CallSizes
from weak2wise.llm.limits.limiter import AnySlot
from weak2wise.llm.model import CHARACTERS_PER_TOKEN, Completion, Model, Prompt, Usage
from weak2wise.llm.off_peak import OffPeakBarrier, utc_now
from weak2wise.llm.retry import Retried
from weak2wise.llm.worst_case import WorstCase
from weak2wise.telemetry.log import host_log

DEAD = frozenset({"connection", "timeout", "server_error"})
"""The kinds of fault of a dead endpoint; a malformed body comes from a live one."""
PAUSE_AS_OUTAGE = 60.0
"""Seconds. A longer pause counts as an outage for calls that need not wait: other endpoints can serve."""


class OpenAIModel(Endpoint):
    """An endpoint over HTTP with its own session.

    What a request may cost is reserved, and whether the run is stopping is checked, right before it is sent, however
    long it waited. A call for which its lane has no capacity is asked in the ordinary one if the settings say so.
    """

    def __init__(self, name: str, settings: OpenAIEndpoint, parts: HostParts | None = None) -> None:
        super().__init__(name, settings, parts)
        endpoint, self._lane_factor = settings.in_lane()
        self._endpoint = endpoint
        self._lane_tier = endpoint.extra_body.get("service_tier") if settings.lane else None
        self._budget = self.parts.budget
        self._replicas = Replicas(name, chat_urls(endpoint), endpoint.outage_patience)
        self.transport = Transport(name, endpoint, self.parts.env, self.redact)
        self._most_tokens = endpoint.longest_answer
        self._removed = {k for k, v in endpoint.extra_body.items() if v is None}
        self._extra = {k: v for k, v in endpoint.extra_body.items() if v is not None}
        self.worst_case = WorstCase(name, self.cost, self._sent_limit(), self._most_tokens)
        self._sizes: dict[str, CallSizes] = {}
        """By role."""
        self._encoder = msgspec.json.Encoder()
        self._counts_tokens = True
        self._off_peak = endpoint.prices.off_peak
        self._barrier: OffPeakBarrier | None = None
        """For calls to strong models, if they wait for off-peak hours."""
        if self.parts.wait_for_off_peak and self._off_peak:
            self._barrier = OffPeakBarrier(name, self._off_peak)
        self._ordinary = self._without_lane() if settings.lane and settings.lane_fallback == "ordinary" else None
        """Asked where the lane has no capacity."""

    def _without_lane(self) -> "OpenAIModel":
        """The same endpoint in its ordinary lane; limits and counts are shared."""
        settings = structs.replace(self.settings, lane=None, lane_fallback="wait")
        ordinary = OpenAIModel(self.name, settings, replace(self.parts, limits=self.limits))
        ordinary.meter, ordinary._barrier = self.meter, self._barrier
        return ordinary

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Open the session."""
        await self.transport.open()
        if self._ordinary:
            await self._ordinary.open()

    async def close(self) -> None:
        """Close the session."""
        await self.transport.close()
        if self._ordinary:
            await self._ordinary.close()

    async def offers(self) -> Mapping[str, date | None]:
        """The list at ``/models``."""
        return await self.transport.models(models_url(self._endpoint))

    def admitted(self) -> Model:
        """Itself: it asks its limits and the budget before each request."""
        return self

    def resilient(self, options: EngineOptions) -> Model:
        """The same model with retries."""
        del options
        return Retried(self, max_retries=self._endpoint.max_retries)

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Send one request and read its answer.

        Raises:
            ModelError, Unusable: see ``weak2wise.llm.errors``.
        """
        try:
            return await self._complete(prompt)
        except NoCapacity:
            if self._ordinary is None:
                raise
        return await self._ordinary.complete(prompt)

    async def _complete(self, prompt: Prompt) -> Completion:
        body = self._encoder.encode(self._body(prompt))
        call = current_call()
        # JSON is no shorter than the texts in it.
        usd = 0.0 if self._budget.max_usd is None else self.worst_case.usd(len(body))
        reservation = self._budget.reservation(self.name, usd)
        sizes = self._sizes.get(call.role) or self._sizes.setdefault(call.role, CallSizes(self._most_tokens, call.role))
        try:
            while True:
                if call.drain.started:
                    reservation.release()
                    await call.drain.reopened()
                if self._is_held(call):
                    assert self._barrier
                    reservation.release()
                    await self._barrier.wait()
                    continue
                if not call.waits and (pause := self.limits.pause_left) > PAUSE_AS_OUTAGE:
                    raise Down(f"{self.name}: asks for a pause of {pause:,.0f} s", endpoint=self.name)
                if not self._replicas.available:
                    reservation.release()
                    await self._replicas.ready(wait=call.waits)
                slot = await self.limits.acquire(
                    sizes,
                    len(body) / CHARACTERS_PER_TOKEN,
                    wanted=partial(self._may_go, call),
                    reservation=reservation,
                )
                if slot is None:
                    if self._may_go(call):
                        await reservation.wait()
                    continue
                try:
                    if not (call.drain.started or self._is_held(call)) and (visit := self._replicas.take(call.row)):
                        return await self._ask(visit, prompt, body, slot, call, reservation=reservation)
                finally:
                    slot.release()
        finally:
            reservation.release()

    def _is_held(self, call: Call) -> bool:
        return self._barrier is not None and call.role.startswith("strong/") and self._barrier.opens is not None

    def _may_go(self, call: Call) -> bool:
        paused = not call.waits and self.limits.pause_left > PAUSE_AS_OUTAGE
        return self._replicas.available and not (paused or call.drain.started or self._is_held(call))

    async def _ask(
        self, visit: Visit, prompt: Prompt, body: bytes, slot: AnySlot, call: Call, *, reservation: Reservation
    ) -> Completion:
        await call.drain.enter()
        self.meter.sent += 1
        began = time.monotonic()
        by_hour = self._off_peak.factor_at(utc_now()) if self._off_peak else 1.0
        replied: bool | None = None
        cause = ""
        try:
            completion = await self.transport.post(visit.replica.url, body, slot)
            replied = True
        except (ModelError, Unusable) as error:
            if isinstance(error, ModelError):
                self.meter.faults[error.kind] += 1
                replied, cause = error.kind not in DEAD, str(error)
            elsewhere = isinstance(error, NoCapacity) and self._ordinary is not None
            if isinstance(error, RateLimited) and not elsewhere and slot.refused(error.retry_after):
                self._log_limits(error.retry_after)
            if usage := error.usage or self._maybe_charged(prompt, error):
                usage = self._priced(usage, by_hour)
                reservation.settle(self.cost(usage))
                slot.tokens = usage.tokens
                await call.charge(usage)
            raise
        finally:
            call.drain.leave()
            if self._replicas.give_back(visit, replied=replied, cause=cause):
                self.limits.release_unwanted()
        self.meter.answered += 1
        self.meter.took.note(time.monotonic() - began)
        if not completion.usage.tokens:
            if self._counts_tokens:
                self._counts_tokens = False
                host_log.warning(
                    "endpoint.no_usage", endpoint=self.name, tokens="estimated from the length of the texts"
                )
            said = len(completion.text) + len(completion.reasoning or "")
            estimated = structs.replace(self._estimated(prompt, said), tier=completion.usage.tier)
            completion = structs.replace(completion, usage=estimated)
        if by_hour * self._lane_factor != 1:
            completion = structs.replace(completion, usage=self._priced(completion.usage, by_hour))
        reservation.settle(self.cost(completion.usage))
        self.worst_case.note(len(body), completion.usage)
        slot.answered(completion.usage.tokens)
        return completion

    def load(self) -> Load:
        """How busy it is now."""
        limits = self.limits
        limit = limits.size
        rate = limits.rate_limit if limits.in_flight < limit else None
        paced = None if rate is None else round(60 * rate, 1)
        held = self._barrier.held if self._barrier else 0
        return Load(
            in_flight=limits.in_flight,
            limit=limit,
            down=self._replicas.down_for,
            paced=paced,
            held=held,
            held_until=self._barrier.opens if self._barrier and held else None,
        )

    def hint(self, error: RecordError) -> str:
        """The addresses that were tried, after a connection error."""
        if error.kind != "connection":
            return ""
        end = self._endpoint
        key, urls = ("base_urls", end.base_urls) if end.base_urls else ("base_url", [end.base_url])
        return (
            f". Tried: {', '.join(urls)} (model_endpoints.{self.name}.{key}): is the host misspelt, its server not "
            "up yet, or https written for http?"
        )

    def _priced(self, usage: Usage, by_hour: float) -> Usage:
        """The usage with the share of the prices that is charged: the ordinary one if another lane served the call."""
        in_lane = self._lane_tier is None or usage.tier in ("", self._lane_tier)
        return structs.replace(usage, price_factor=by_hour * (self._lane_factor if in_lane else 1.0))

    def _estimated(self, prompt: Prompt, said: int) -> Usage:
        """The usage of a call whose endpoint reports none; ``said``: characters of the answer.

        Without it the call would seem to cost nothing.
        """
        asked = sum(len(message.content) for message in prompt.messages)
        prompt_tokens, completion_tokens = (math.ceil(n / CHARACTERS_PER_TOKEN) for n in (asked, said))
        return Usage(prompt_tokens, completion_tokens, estimated=True)

    def _maybe_charged(self, prompt: Prompt, error: ModelError | Unusable) -> Usage | None:
        """An estimate of what a call without an answer may be charged for; ``None`` if it was surely not sent.

        One that was not answered in time may have used all the tokens that it was allowed. Of one whose connection was
        lost before any word, only the prompt is counted.
        """
        if error.characters:
            usage = self._estimated(prompt, error.characters)
            return structs.replace(usage, completion_tokens=min(usage.completion_tokens, self._most_tokens))
        if not (isinstance(error, ModelError) and error.unheard):
            return None
        usage = self._estimated(prompt, 0)
        return structs.replace(usage, completion_tokens=self._most_tokens) if error.kind == "timeout" else usage

    def _log_limits(self, said: float | None) -> None:
        rate = self.limits.rate_limit
        host_log.info(
            "endpoint.limited",
            endpoint=self.name,
            retry_after=said,
            in_flight=self.limits.size,
            requests_per_minute=rate and round(60 * rate, 1),
        )

    def _sent_limit(self) -> int | None:
        """The most tokens that a request allows for its answer, in all choices; ``None`` if it sets no limit."""
        sent = {"max_tokens": self._most_tokens} | self._extra
        limits = [sent.get(key) for key in ("max_tokens", "max_completion_tokens") if key not in self._removed]
        known = [limit for limit in limits if type(limit) is int]
        choices = sent.get("n")
        return max(known) * (choices if type(choices) is int else 1) if known else None

    def batched_body(self, prompt: Prompt) -> bytes:
        """A request as a batch holds it: as any other, but never streamed."""
        body = self._body(prompt)
        for key in ("stream", "stream_options"):
            body.pop(key, None)
        return self._encoder.encode(body)

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
