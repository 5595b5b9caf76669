"""How a run stops: once draining has started, what is under way arrives and nothing else is sent."""

import asyncio

import pytest
from msgspec import structs

from tests.logs import captured_logs
from tests.loopback import serve
from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.call import Call, calling
from weak2wise.llm.drain import Drain, DrainedBeforeStop
from weak2wise.llm.errors import Unusable
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.model import Completion, Message, Prompt


async def turns() -> None:
    """Let every task that can go on do so."""
    for _ in range(20):
        await asyncio.sleep(0)


class Held:
    """A model that says ``late`` once released; it counts its calls in a drain."""

    def __init__(self, drain: Drain) -> None:
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        self.begun: list[str] = []
        self._drain = drain

    async def complete(self, prompt: Prompt, /) -> Completion:
        await self._drain.enter()
        self.begun.append(prompt.messages[0].content)
        self.asked.set()
        try:
            await self.release.wait()
        finally:
            self._drain.leave()
        return Completion(text="late")

    def ask(self, text: str) -> asyncio.Task[Completion]:
        prompt = Prompt(messages=(Message("user", text),), temperature=0, seed=0)
        return asyncio.create_task(self.complete(prompt))


async def test_a_drain_lets_calls_under_way_arrive_and_none_begin() -> None:
    drain = Drain()
    model = Held(drain)
    under_way = model.ask("first")
    await asyncio.sleep(0)
    draining = asyncio.create_task(drain.drain(5))
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

    drain = Drain()
    paid = Held(drain)
    answers: list[str] = []

    async def keep() -> None:
        answers.append((await paid.ask("first")).text)

    async def record() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(keep())
            await paid.asked.wait()
            group.create_task(DrainedBeforeStop(Spent(), drain).complete(Prompt(messages=(), temperature=0, seed=0)))

    working = asyncio.create_task(record())
    await refused.wait()
    await turns()
    assert not working.done()
    paid.release.set()
    with pytest.raises(ExceptionGroup):
        await working
    assert answers == ["late"]


async def test_calls_that_wait_for_their_turn_to_be_sent_are_not_sent_once_draining_has_started() -> None:
    """However many wait: those sent arrive, and the drain does not wait for the others."""
    drain = Drain()
    endpoint = OpenAIEndpoint(model_id="strong-a", max_concurrent_requests=2)
    async with serve(latency=0.2) as server:
        endpoint = structs.replace(endpoint, base_url=server.base_url)
        async with OpenAIModel("e", endpoint) as http:
            prompts = [Prompt(messages=(Message("user", str(i)),), temperature=0, seed=i) for i in range(8)]
            with calling(Call(drain=drain)):
                calls = [asyncio.create_task(http.complete(prompt)) for prompt in prompts]
            while not server.stats.models:
                await asyncio.sleep(0.01)
            async with asyncio.timeout(5):
                await drain.drain(60)
            received = server.stats.models["strong-a"].received
            assert sum(call.done() for call in calls) == received <= 2
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            assert server.stats.models["strong-a"].received == received


async def test_a_drain_ends_with_the_last_of_the_calls_under_way() -> None:
    drain = Drain()
    first, last = Held(drain), Held(drain)
    calls = [first.ask("first"), last.ask("last")]
    await asyncio.sleep(0)
    draining = asyncio.create_task(drain.drain(20))
    for model, under_way in ((first, 1), (last, 0)):
        assert not draining.done()
        model.release.set()
        await turns()
        assert drain.under_way == under_way
    async with asyncio.timeout(5):
        await draining
        await Drain().drain(20)  # where nothing is under way
    await asyncio.gather(*calls)


@pytest.mark.parametrize(("under_way", "said"), [(0, []), (2, [("run.stopping", "9" * 300, 2)])])
async def test_a_stop_says_for_how_many_answers_it_waits(under_way: int, said: list[tuple[str, str, int]]) -> None:
    class Spent:
        async def complete(self, _prompt: Prompt, /) -> Completion:
            raise Unusable("9" * 400, hint="Pay.")

    drain = Drain()
    model = Held(drain)
    calls = [model.ask(str(number)) for number in range(under_way)]
    await asyncio.sleep(0)
    with captured_logs() as events:
        stops = [
            asyncio.create_task(DrainedBeforeStop(Spent(), drain).complete(Prompt(messages=(), temperature=0, seed=0)))
            for _ in range(2)
        ]
        await turns()
        model.release.set()
        for stop in stops:
            with pytest.raises(Unusable):
                await stop
    assert [(event["event"], event["why"], event["waiting_for"]) for event in events] == said, "once"
    await asyncio.gather(*calls)


async def test_a_drain_ends_when_its_time_is_up() -> None:
    drain = Drain()
    call = Held(drain).ask("hangs")
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await drain.drain(0.01)
    assert drain.under_way == 1
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert drain.under_way == 0
