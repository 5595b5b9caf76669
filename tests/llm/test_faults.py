"""The fault table: for each thing that goes wrong at a provider, what a call through retries and endpoint makes of it.

Each row is one fault of the loopback server, met by the first asking. *answered* means that the call ends with the very
answer it would have got without the fault, after so many requests; *cut short* and *empty* that it ends with what the
model said, to be judged by the method; *rejected* condemns the one record; *stops* ends the run, resumably. No row may
take a damaged answer for a whole one, and each answer has a number of tokens.
"""

import asyncio
import contextlib
import json
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.engine_runs import config_for, finish, lines, write_run
from tests.loopback import Fault, LoopbackProcess, Mix, answer_to, make_question, serve
from tests.loopback.answers import Message as Turn, Request
from tests.loopback.faults import KINDS, Kind
from weak2wise.config import OpenAIEndpoint
from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.errors import Down, Rejected, Transient, Unusable
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.limits.limits import Limits
from weak2wise.llm.model import Completion, Message, Prompt
from weak2wise.llm.retry import Retried

QUESTION, ANSWER = make_question(12)
PROMPT = Prompt(
    messages=(Message("user", QUESTION), Message("assistant", ANSWER), Message("user", "Explain.")),
    temperature=0.6,
    seed=5,
)
TURNS = tuple(Turn(message.role, message.content) for message in PROMPT.messages)
SAID = answer_to(Request("strong-a", TURNS, temperature=0.6, seed=5))

AGAIN = ("answered", 2)
AT_ONCE = ("answered", 1)
TABLE: dict[str, tuple[str, int]] = {
    "429": AGAIN,
    "429_date": AGAIN,
    "429_bare": AGAIN,
    "429_storm": ("answered", 0),  # as many as it takes
    "429_words": AGAIN,
    "500": AGAIN,
    "502": AGAIN,
    "503": AGAIN,
    "408": AGAIN,
    "latin1_error": AGAIN,
    "reset_before_headers": AGAIN,
    "reset_in_body": AGAIN,
    "hang_before_headers": AGAIN,
    "hang_in_body": AGAIN,
    "slow_drip": AT_ONCE,
    "wrong_length": AGAIN,
    "truncated_json": AGAIN,
    "no_choices": AGAIN,
    "null_content": AGAIN,
    "parts_content": AT_ONCE,
    "empty_content": ("empty", 1),
    "empty_length": ("empty", 1),
    "error_object": AGAIN,
    "invalid_utf8": AGAIN,
    "deep_nesting": AGAIN,
    "broken_off": AGAIN,
    "gzip_bomb": AGAIN,
    "huge_body": AGAIN,
    "broken_sse": AGAIN,
    "sse_without_done": AT_ONCE,
    "sse_keep_alive": AT_ONCE,
    "sse_reset_at_end": AT_ONCE,
    "sse_error_at_end": AT_ONCE,
    "duplicate_id": AT_ONCE,
    "no_usage": AT_ONCE,
    "stuck": ("stuck", 1),
    "length": ("cut short", 1),
    "content_filter": ("empty", 1),
    "redirect": ("stops", 1),
    "400": ("rejected", 1),
    "400_context": ("rejected", 1),
    "401": ("stops", 1),
    "402": ("stops", 1),
    "403": ("stops", 1),
    "403_moderation": ("rejected", 1),
    "404": ("stops", 1),
    "429_quota": ("stops", 1),
}
CUT_SHORT = {"sse_reset_at_end", "sse_error_at_end"}
"""Streams that end after the finish reason and before the usage."""
STREAMED = {"sse_without_done", "sse_keep_alive", "broken_sse", *CUT_SHORT}
RETRYABLE = [kind for kind, (outcome, _) in TABLE.items() if outcome == "answered"]


def test_the_table_has_every_fault() -> None:
    assert set(TABLE) == set(KINDS)


@contextlib.asynccontextmanager
async def endpoint(base_url: str, **settings: Any) -> AsyncIterator[OpenAIModel]:
    given: dict[str, Any] = {"model_id": "strong-a", "request_timeout": 0.6, "idle_timeout": 0.3} | settings
    async with OpenAIModel("e", OpenAIEndpoint(base_url=base_url, **given)) as model:
        yield model


async def ask(model: OpenAIModel, *, max_retries: int = 6) -> Completion:
    return await Retried(model, max_retries=max_retries, first_wait=0.01, longest_wait=0.02).complete(PROMPT)


def is_whole(completion: Completion) -> bool:
    return (completion.text, completion.reasoning) == (SAID.content, SAID.reasoning)


@pytest.mark.slow
@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("kind", TABLE)
async def test_fault(kind: Kind, stream: bool) -> None:
    outcome, requests = TABLE[kind]
    fault = Fault(kind, retry_after=0.1, seconds=0.5 if kind in {"slow_drip", "429_storm", "sse_keep_alive"} else 60)
    slow: dict[str, Any] = (
        {"request_timeout": 5.0} if kind in {"gzip_bomb", "huge_body", "slow_drip", "sse_keep_alive"} else {}
    )
    async with serve(faults=(fault,)) as server, endpoint(server.base_url, stream=stream, **slow) as model:
        if outcome == "rejected":
            with pytest.raises(Rejected):
                await ask(model)
        elif outcome == "stops":
            with pytest.raises(Unusable):
                await ask(model)
        else:
            completion = await ask(model)
            if outcome == "cut short":
                assert completion.finish_reason == "length"
                assert SAID.content.startswith(completion.text)
            elif outcome == "empty":
                assert completion.says_nothing
                assert completion.finish_reason == {"empty_content": "stop", "empty_length": "length"}.get(kind, kind)
            elif outcome == "stuck":
                assert completion.text.endswith(SAID.content)
                assert len(completion.text) > 120_000
            else:
                assert is_whole(completion)
            unsaid = kind in {"no_usage", *CUT_SHORT} or (kind in STREAMED and requests == 1 and not stream)
            assert completion.usage.estimated is unsaid
            assert completion.usage.completion_tokens > 0
            assert completion.usage.prompt_tokens == pytest.approx(SAID.prompt_tokens, abs=15 if unsaid else 0)
        asked = server.stats.models["strong-a"].received
        assert asked == requests or (requests == 0 and asked > 1)
        assert model.limits.in_flight == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gzip_bomb", "huge_body"])
async def test_a_body_without_end_takes_no_more_memory_than_the_limit(kind: Kind) -> None:
    async with server_apart(kind) as server, endpoint(server, max_response_mb=2, request_timeout=20.0) as model:
        tracemalloc.start()
        with pytest.raises(Transient, match="more than 2 MiB"):
            await model.complete(PROMPT)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 << 20


@contextlib.asynccontextmanager
async def server_apart(kind: Kind) -> AsyncIterator[str]:
    """In a process of its own, for its memory is not what is measured."""
    server = await asyncio.to_thread(LoopbackProcess, faults=(Fault(kind, times=None),))
    try:
        yield server.base_url
    finally:
        await asyncio.to_thread(server.stop)


async def test_nobody_listening_is_retried_and_then_fails_the_record() -> None:
    async with serve() as server:
        base_url = server.base_url
    async with endpoint(base_url) as model:
        with pytest.raises(Transient, match="cannot connect") as caught:
            await ask(model, max_retries=2)
    assert (caught.value.kind, caught.value.attempts) == ("connection", 3)


@pytest.mark.parametrize("tls", ["self", "expired"])
async def test_a_bad_certificate_stops_the_run_and_nothing_is_said_to_that_server(tls: str) -> None:
    async with serve(tls=tls) as server, endpoint(server.base_url) as model:
        with pytest.raises(Unusable, match="TLS refused"):
            await ask(model)
        assert server.stats.models == {}


async def test_a_redirect_is_not_followed_anywhere() -> None:
    async with serve() as elsewhere:
        location = f"{elsewhere.base_url}/chat/completions"
        async with (
            serve(faults=(Fault("redirect", location=location, times=None),)) as server,
            endpoint(server.base_url) as model,
        ):
            with pytest.raises(Unusable, match="it redirects to"):
                await ask(model)
        assert elsewhere.stats.models == {}


@pytest.mark.slow
async def test_a_jump_of_the_clock_moves_no_time_out_and_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day forwards between a 429 with a date and the next asking: the pause is as long as the server meant."""
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    async with (
        serve(faults=(Fault("429", retry_after=0.1),), latency=0.1) as server,
        endpoint(server.base_url) as model,
    ):
        assert is_whole(await ask(model))
        assert server.stats.models["strong-a"].received == 2


@contextlib.asynccontextmanager
async def saying(reply: bytes) -> AsyncIterator[str]:
    """A server that says the same to everybody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b" % (len(reply), reply)
        )
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@pytest.mark.parametrize("before", range(300, 420, 10))
async def test_no_part_of_a_key_is_left_where_a_long_message_is_cut(
    monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    key = "sk-live-0123456789abcdefghijklmnopqrstuvwxyz"
    monkeypatch.setenv("SOME_KEY", key)
    body = json.dumps({"error": {"message": "x" * before + key + "y" * 1000}}).encode()
    async with saying(body) as base_url, endpoint(base_url, api_key_env="SOME_KEY") as model:
        with pytest.raises(Unusable) as caught:
            await ask(model)
    assert "sk-" not in str(caught.value)
    assert len(str(caught.value)) <= 400


async def test_a_key_that_a_provider_repeats_is_in_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is a word of the server's own error message here."""
    monkeypatch.setenv("SOME_KEY", "Incorrect")
    async with (
        serve(faults=(Fault("401"),)) as server,
        endpoint(server.base_url, api_key_env="SOME_KEY") as model,
    ):
        with pytest.raises(RunStopped) as caught:
            await ask(model)
    assert "Incorrect" not in str(caught.value)
    assert "[redacted]" in str(caught.value)


async def test_endpoints_that_share_limits_stay_within_them_together() -> None:
    async with serve(latency=0.02) as server:
        shared = HostParts(limits=Limits(in_flight=3))
        settings = OpenAIEndpoint(base_url=server.base_url, model_id="strong-a")
        async with OpenAIModel("a", settings, shared) as one, OpenAIModel("b", settings, shared) as two:
            await asyncio.gather(*(model.complete(PROMPT) for model in (one, two) for _ in range(10)))
        assert server.stats.models["strong-a"].max_in_flight == 3


async def test_two_answers_with_one_id_are_two_answers() -> None:
    other = structs.replace(PROMPT, seed=6)
    async with serve(faults=(Fault("duplicate_id", times=None),)) as server, endpoint(server.base_url) as model:
        one, two = await asyncio.gather(model.complete(PROMPT), model.complete(other))
    assert is_whole(one)
    assert one != two


@pytest.mark.slow
async def test_a_stream_may_take_longer_than_any_time_out_but_not_be_silent() -> None:
    """It drips for a second; the time-outs are 0.4 s for silence, and for time without a word of the answer."""
    slow = Fault("sse_keep_alive", seconds=1.2)
    async with (
        serve(faults=(slow,)) as server,
        endpoint(server.base_url, stream=True, idle_timeout=0.4, request_timeout=0.4) as model,
    ):
        assert is_whole(await ask(model))
        assert server.stats.models["strong-a"].received == 1


@pytest.mark.slow
async def test_a_dead_endpoint_is_left_alone_probed_and_comes_back() -> None:
    """Calls wait through an outage shorter than their patience, and few requests are spent on it."""
    fault = Fault("500", times=21)
    async with serve(faults=(fault,)) as server, endpoint(server.base_url) as model:
        assert is_whole(await ask(model, max_retries=30))
        assert server.stats.models["strong-a"].received == 22


@pytest.mark.slow
async def test_an_endpoint_that_stays_dead_fails_calls_at_once_after_a_while() -> None:
    async with (
        serve(faults=(Fault("500", times=None),)) as server,
        endpoint(server.base_url, outage_patience=0.3) as model,
    ):
        with pytest.raises(Down):
            await ask(model, max_retries=1000)
        asked = server.stats.models["strong-a"].received
        with pytest.raises(RecordError) as caught:
            await ask(model)
        assert (caught.value.kind, caught.value.attempts) == ("endpoint_down", 0)
        assert server.stats.models["strong-a"].received == asked == 20 + 1  # and a probe


async def test_replicas_share_the_load_and_a_dead_one_gets_next_to_none() -> None:
    async with serve(latency=0.02) as one, serve(latency=0.02) as two, serve() as dead:
        dead_url = dead.base_url
        await dead.stop()
        async with serve(faults=(Fault("500", times=None),)) as broken:
            urls = (one.base_url, two.base_url, broken.base_url, dead_url.replace("127.0.0.1", "127.0.0.3"))
            async with endpoint("http://unused", base_urls=urls, request_timeout=5.0) as model:
                answers = await asyncio.gather(*(ask(model, max_retries=20) for _ in range(100)))
            assert all(is_whole(answer) for answer in answers)
            healthy = [server.stats.models["strong-a"].answered for server in (one, two)]
            assert sum(healthy) == 100
            assert min(healthy) > 30
            assert broken.stats.models["strong-a"].received <= 40


@pytest.mark.slow
@pytest.mark.parametrize("half", [0, 1])
def test_a_run_through_a_mix_of_every_retryable_fault_delivers_every_question(tmp_path: Path, half: int) -> None:
    """Five percent of each, in two runs, as all would be more than there is; both emit what an undisturbed run does."""
    kinds = [kind for kind in RETRYABLE if kind not in STREAMED | {"429_storm"}][half::2]
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    for folder, faults in ((calm, ()), (disturbed, Mix(dict.fromkeys(kinds, 0.05)))):  # type: ignore[arg-type]
        with LoopbackProcess(faults=faults) as server:
            config = config_for(folder, server.base_url, n_mask=2)
            for one in config["model_endpoints"].values():
                one |= {"max_retries": 40, "request_timeout": 2, "max_response_mb": 1}
            write_run(folder, config, 20)
            finish(folder)
    assert lines(calm / "out.jsonl") == lines(disturbed / "out.jsonl")
    totals = json.loads((disturbed / "work" / "summary.json").read_text())["totals"]
    assert (totals["failed"], totals["unfinished"]) == ({}, 0)
