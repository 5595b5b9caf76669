"""One exchange over HTTP: its addresses and headers, how much of a reply is taken, and what is said of a failure."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from typing import Any

import pytest

from tests.loopback.fixed import Heard, saying
from tests.loopback.replies import http
from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.errors import ModelError, Rejected, Transient
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.http.transport import chat_urls, models_url
from weak2wise.llm.model import Message, Prompt

PROMPT = Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=5)
WHOLE = b'{"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}'
EVENTS = b'data: {"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
MEBIBYTE = 1 << 20


@asynccontextmanager
async def answered_by(*parts: bytes, pause: float = 0.0, **keys: Any) -> AsyncIterator[tuple[OpenAIModel, Heard]]:
    """An endpoint whose server says this to everybody."""
    async with saying(*parts, pause=pause) as server:
        settings = OpenAIEndpoint(base_url=server.url, model_id="m", **keys)
        env = {"KEY": "sk-1234567890", "LAB": "lab-1234567890"}
        async with OpenAIModel("e", settings, HostParts(env=env)) as model:
            yield model, server


async def failure(*parts: bytes, pause: float = 0.0, **keys: Any) -> ModelError:
    async with answered_by(*parts, pause=pause, **keys) as (model, _):
        with pytest.raises(ModelError) as caught:
            await model.complete(PROMPT)
    return caught.value


def test_a_query_stays_behind_the_path_and_the_list_of_models_is_the_first_replica_s() -> None:
    one = OpenAIEndpoint(base_url="http://a/v1/?x=1", model_id="m")
    assert chat_urls(one) == ["http://a/v1/chat/completions?x=1"]
    assert models_url(one) == "http://a/v1/models?x=1"
    several = OpenAIEndpoint(base_urls=("http://b/v1", "http://c/v1/"), model_id="m")
    assert chat_urls(several) == ["http://b/v1/chat/completions", "http://c/v1/chat/completions"]
    assert models_url(several) == "http://b/v1/models"


async def test_each_request_has_the_key_and_the_headers_that_are_configured() -> None:
    headers = {"X-Plain": "plain", "X-Lab-Token": "$LAB", "X-Unset": "$UNSET"}
    async with answered_by(http(WHOLE), api_key_env="KEY", headers=headers) as (model, server):
        assert (await model.complete(PROMPT)).text == "4"
    (head,) = server.heads
    fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
    sent = {name: fields.get(name) for name in ("Content-Type", "Authorization", "X-Plain", "X-Lab-Token", "Cookie")}
    assert sent == {
        "Content-Type": "application/json",
        "Authorization": "Bearer sk-1234567890",
        "X-Plain": "plain",
        "X-Lab-Token": "lab-1234567890",
        "Cookie": None,
    }


async def test_of_a_long_message_400_characters_are_kept() -> None:
    page = "".join(f"{number} " for number in range(1000))
    error = await failure(http(page.encode(), status=400, type_="text/plain"))
    assert isinstance(error, Rejected)
    assert str(error) == f"e: HTTP 400: {page}"[:400]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("more", [0, 1])
async def test_a_reply_is_taken_up_to_the_size_that_is_configured(status: int, more: int) -> None:
    body = WHOLE + b" " * (2 * MEBIBYTE - len(WHOLE) + more)
    reply = http(body, status=status)
    async with answered_by(reply, max_response_mb=2) as (model, _):
        try:
            assert (await model.complete(PROMPT)).text == "4"
            said = ""
        except ModelError as error:
            said = error.kind
    assert said == ("oversized" if more else "" if status == 200 else "bad_request")


async def test_a_reply_that_is_too_large_says_how_large_it_may_be() -> None:
    assert str(await failure(http(b"x" * (MEBIBYTE + 1)), max_response_mb=1)) == "e: an answer of more than 1 MiB"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"request_timeout": 0.2}, "e: no answer within 0.2 s of sending"),
        ({"stream": True, "idle_timeout": 0.2}, "e: silent for 0.2 s, or nothing but keep-alives"),
        (
            {"stream": True, "request_timeout": 0.2, "idle_timeout": 9.0},
            "e: silent for 9 s, or nothing but keep-alives",
        ),
    ],
)
async def test_an_answer_that_does_not_come_in_time_is_named_and_may_be_charged(
    keys: dict[str, Any], said: str
) -> None:
    error = await failure(b"", http(WHOLE), pause=5.0, **keys)
    assert (str(error), error.kind, error.unheard) == (said, "timeout", True)


@pytest.mark.slow
async def test_keep_alives_are_no_answer_but_show_life() -> None:
    """They keep a stream from being silent; its words must come within the request's own time."""
    head = http(b"", type_="text/event-stream", length=len(EVENTS) + 5 * 3)
    parts = [head, *[b":\n\n"] * 5, EVENTS]
    async with answered_by(*parts, pause=0.15, stream=True, idle_timeout=0.6, request_timeout=9.0) as (model, _):
        assert (await model.complete(PROMPT)).text == "4"
    error = await failure(*parts, pause=0.15, stream=True, idle_timeout=9.0, request_timeout=0.4)
    assert error.kind == "timeout"


async def test_a_finished_stream_is_an_answer_although_the_connection_stays_open_or_breaks() -> None:
    """It is paid for; its last bytes are waited for half a second at most."""
    loop = asyncio.get_running_loop()
    endless = http(b"", type_="text/event-stream", length=10_000)
    for pause, least, most in ((5.0, 0.45, 4.0), (0.0, 0.0, 4.0)):
        async with answered_by(endless + EVENTS, pause=pause, stream=True) as (model, _):
            began = loop.time()
            assert (await model.complete(PROMPT)).text == "4"
            assert least <= loop.time() - began < most


async def test_a_broken_connection_says_so_and_may_be_charged() -> None:
    error = await failure(b"")
    assert (error.kind, error.unheard, str(error)) == ("connection", True, "e: connection lost: Server disconnected")
    error = await failure(http(WHOLE[:20], length=100))
    assert (error.kind, error.unheard, error.characters) == ("truncated", True, 20)
    assert str(error).startswith("e: the answer broke off: ")


async def test_nothing_is_charged_where_nobody_listens() -> None:
    settings = OpenAIEndpoint(base_url="http://127.0.0.1:9/v1", model_id="m")
    async with OpenAIModel("e", settings) as model:
        with pytest.raises(Transient, match="e: cannot connect: ") as caught:
            await model.complete(PROMPT)
    assert (caught.value.kind, caught.value.unheard) == ("connection", False)


@pytest.mark.parametrize("what", ["requests", "tokens"])
async def test_a_quota_in_the_headers_holds_the_next_requests_back(what: str) -> None:
    headers = f"x-ratelimit-remaining-{what}: 0\r\nx-ratelimit-reset-{what}: 60s\r\nConnection: close\r\n"
    usage = WHOLE[:-1] + b', "usage": {"prompt_tokens": 9, "completion_tokens": 4}}'
    async with answered_by(http(usage, headers=headers)) as (model, _):
        for _ in range(2 if what == "tokens" else 1):  # before an answer it is not known how many tokens one takes
            await model.complete(PROMPT)
        held = asyncio.create_task(model.complete(PROMPT))
        await asyncio.sleep(0.05)
        assert not held.done()
        assert 59 < model.limits.pause_left <= 60
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)


@pytest.mark.parametrize(
    ("status", "body", "models"),
    [
        (200, b'{"data": [{"id": "m", "shutdown_date": "2026-11-27"}]}', {"m": date(2026, 11, 27)}),
        (404, b'{"data": [{"id": "m"}]}', {}),
        (201, b'{"data": [{"id": "m"}]}', {}),
        (200, b"<html>", {}),
    ],
)
async def test_the_list_of_models_is_read_if_there_is_one(
    status: int, body: bytes, models: dict[str, date | None]
) -> None:
    async with answered_by(http(body, status=status)) as (model, server):
        assert await model.offers() == models
    assert server.heads[0].startswith("GET /v1/models HTTP/1.1")


async def test_there_is_no_list_where_nobody_listens_or_it_has_no_end() -> None:
    async with OpenAIModel("e", OpenAIEndpoint(base_url="http://127.0.0.1:9/v1", model_id="m")) as model:
        assert await model.offers() == {}
    async with answered_by(http(b"x" * (MEBIBYTE + 1)), max_response_mb=1) as (model, _):
        assert await model.offers() == {}
