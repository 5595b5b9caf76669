"""The loopback server keeps its promises: it says what it should, counts truly and leaves nothing behind."""

import asyncio
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from tests.engine_runs import ROOT
from tests.loopback import Fault, LoopbackProcess, Match, answer_to, make_question, read_log, serve
from tests.loopback.asking import chat, events_of, message_in, post
from tests.loopback.limits import RateLimit
from weak2wise.llm.http.responses import parse_reply

QUESTION, ANSWER = make_question(12)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.mark.parametrize("model", ["weak", "strong-a", "strong-b", "strong-c", "strong-d"])
async def test_the_server_says_what_the_pure_function_says(session: aiohttp.ClientSession, model: str) -> None:
    """Twice the same, and as this project's own client reads it."""
    request = chat(model, QUESTION, ANSWER, "Explain.", seed=5)
    said = answer_to(request)
    async with serve() as server:
        (status, _, body), again = [await post(session, server.base_url, request) for _ in range(2)]
    assert status == 200
    assert again[2] == body
    reply = msgspec.json.decode(body)
    message = reply["choices"][0]["message"]
    assert message["content"] == said.content
    assert message.get(said.reasoning_key) == said.reasoning
    assert (reply["model"], reply["object"], reply["created"]) == (model, "chat.completion", 0)
    assert reply["choices"][0]["finish_reason"] == "stop"
    completion = parse_reply(body, "loopback")
    assert completion.usage.prompt_tokens == said.prompt_tokens > 0
    assert completion.usage.completion_tokens == said.completion_tokens > 0
    assert (completion.reasoning is None) == (model in {"weak", "strong-d"})


@pytest.mark.parametrize("usage", [True, False])
async def test_a_stream_adds_up_to_the_same_answer(session: aiohttp.ClientSession, usage: bool) -> None:
    request = chat("strong-a", QUESTION, ANSWER, "Explain.", seed=5, stream=True)
    body = msgspec.to_builtins(request) | {"stream_options": {"include_usage": usage}}
    async with (
        serve() as server,
        session.post(f"{server.base_url}/chat/completions", data=msgspec.json.encode(body)) as response,
    ):
        assert response.content_type == "text/event-stream"
        *events, done = events_of(await response.read())
    assert done == b"[DONE]"
    said = answer_to(request)
    if usage:
        last = events.pop()
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == said.completion_tokens
    deltas = [event["choices"][0]["delta"] for event in events]
    assert len(deltas) > 4
    assert "".join(delta.get("content", "") for delta in deltas) == said.content
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == said.reasoning
    assert [event["choices"][0]["finish_reason"] for event in events] == [None] * (len(events) - 1) + ["stop"]


async def test_what_nobody_serves_is_refused_in_openai_shape(session: aiohttp.ClientSession) -> None:
    async with serve() as server:
        status, _, body = await post(session, server.base_url, chat("gpt-17", "Hello?"))
        assert (status, msgspec.json.decode(body)["error"]["code"]) == (404, "model_not_found")
        for data in (b"{", b'{"model": 1}', b"\xff"):
            async with session.post(f"{server.base_url}/chat/completions", data=data) as response:
                assert response.status == 400
        async with session.get(f"{server.base_url}/nowhere") as response:
            assert response.status == 404
        assert server.stats.models["gpt-17"].failed == {"no_such_model": 1}


def test_the_rate_limit_holds_in_every_window() -> None:
    """At 600 a minute over half a second: five, however they fall, and the next when the first is half a second ago."""
    limit = RateLimit(600, 0.5)
    waits = [limit.wait(now) for now in (10.0, 10.0, 10.1, 10.2, 10.3, 10.375, 10.5, 10.5, 10.5)]
    assert waits == pytest.approx([0, 0, 0, 0, 0, 0.125, 0, 0, 0.1])


async def test_more_a_minute_than_allowed_are_told_how_long_to_wait(session: aiohttp.ClientSession) -> None:
    async with serve(rpm=3) as server:
        replies = [await post(session, server.base_url, chat("weak", QUESTION)) for _ in range(4)]
        assert [status for status, _, _ in replies] == [200, 200, 200, 429]
        assert [headers["x-ratelimit-remaining-requests"] for _, headers, _ in replies] == ["2", "1", "0", "0"]
        assert {headers["x-ratelimit-limit-requests"] for _, headers, _ in replies} == {"3"}
        assert 0 < int(replies[-1][1]["retry-after"]) <= 60
        assert (await post(session, server.base_url, chat("judge", QUESTION)))[0] == 200
        assert server.stats.models["weak"].failed == {"rate_limited": 1}


async def test_more_at_once_than_allowed_are_refused_and_counted(session: aiohttp.ClientSession) -> None:
    async with serve(latency=600, max_in_flight=4) as server:
        requests = [chat("weak", make_question(i)[0]) for i in range(10)]
        asking = [asyncio.create_task(post(session, server.base_url, request)) for request in requests]
        refused, waiting = await asyncio.wait(asking, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        while len(refused) < 6:
            done, waiting = await asyncio.wait(waiting, timeout=60, return_when=asyncio.FIRST_COMPLETED)
            refused |= done
        assert {task.result()[0] for task in refused} == {429}
        count = server.stats.models["weak"]
        assert (count.received, count.in_flight, count.failed) == (10, 4, {"too_many": 6})
    assert (count.in_flight, count.answered, count.failed) == (0, 0, {"too_many": 6, "abandoned": 4})
    for end in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(end, aiohttp.ClientError)


async def test_a_client_that_goes_away_got_no_answer(tmp_path: Path) -> None:
    """Its request counts as asked and as abandoned, is in flight no more, and the log says so."""
    log = tmp_path / "log.jsonl"
    async with serve(latency=30, log=log) as server:
        body = msgspec.json.encode(chat("weak", QUESTION))
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        while "weak" not in server.stats.models:
            await asyncio.sleep(0.01)
        count = server.stats.models["weak"]
        assert count.in_flight == 1
        writer.close()
        await writer.wait_closed()
        del reader
        while count.in_flight:
            await asyncio.sleep(0.01)
        assert (count.received, count.answered, count.failed) == (1, 0, {"abandoned": 1})
    assert [(line.event, line.reason) for line in read_log(log)] == [("received", ""), ("failed", "abandoned")]


async def test_leaving_the_block_ends_hanging_requests_and_leaves_no_task(session: aiohttp.ClientSession) -> None:
    before = asyncio.all_tasks()
    async with serve(faults=(Fault("hang_in_body", times=None),)) as server:
        hanging = [asyncio.create_task(post(session, server.base_url, chat("weak", QUESTION))) for _ in range(5)]
        while "weak" not in server.stats.models or server.stats.models["weak"].in_flight < 5:
            await asyncio.sleep(0.01)
    for end in await asyncio.gather(*hanging, return_exceptions=True):
        assert isinstance(end, aiohttp.ClientError)
    assert server.stats.models["weak"].in_flight == 0
    await session.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port))


@pytest.mark.parametrize(("tls", "complaint"), [("self", "self-signed"), ("expired", "expired")])
async def test_a_bad_certificate_is_refused_by_a_careful_client(
    session: aiohttp.ClientSession, tls: str, complaint: str
) -> None:
    async with serve(tls=tls) as server:
        with pytest.raises(aiohttp.ClientConnectorCertificateError, match="self-signed"):
            await post(session, server.base_url, chat("weak", QUESTION))
        pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", server.port))
        trusting = ssl.create_default_context(cadata=pem)
        url, body = f"{server.base_url}/chat/completions", msgspec.json.encode(chat("weak", QUESTION))
        if complaint == "expired":
            with pytest.raises(aiohttp.ClientConnectorCertificateError, match="expired"):
                await session.post(url, data=body, ssl=trusting)
        else:
            async with session.post(url, data=body, ssl=trusting) as response:
                assert response.status == 200


def gone(pid: int) -> bool:
    """Whether a process has ended; one that waits to be reaped by its parent has."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


@pytest.mark.slow
@pytest.mark.parametrize("uvloop", [True, False])
async def test_the_process_serves_counts_logs_and_leaves_nothing(
    session: aiohttp.ClientSession, tmp_path: Path, uvloop: bool
) -> None:
    log = tmp_path / "log.jsonl"
    faults = (Fault("reset_in_body"), Fault("500", Match(model="strong"), times=None))
    with LoopbackProcess(uvloop=uvloop, latency=0.01, solve=0.0, faults=faults, log=log) as server:
        weak, strong = chat("weak", QUESTION), chat("strong-a", QUESTION, ANSWER, "Explain.")
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(session, server.base_url, weak)
        assert (
            message_in((await post(session, server.base_url, weak))[2])["content"] == answer_to(weak, solve=0).content
        )
        assert (await post(session, server.base_url, strong))[0] == 500
        stats = server.stats()
        assert (stats.models["weak"].answered, stats.models["weak"].failed) == (1, {"reset_in_body": 1})
        assert stats.models["strong-a"].failed == {"500": 1}
        assert sorted((c.asked, c.answered) for c in server.requests().values()) == [(1, 0), (2, 1)]
        pid, port = server.pid, server.port
    assert gone(pid)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    lines = read_log(log)
    assert [line.event for line in lines] == ["received", "failed", "received", "answered", "received", "failed"]
    assert {line.digest for line in lines} == set(stats.requests)
    assert list(tmp_path.iterdir()) == [log]


def test_a_process_that_cannot_start_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(RuntimeError, match="address already in use"):
        LoopbackProcess(port=taken.getsockname()[1])


@pytest.mark.slow
def test_the_process_ends_with_the_one_that_started_it() -> None:
    """Even when that one is killed and cannot say goodbye."""
    script = "import time; from tests.loopback import LoopbackProcess; s = LoopbackProcess(); print(s.pid, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}; time.sleep(60)"], cwd=ROOT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not gone(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 20
    while not gone(pid):
        assert time.monotonic() < deadline, "the server outlived its parent"
        time.sleep(0.02)


@pytest.mark.slow
async def test_asked_each_once_means_that_something_was_asked(session: aiohttp.ClientSession) -> None:
    """A server that nobody asked is no proof that nothing is asked twice."""
    with LoopbackProcess() as server:
        assert not await asyncio.to_thread(server.asked_each_once)
        for seed in (1, 2):
            await post(session, server.base_url, chat("weak", QUESTION, seed=seed))
            assert await asyncio.to_thread(server.asked_each_once)
        await post(session, server.base_url, chat("weak", QUESTION, seed=2))
        assert not await asyncio.to_thread(server.asked_each_once)
