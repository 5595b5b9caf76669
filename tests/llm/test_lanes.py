"""``lane: flex`` sends the same calls the slow and cheap way, and they cost what was charged."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from msgspec import structs

from weak2wise.config import OpenAIEndpoint
from weak2wise.config.endpoints import decode_endpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.errors import NoCapacity
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.limits.limits import Limits
from weak2wise.llm.model import Message, Prompt
from weak2wise.llm.retry import Retried
from weak2wise.presets import presets

PROMPT = Prompt(messages=(Message("user", "What is 2 + 3?"),), temperature=0.6, seed=1)
FULL = (1000 * 1.0 + 100 * 10.0) / 1e6
"""US dollars for a call at the ordinary prices."""


class Provider:
    """Two addresses, the second one's path begins with ``slow``; a flex lane that may be full, or serve otherwise."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.full = 0
        """How many flex calls to refuse."""
        self.refusal: tuple[int, str] = (429, "resource_unavailable")
        self.tier: str | None = None
        """The tier that it says it served, in place of the one asked for."""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((request.path, body))
        flex = body.get("service_tier") == "flex"
        if flex and self.full:
            self.full -= 1
            status, code = self.refusal
            return web.json_response({"error": {"message": "no capacity now", "code": code}}, status=status)
        usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
        tier = self.tier or ("flex" if flex else "default")
        message = {"role": "assistant", "content": "5"}
        if not body.get("stream"):
            choices = [{"message": message, "finish_reason": "stop"}]
            return web.json_response({"choices": choices, "usage": usage, "service_tier": tier})
        chunk = {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}], "service_tier": tier}
        last = {"choices": [], "usage": usage}
        text = "".join(f"data: {web.json_response(part).text}\n\n" for part in (chunk, last)) + "data: [DONE]\n\n"
        return web.Response(text=text, content_type="text/event-stream")


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Provider, str]]:
    found = Provider()
    app = web.Application()
    app.add_routes([web.post(f"{path}/v1/chat/completions", found.chat) for path in ("", "/slow")])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    monkeypatch.setattr(Limits, "FIRST_PAUSE", 0.01)
    openai = presets()["openai"]
    monkeypatch.setitem(presets(), "openai", structs.replace(openai, base_url=f"{url}/v1"))
    yield found, url
    await runner.cleanup()


def settings(url: str, **keys: Any) -> OpenAIEndpoint:
    given = {"model_id": "m", "base_url": f"{url}/v1", "prices": {"input": 1.0, "output": 10.0}, "lane": "flex"}
    made = decode_endpoint(given | keys, "model_endpoints.e")
    assert isinstance(made, OpenAIEndpoint)
    return made


def model(made: OpenAIEndpoint) -> OpenAIModel:
    return OpenAIModel("e", made, HostParts(budget=CostBudget(10.0)))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("says", "share"), [(None, 0.5), ("default", 1.0)])
async def test_a_call_costs_what_the_lane_does_that_has_served_it(
    provider: tuple[Provider, str], stream: bool, says: str | None, share: float
) -> None:
    server, url = provider
    server.tier = says
    async with model(settings(url, stream=stream)) as asked:
        usage = (await asked.complete(PROMPT)).usage
    assert server.asked[0][1]["service_tier"] == "flex"
    assert asked.cost(usage) == pytest.approx(share * FULL)
    assert asked.parts.budget.spent == pytest.approx(share * FULL)


@pytest.mark.parametrize("refusal", [(429, "resource_unavailable"), (498, "capacity_exceeded")])
async def test_without_capacity_a_call_waits_and_spends_no_retry(
    provider: tuple[Provider, str], refusal: tuple[int, str]
) -> None:
    server, url = provider
    server.full, server.refusal = 5, refusal
    async with model(settings(url)) as asked:
        usage = (await asyncio.wait_for(Retried(asked, max_retries=0).complete(PROMPT), 30)).usage
        assert asked.load().down is None
    assert [body.get("service_tier") for _, body in server.asked] == ["flex"] * 6
    assert asked.cost(usage) == asked.parts.budget.spent == pytest.approx(FULL / 2)
    assert dict(asked.meter.faults) == {"rate_limited": 5}


@pytest.mark.parametrize("refusal", [(429, "resource_unavailable"), (498, "capacity_exceeded")])
async def test_without_capacity_a_call_goes_the_ordinary_way_at_its_price_if_that_is_wanted(
    provider: tuple[Provider, str], refusal: tuple[int, str]
) -> None:
    server, url = provider
    server.full, server.refusal = 1, refusal
    async with model(settings(url, lane_fallback="ordinary", request_timeout=77.0)) as asked:
        first, second = (await asked.complete(PROMPT)).usage, (await asked.complete(PROMPT)).usage
        assert asked.limits.pause_left == 0
    assert [body.get("service_tier") for _, body in server.asked] == ["flex", None, "flex"]
    assert (asked.cost(first), asked.cost(second)) == pytest.approx((FULL, FULL / 2))
    assert asked.parts.budget.spent == pytest.approx(1.5 * FULL)
    assert asked.meter.sent == 3


async def test_other_rate_limits_of_a_lane_are_not_got_round_by_the_ordinary_way(
    provider: tuple[Provider, str],
) -> None:
    server, url = provider
    server.full, server.refusal = 2, (429, "rate_limit_exceeded")
    async with model(settings(url, lane_fallback="ordinary")) as asked:
        await asyncio.wait_for(Retried(asked, max_retries=0).complete(PROMPT), 30)
    assert [body.get("service_tier") for _, body in server.asked] == ["flex"] * 3


async def test_a_lane_may_have_an_address_of_its_own(
    provider: tuple[Provider, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, url = provider
    dashscope = presets()["dashscope"]
    slow = structs.replace(dashscope.lanes["flex"], base_url=f"{url}/slow/v1")
    here = structs.replace(dashscope, base_url=f"{url}/v1", lanes={"flex": slow})
    monkeypatch.delitem(presets(), "openai")
    monkeypatch.setitem(presets(), "dashscope", here)
    made = settings(url, stream=True)
    async with model(made) as asked:
        usage = (await asked.complete(PROMPT)).usage
    ((path, body),) = server.asked
    assert (path, body.get("stream")) == ("/slow/v1/chat/completions", None)
    assert asked.cost(usage) == pytest.approx(FULL / 2)  # it says "default", but that address has one price
    assert (made.answer_timeout, made.in_lane()[0].request_timeout) == (3600, 3600)


async def test_the_refusal_of_a_full_lane_has_a_type_of_its_own(provider: tuple[Provider, str]) -> None:
    server, url = provider
    server.full = 1
    async with model(settings(url)) as asked:
        with pytest.raises(NoCapacity):
            await asked.complete(PROMPT)
    assert asked.parts.budget.spent == 0


@pytest.mark.parametrize(
    ("base_url", "lane", "fits"),
    [
        ("https://api.openai.com/v1", {"service_tier": "flex"}, True),
        ("https://ours.openai.azure.com/openai/v1?api-version=preview", {"service_tier": "flex"}, True),
        ("https://api.groq.com/openai/v1/", {"service_tier": "flex"}, True),
        ("https://ark.cn-beijing.volces.com/api/v3", {}, True),
        ("https://api.deepseek.com", {}, False),
        ("https://openai.azure.com.example/v1", {}, False),
    ],
)
def test_the_lanes_of_providers_are_known_by_their_address(base_url: str, lane: dict[str, Any], fits: bool) -> None:
    given = {"model_id": "m", "base_url": base_url, "lane": "flex"}
    if not fits:
        with pytest.raises(ConfigError, match=r"model_endpoints\.e\.lane: no lane flex is known at https.*openai"):
            decode_endpoint(given, "model_endpoints.e")
        return
    made = decode_endpoint(given, "model_endpoints.e")
    assert isinstance(made, OpenAIEndpoint)
    sent, _ = made.in_lane()
    assert sent.extra_body == lane
    assert sent.request_timeout == 3600


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"extra_body": {"service_tier": "auto"}}, "extra_body.service_tier: lane: flex sets it"),
        ({"base_urls": ["https://a.example/v1"]}, "lane: no lane flex is known at base_urls"),
        ({"lane": None, "lane_fallback": "ordinary"}, "lane_fallback: has no effect without lane"),
        ({"lane": "slow"}, "lane: expected one of flex"),
    ],
)
def test_a_lane_that_cannot_be_meant_is_refused(keys: dict[str, Any], says: str) -> None:
    given = {"model_id": "m", "base_url": "https://api.openai.com/v1", "lane": "flex"}
    with pytest.raises(ConfigError) as caught:
        decode_endpoint(given | keys, "model_endpoints.e")
    assert f"model_endpoints.e.{says}" in str(caught.value)


def test_lanes_and_prices_are_no_part_of_what_decides_the_answers() -> None:
    plain = {"model_id": "m", "base_url": "https://api.openai.com/v1"}
    off_peak = {"factor": 0.5, "peak": ["01:00-02:00"]}
    cheap = {"lane": "flex", "lane_fallback": "ordinary", "prices": {"input": 1, "off_peak": off_peak}}
    same = [decode_endpoint(plain | keys, "model_endpoints.e").answer_settings() for keys in ({}, cheap)]
    assert same[0] == same[1]


def test_what_is_expected_of_a_lane_is_its_price_and_the_most_is_the_ordinary_one() -> None:
    made = settings("https://api.openai.com", prices={"input": 1, "off_peak": {"factor": 0.5, "peak": ["00:00-12:00"]}})
    assert made.expected_factor(off_peak=True) == 0.25
    assert made.expected_factor(off_peak=False) == 0.375
    assert made.cost(1_000_000, 0, 0) == 1.0
