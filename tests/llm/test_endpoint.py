"""What every kind of endpoint has without writing it itself, and how its calls are repeated."""

import asyncio
from collections import Counter
from typing import Any, ClassVar

import pytest

from tests.llm.test_retry import PROMPT, Scripted, fault, limited
from tests.logs import captured_logs
from weak2wise.config import EngineOptions
from weak2wise.config.endpoint_settings import EndpointSettings, LimitSettings
from weak2wise.errors import RecordError
from weak2wise.llm.endpoint import Endpoint, Load
from weak2wise.llm.errors import Transient
from weak2wise.llm.model import Completion, Prompt, Usage
from weak2wise.llm.retry import Retried


class Paid(EndpointSettings, frozen=True, kw_only=True):
    """Cents for prompts and dimes for answers, or nothing."""

    free: bool = False

    @property
    def limits(self) -> LimitSettings:
        return LimitSettings(max_concurrent_requests=3)

    def cost(self, prompt_tokens: int, cached_tokens: int, completion_tokens: int) -> float | None:
        return None if self.free else 0.01 * (prompt_tokens - cached_tokens) + 0.1 * completion_tokens


class Mine(Endpoint):
    """Answers as a scripted model does."""

    version = "1"
    Settings = Paid
    script = Scripted()

    async def complete(self, prompt: Prompt, /) -> Completion:
        return await self.script.complete(prompt)


class Embedded(Mine):
    """The same on this machine."""

    embedded: ClassVar[bool] = True

    def load(self) -> Load:
        return Load(in_flight=5, limit=16, waiting=4)


def settings(**more: Any) -> Paid:
    return Paid(type=f"{__name__}:Mine", model_id="m", **more)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the pauses between attempts are; none is waited for."""
    seconds: list[float] = []

    async def sleep(pause: float) -> None:
        seconds.append(pause)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return seconds


def test_a_call_costs_what_its_settings_say_by_the_share_of_the_price_that_was_charged() -> None:
    model = Mine("e", settings())
    assert model.cost(Usage(100, 20, 50)) == pytest.approx(2.5)
    assert model.cost(Usage(100, 20, 50, price_factor=0.5)) == pytest.approx(1.25)
    assert Mine("e", settings(free=True)).cost(Usage(100, 20)) == 0


async def test_its_load_is_that_of_its_limits_and_an_embedded_one_says_it_itself() -> None:
    model = Mine("e", settings())
    slot = await model.limits.acquire()
    assert slot
    assert model.load() == Load(in_flight=1, limit=3, waiting=0, down=None, paced=None, held=0, held_until=None)
    assert model.free() == 2
    assert Embedded("e", settings()).free() == 7
    assert Endpoint.load(Embedded("e", settings())) == Load()


async def test_what_it_does_not_say_is_nothing() -> None:
    model = Mine("e", settings())
    Mine.check("e", settings())
    assert Mine.inspect("e", settings()).verdict == "good"
    assert await model.offers() == {}
    assert model.hint(RecordError("connection", "no")) == ""


async def test_its_calls_are_counted_held_to_its_limits_and_repeated_six_times(slept: list[float]) -> None:
    model = Mine("e", settings())
    model.script = Scripted(*(fault() for _ in range(10)))
    with pytest.raises(Transient) as caught:
        await model.resilient(EngineOptions()).complete(PROMPT)
    assert caught.value.attempts == model.script.asked == model.meter.sent == 7
    assert len(slept) == 6
    assert model.limits.in_flight == 0
    assert model.worst_case.usd(0) == pytest.approx(2.56 + 0.1 * settings().longest_answer)


@pytest.mark.slow
async def test_pauses_between_attempts_grow_from_half_a_second_to_a_minute_and_are_drawn_by_chance(
    slept: list[float],
) -> None:
    longest: Counter[int] = Counter()
    for _ in range(300):
        slept.clear()
        with pytest.raises(Transient):
            await Retried(Scripted(*(fault() for _ in range(10))), max_retries=9).complete(PROMPT)
        longest |= Counter({number: round(1000 * pause) for number, pause in enumerate(slept)})
    allowed = [500 * 2**number for number in range(7)] + [60_000] * 2
    assert len(longest) == 9
    assert all(0.95 * most < longest[number] <= most for number, most in enumerate(allowed))


async def test_a_server_s_own_word_counts_up_to_a_minute_and_a_429_waits_for_the_limiter_alone(
    slept: list[float],
) -> None:
    error = fault()
    error.retry_after = 86_400.0
    await Retried(Scripted(error, limited()), max_retries=1).complete(PROMPT)
    assert slept == [60.0, 0.0]


@pytest.mark.usefixtures("slept")
async def test_each_attempt_that_failed_is_logged_and_the_last_one_as_such() -> None:
    errors = [Transient("server_error", "".join(f"{number} " for number in range(200)), endpoint="e") for _ in range(3)]
    with captured_logs() as events, pytest.raises(Transient):
        await Retried(Scripted(*errors), max_retries=2).complete(PROMPT)
    assert [(event["event"], event["level"], event["attempt"]) for event in events] == [
        ("call.retried", "info", 1),
        ("call.retried", "info", 2),
        ("call.failed", "warning", 3),
    ]
    assert {(event["endpoint"], event["kind"], event["message"]) for event in events} == {
        ("e", "server_error", str(errors[0])[:200])
    }
