"""One endpoint over HTTP: what it sends, what it reserves and counts, how busy it says it is, and what it advises."""

import asyncio
import json
from typing import Any

import pytest

from tests.logs import captured_logs
from tests.loopback.fixed import saying
from tests.loopback.replies import http
from weak2wise.config import OpenAIEndpoint, Prices
from weak2wise.config.endpoint_settings import GenerationKwargs
from weak2wise.errors import RecordError
from weak2wise.llm.call import Call, calling
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.endpoint import HostParts, Load
from weak2wise.llm.errors import Down, ModelError, Rejected, Unusable
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.model import Completion, Message, Prompt, Usage

PROMPT = Prompt(messages=(Message("system", "Be brief."), Message("user", "What is 2 + 2?")), temperature=0.6, seed=5)
CHARACTERS = len("Be brief.What is 2 + 2?")
ANSWER = b'{"choices": [{"message": {"content": "four"}, "finish_reason": "stop"}]%b}'
CLOSE = "Connection: close\r\n"
USAGE = b', "usage": {"prompt_tokens": 9, "completion_tokens": 4}'
PLAIN = {
    "model": "m",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}],
    "temperature": 0.6,
    "max_tokens": 8192,
    "seed": 5,
}


def model(url: str, budget: CostBudget | None = None, **keys: Any) -> OpenAIModel:
    given: dict[str, Any] = {"model_id": "m", "prices": Prices(input=1e6, output=1e7)}
    return OpenAIModel("e", OpenAIEndpoint(base_url=url, **given | keys), HostParts(budget=budget or CostBudget()))


async def ask(reply: bytes, **keys: Any) -> tuple[Completion, OpenAIModel, dict[str, Any]]:
    """The answer to one call, the endpoint, and the body that it sent."""
    async with saying(http(reply)) as server, model(server.url, **keys) as asked:
        completion = await asked.complete(PROMPT)
    (body,) = server.bodies
    return completion, asked, json.loads(body)


@pytest.mark.parametrize(
    ("keys", "changed"),
    [
        ({}, {}),
        ({"max_tokens": 100}, {"max_tokens": 100}),
        ({"generation_kwargs": GenerationKwargs(max_new_tokens=50)}, {"max_tokens": 50}),
        ({"generation_kwargs": GenerationKwargs(do_sample=False)}, {"temperature": 0.0}),
        (
            {"generation_kwargs": GenerationKwargs(top_p=0.9, top_k=20, min_p=0.1, repetition_penalty=1.1)},
            {"top_p": 0.9, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.1},
        ),
        ({"extra_body": {"seed": 7, "thinking": {"type": "off"}}}, {"seed": 7, "thinking": {"type": "off"}}),
    ],
)
async def test_a_request_has_what_is_configured_and_nothing_else(keys: dict[str, Any], changed: dict[str, Any]) -> None:
    completion, _, body = await ask(ANSWER % USAGE, **keys)
    assert (completion.text, completion.usage) == ("four", Usage(9, 4))
    assert body == PLAIN | changed


async def test_a_null_in_the_extra_body_removes_a_key_that_would_be_sent() -> None:
    removed = {"seed": None, "temperature": None, "unknown": None, "max_tokens": None, "max_completion_tokens": 64}
    _, _, body = await ask(ANSWER % USAGE, extra_body=removed)
    assert body == {"model": "m", "messages": PLAIN["messages"], "max_completion_tokens": 64}


async def test_a_stream_is_asked_for_with_its_usage() -> None:
    _, _, body = await ask(ANSWER % USAGE, stream=True)
    assert body == PLAIN | {"stream": True, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize(
    ("keys", "most"),
    [
        ({}, 8192),
        ({"max_tokens": 100}, 100),
        ({"extra_body": {"max_tokens": 50}}, 50),
        ({"extra_body": {"max_completion_tokens": 9000}}, 9000),
        ({"extra_body": {"max_completion_tokens": 50}}, 8192),
        ({"extra_body": {"max_tokens": None, "max_completion_tokens": 50}}, 50),
        ({"max_tokens": 100, "extra_body": {"n": 3}}, 300),
        ({"max_tokens": 100, "extra_body": {"n": "3"}}, 100),
    ],
)
def test_the_most_that_a_call_may_cost_is_that_of_the_longest_answer_it_asks_for(
    keys: dict[str, Any], most: int
) -> None:
    with captured_logs() as events:
        assert model("http://e/v1", **keys).worst_case.usd(100) == 356 + 10 * most
    assert events == []


def test_where_no_request_says_how_long_an_answer_may_be_that_is_said() -> None:
    with captured_logs() as events:
        model("http://e/v1", extra_body={"max_tokens": None}).worst_case.usd(100)
    assert [(event["event"], event["why"]) for event in events] == [("money.no_bound", "no max_tokens is sent")]


async def test_usage_that_is_not_reported_is_estimated_from_the_length_of_the_texts_and_that_is_said_once() -> None:
    reply = b'{"choices": [{"message": {"content": "four", "reasoning": "because"}, "finish_reason": "stop"}]}'
    budget = CostBudget()
    with captured_logs() as events:
        async with saying(http(reply, headers=CLOSE)) as server, model(server.url, budget) as asked:
            usages = [(await asked.complete(PROMPT)).usage for _ in range(2)]
    assert usages == [Usage(-(-CHARACTERS // 4), 3, estimated=True)] * 2
    assert budget.spent == 2 * (6 + 10 * 3)
    assert [(event["event"], event["endpoint"]) for event in events] == [("endpoint.no_usage", "e")]


async def test_what_a_refusal_used_is_charged_and_counted_as_a_fault() -> None:
    charged: list[Usage] = []

    async def note(usage: Usage) -> None:
        charged.append(usage)

    budget = CostBudget(1e6)
    refusal = http(b'{"error": {"message": "no"}' + USAGE + b"}", status=400)
    async with saying(refusal) as server, model(server.url, budget) as asked:
        with calling(Call(charge=note)), pytest.raises(Rejected):
            await asked.complete(PROMPT)
    assert (charged, budget.spent) == ([Usage(9, 4)], 49)
    assert budget.reservation("other", 1e6 - 49).take()
    assert (asked.meter.sent, asked.meter.answered, dict(asked.meter.faults)) == (1, 0, {"bad_request": 1})
    assert asked.limits.in_flight == 0


@pytest.mark.parametrize("status", [307, 400, 401, 402, 404, 429, 500])
async def test_a_refusal_that_reports_no_usage_costs_nothing(status: int) -> None:
    charged: list[Usage] = []

    async def note(usage: Usage) -> None:
        charged.append(usage)

    budget = CostBudget(1e6)
    async with saying(http(b'{"error": "no"}', status=status)) as server, model(server.url, budget) as asked:
        with calling(Call(charge=note)), pytest.raises((ModelError, Unusable)):
            await asked.complete(PROMPT)
    assert (charged, budget.spent) == ([], 0)
    assert budget.reservation("other", 1e6).take()


async def test_an_answer_is_counted_with_its_time_and_its_money() -> None:
    budget = CostBudget(1e6)
    async with saying(b"", http(ANSWER % USAGE), pause=0.4) as server, model(server.url, budget) as asked:
        assert asked.load() == Load(in_flight=0, limit=32)
        call = asyncio.create_task(asked.complete(PROMPT))
        await asyncio.sleep(0.03)
        assert asked.load() == Load(in_flight=1, limit=32)
        await call
    assert (asked.meter.sent, asked.meter.answered, dict(asked.meter.faults)) == (1, 1, {})
    assert 0.4 <= asked.meter.took.total < 20
    assert budget.spent == 49
    assert budget.reservation("other", 1e6 - 49).take()


@pytest.mark.slow
async def test_its_load_shows_the_rate_where_that_and_not_the_limit_holds_calls_back() -> None:
    async with model("http://e/v1", max_requests_per_minute=61, max_concurrent_requests=2) as asked:
        assert asked.load() == Load(in_flight=0, limit=2, paced=59.8)
        slots = [await asked.limits.acquire() for _ in range(2)]
        assert asked.load() == Load(in_flight=2, limit=2, paced=None)
        for slot in slots:
            assert slot
            slot.release()


LIMITED = http(b"", status=429, headers="Retry-After: 7\r\n")


async def test_a_429_is_logged_once_for_its_burst_with_how_many_may_be_in_flight_now() -> None:
    async with saying(LIMITED) as server, model(server.url, max_concurrent_requests=4) as asked:
        with captured_logs() as events:
            calls = [asyncio.create_task(asked.complete(PROMPT)) for _ in range(4)]
            await asyncio.gather(*calls, return_exceptions=True)
    (event,) = events
    assert event["event"] == "endpoint.limited"
    assert (event["endpoint"], event["retry_after"], event["in_flight"]) == ("e", 7, 3)
    assert event["requests_per_minute"] is None
    assert asked.limits.pause_left <= 7


async def test_a_429_is_logged_with_the_rate_that_holds_calls_back() -> None:
    async with saying(LIMITED) as server, model(server.url, max_requests_per_minute=6001) as asked:
        with captured_logs() as events, pytest.raises(ModelError):
            await asked.complete(PROMPT)
    assert [(event["event"], event["requests_per_minute"]) for event in events] == [("endpoint.limited", 5881.0)]


@pytest.mark.parametrize(("pause", "waits"), [(59.0, True), (61.0, False)])
async def test_who_can_ask_another_endpoint_does_not_wait_for_a_pause_of_more_than_a_minute(
    pause: float, waits: bool
) -> None:
    async with model("http://127.0.0.1:9/v1") as asked:
        first, second = [await asked.limits.acquire() for _ in range(2)]
        assert first
        assert second
        first.answered(1)
        second.refused(pause)
        first.release()
        second.release()
        with calling(Call(waits=False)):
            call = asyncio.create_task(asked.complete(PROMPT))
            await asyncio.sleep(0.02)
            assert call.done() is not waits
        call.cancel()
        (error,) = await asyncio.gather(call, return_exceptions=True)
        assert waits or (isinstance(error, Down) and "asks for a pause of 61 s" in str(error))
    assert asked.meter.sent == 0


@pytest.mark.parametrize(
    ("keys", "tried"),
    [
        ({}, "Tried: http://one/v1 (model_endpoints.e.base_url)"),
        (
            {"base_urls": ("http://two/v1", "http://three/v1")},
            "Tried: http://two/v1, http://three/v1 (model_endpoints.e",
        ),
    ],
)
def test_after_a_connection_error_the_addresses_that_were_tried_are_named(keys: dict[str, Any], tried: str) -> None:
    asked = model("http://one/v1", **keys)
    assert tried in asked.hint(RecordError("connection", "no"))
    assert asked.hint(RecordError("timeout", "no")) == ""


@pytest.mark.parametrize(
    ("status", "faults", "down"),
    [(500, 20, True), (500, 19, False), (400, 30, False), (429, 30, False), (200, 30, False)],
)
async def test_only_faults_of_a_dead_server_take_an_endpoint_down(
    monkeypatch: pytest.MonkeyPatch, status: int, faults: int, down: bool
) -> None:
    """Not a refusal, and no damaged body either: that comes from a live one."""
    monkeypatch.setattr("weak2wise.llm.limits.limits.Limits.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("weak2wise.llm.limits.limits.Limits.LONGEST_GUESS", 0.001)
    async with saying(http(b"no JSON", status=status, headers=CLOSE)) as server, model(server.url) as asked:
        for _ in range(faults):
            with pytest.raises(ModelError) as caught:
                await asked.complete(PROMPT)
            assert caught.value.kind != "connection"
        assert (asked.load().down is not None) is down
