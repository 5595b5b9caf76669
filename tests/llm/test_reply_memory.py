"""A reply takes little more memory than its bytes, and little time of the event loop, whatever it holds."""

import asyncio
import time
import tracemalloc

import pytest

from tests.loopback.fixed import saying
from tests.loopback.replies import http
from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.errors import ModelError
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.http.stream import Stream
from weak2wise.llm.model import Message, Prompt

PROMPT = Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=5)
MEBIBYTE = 1 << 20
SIZE = 24 * MEBIBYTE
ANSWER = b'{"message":{"content":"4"},"finish_reason":"stop"}'
MANY = b"[]," * (SIZE // 3) + b"[]"
BODIES = {
    "the whole body": b"[" + MANY + b"]",
    "a field that nobody asked for": b'{"notes":[' + MANY + b'],"choices":[' + ANSWER + b"]}",
    "choices": b'{"choices":[' + ANSWER + b"," + b"{}," * (SIZE // 3) + b"{}]}",
    "usage": b'{"usage":[' + MANY + b'],"choices":[' + ANSWER + b"]}",
    "an error": b'{"error":[' + MANY + b"]}",
    "the content": b'{"choices":[{"message":{"content":[' + b"{}," * (SIZE // 3) + b"{}]}}]}",
    "the thinking": b'{"choices":[{"message":{"content":"4","reasoning":[' + MANY + b"]}}]}",
    "why it ended": b'{"choices":[{"message":{"content":"4"},"finish_reason":[' + MANY + b"]}]}",
    "NaN": b'{"notes":[' + MANY + b',NaN],"choices":[' + ANSWER + b"]}",
}


@pytest.mark.slow
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("where", BODIES)
async def test_no_reply_makes_objects_without_bound_or_blocks_the_loop(where: str, status: int) -> None:
    """Decoded into objects, each of these takes 500 MB and more, and blocks for seconds."""
    body = BODIES[where]
    worst = 0.0

    async def watch() -> None:
        nonlocal worst
        while True:
            began = time.process_time()
            await asyncio.sleep(0)
            worst = max(worst, time.process_time() - began)

    async with saying(http(body, status=status)) as server:
        settings = OpenAIEndpoint(base_url=server.url, model_id="m")
        async with OpenAIModel("e", settings) as model:
            watching = asyncio.create_task(watch())
            tracemalloc.start()
            try:
                try:
                    await model.complete(PROMPT)
                except ModelError as error:
                    assert len(str(error)) <= 400
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
                watching.cancel()
    assert peak < 6 * SIZE
    assert worst < 1.0


def test_an_event_makes_no_objects_without_bound() -> None:
    event = b'data: {"notes":[' + MANY + b'],"choices":[{"delta":{"content":"4"},"finish_reason":"stop"}]}\n\n'
    tracemalloc.start()
    stream = Stream("e")
    stream.feed(event)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stream.completion().text == "4"
    assert peak < 6 * SIZE
