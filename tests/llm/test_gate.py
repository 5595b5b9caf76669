"""The gate in front of every call: once it is shut, what is under way arrives and nothing else is sent."""

import asyncio

import pytest
from msgspec import structs

from tests.loopback import serve
from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.drain import Drain
from weak2wise.llm.errors import Unusable
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.model import Completion, Message, Prompt


async def turns() -> None:
    """Give whoever could go on the chance to."""
    for _ in range(20):
        await asyncio.sleep(0)


class Gated:
    """A model that says ``late`` once released; it goes out through a gate."""

    def __init__(self, gate: Drain) -> None:
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        self.begun: list[str] = []
        self._gate = gate

    async def complete(self, prompt: Prompt, /) -> Completion:
        await self._gate.enter()
        self.begun.append(prompt.messages[0].content)
        self.asked.set()
        try:
            await self.release.wait()
        finally:
            self._gate.leave()
        return Completion(text="late")

    def ask(self, text: str) -> asyncio.Task[Completion]:
        prompt = Prompt(messages=(Message("user", text),), temperature=0, seed=0)
        return asyncio.create_task(self.complete(prompt))


async def test_a_shut_gate_lets_calls_under_way_arrive_and_none_begin() -> None:
    gate = Drain()
    model = Gated(gate)
    under_way = model.ask("first")
    await asyncio.sleep(0)
    draining = asyncio.create_task(gate.drain(5))
    await asyncio.sleep(0)
    late = model.ask("second")
    await asyncio.sleep(0)
    model.release.set()
    await draining
    assert (await under_way).text == "late"
    assert model.begun == ["first"]
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)


async def test_a_call_that_must_stop_the_run_waits_for_what_is_paid_for() -> None:
    """Also for the other calls of its own record, which its TaskGroup would cancel."""
    refused = asyncio.Event()

    class Spent:
        async def complete(self, _prompt: Prompt, /) -> Completion:
            refused.set()
            raise Unusable("no credit left", hint="Pay.")

    gate = Drain()
    paid = Gated(gate)
    answers: list[str] = []

    async def keep() -> None:
        answers.append((await paid.ask("first")).text)

    async def record() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(keep())
            await paid.asked.wait()
            group.create_task(gate.guard(Spent()).complete(Prompt(messages=(), temperature=0, seed=0)))

    working = asyncio.create_task(record())
    await refused.wait()
    await turns()
    assert not working.done()
    paid.release.set()
    with pytest.raises(ExceptionGroup):
        await working
    assert answers == ["late"]


async def test_calls_that_wait_for_their_turn_to_be_sent_are_not_sent_once_the_gate_is_shut() -> None:
    """However many have passed the gate: those sent arrive, and the drain does not wait for the others."""
    gate = Drain()
    endpoint = OpenAIEndpoint(model_id="strong-a", max_concurrent_requests=2)
    async with serve(latency=0.2) as server:
        endpoint = structs.replace(endpoint, base_url=server.base_url)
        async with OpenAIModel("e", endpoint, gate=gate) as http:
            prompts = [Prompt(messages=(Message("user", str(i)),), temperature=0, seed=i) for i in range(8)]
            calls = [asyncio.create_task(http.complete(prompt)) for prompt in prompts]
            while not server.stats.models:
                await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                await gate.drain(60)
            received = server.stats.models["strong-a"].received
            assert sum(call.done() for call in calls) == received <= 2
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert server.stats.models["strong-a"].received == received


async def test_a_drain_ends_when_its_time_is_up() -> None:
    gate = Drain()
    call = Gated(gate).ask("hangs")
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await gate.drain(0.01)
    assert gate.under_way == 1
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert gate.under_way == 0
