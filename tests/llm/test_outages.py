"""Endpoints that stop answering: who waits for them, for how long, and what they take from others meanwhile."""

import asyncio
import socket
import time
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import structs

from tests.loopback import Fault, Match, serve
from weak2wise.config import OpenAIEndpoint
from weak2wise.errors import RecordError
from weak2wise.llm.call import Call, calling
from weak2wise.llm.endpoint import HostParts
from weak2wise.llm.errors import Down, Transient, Unusable
from weak2wise.llm.http import transport
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.journal import Journal, Journaled
from weak2wise.llm.limits.limits import Limits
from weak2wise.llm.model import Completion, Message, Model, Prompt
from weak2wise.llm.retry import Retried

PROMPT = Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=5)


@pytest.mark.slow
async def test_a_blip_condemns_nothing_where_answers_take_longer_than_the_patience() -> None:
    """The probe is as slow as any answer; calls that wait meanwhile are sent once it has come."""
    faults = (Fault("reset_before_headers", times=20),)
    async with serve(faults=faults, latency=1.0) as server:
        settings = OpenAIEndpoint(base_url=server.base_url, model_id="strong-a", outage_patience=0.2)
        async with OpenAIModel("a", settings) as model:
            prompts = [structs.replace(PROMPT, seed=seed) for seed in range(30)]
            asking = Retried(model, max_retries=5, first_wait=0.01)
            answers = await asyncio.gather(*map(asking.complete, prompts))
    assert all(answer.text for answer in answers)


def coming_again(model: Model, journal: Journal, row: int, *, one_of_several: bool = True) -> asyncio.Task[Completion]:
    """A question asked of a strong model for a row that will be tried again."""
    journaled = Journaled(model, journal, role="strong/a", endpoint="a", settings={}, one_of_several=one_of_several)
    with calling(Call(row=row, waits=False)):
        return asyncio.create_task(journaled.complete(PROMPT))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    found = Journal(tmp_path, max_bytes=1 << 20, fsync_seconds=0.01)
    found.open(lambda _role: b"")
    return found


async def test_who_can_ask_another_model_does_not_wait_for_a_dead_one_while_its_record_comes_again(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weak2wise.llm.http.replicas.FIRST_PROBE", 60.0)
    async with serve(faults=(Fault("500", times=None),)) as server:
        settings = OpenAIEndpoint(base_url=server.base_url, model_id="strong-a")
        async with OpenAIModel("a", settings) as model:
            asking = [coming_again(Retried(model, max_retries=0), journal, row) for row in range(20)]
            ends = await asyncio.gather(*asking, return_exceptions=True)
            assert all(isinstance(end, RecordError) for end in ends)
            async with asyncio.timeout(0.5):
                with pytest.raises(Down, match=r"^a: down for [01] s; "):
                    await coming_again(model, journal, 20)
            alone = coming_again(model, journal, 21, one_of_several=False)
            await asyncio.sleep(0.5)
            assert not alone.done(), "who has nobody else to ask waits"
            alone.cancel()
            await asyncio.gather(alone, return_exceptions=True)
    await journal.close()


async def test_who_can_ask_another_model_does_not_sit_out_an_hour_s_pause(journal: Journal) -> None:
    async with serve(faults=(Fault("429", retry_after=3600),)) as server:
        settings = OpenAIEndpoint(base_url=server.base_url, model_id="strong-a", max_concurrent_requests=1)
        async with OpenAIModel("a", settings) as model:
            asking = [coming_again(Retried(model, max_retries=5), journal, row) for row in range(4)]
            async with asyncio.timeout(5):
                ends = await asyncio.gather(*asking, return_exceptions=True)
            assert all(isinstance(end, Down) for end in ends)
            assert server.stats.models["strong-a"].received == 1
    await journal.close()


async def test_a_host_that_was_never_found_is_a_mistake_and_not_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "UNKNOWN_SECONDS", 0.2)
    settings = OpenAIEndpoint(base_url="http://misspelled.invalid/v1", model_id="strong-a")
    async with OpenAIModel("a", settings) as model:
        with pytest.raises(Unusable, match="cannot find the host misspelled"):
            await Retried(model, max_retries=100, first_wait=0.05, longest_wait=0.1).complete(PROMPT)


class Patchy(AbstractResolver):
    """Finds a host not at first, but at this machine from then on."""

    asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked += 1
        if self.asked == 1:
            raise OSError("no such name")
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass


async def test_a_host_that_was_found_after_all_but_refuses_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long ago the network knew no such name."""
    monkeypatch.setattr(transport, "UNKNOWN_SECONDS", 0.05)
    monkeypatch.setattr("aiohttp.connector.DefaultResolver", lambda **_: Patchy())
    async with OpenAIModel("a", OpenAIEndpoint(base_url="http://late.invalid:9/v1", model_id="strong-a")) as model:
        for _ in range(3):
            with pytest.raises(Transient, match="cannot connect"):
                await model.complete(PROMPT)
            await asyncio.sleep(0.06)


@pytest.mark.slow
async def test_an_endpoint_says_how_long_it_has_been_down_until_it_answers_again() -> None:
    async with serve(faults=(Fault("500", times=20),)) as server:
        settings = OpenAIEndpoint(base_url=server.base_url, model_id="strong-a")
        async with OpenAIModel("a", settings) as model:
            down = [model.load().down]
            for _ in range(20):
                with pytest.raises(RecordError):
                    await model.complete(PROMPT)
            down.append(model.load().down)
            await model.complete(PROMPT)  # waits for the first probe
            down.append(model.load().down)
    assert down == [None, pytest.approx(0, abs=1), None]


@pytest.mark.slow
async def test_a_dead_endpoint_takes_nothing_of_the_rate_it_shares() -> None:
    """A hundred calls wait for it; the living one of the same key gets what there is."""
    async with serve(faults=(Fault("500", Match(model="strong-a-two"), times=None),)) as server:
        parts = HostParts(limits=Limits(requests_per_minute=1200))
        dead = OpenAIEndpoint(base_url=server.base_url, model_id="strong-a-two", outage_patience=30)
        living = structs.replace(dead, model_id="strong-a")
        async with OpenAIModel("a", dead, parts) as one, OpenAIModel("b", living, parts) as two:
            waiting = [asyncio.create_task(Retried(one, max_retries=100).complete(PROMPT)) for _ in range(100)]
            await asyncio.sleep(2)
            before = server.stats.models["strong-a-two"].received
            async with asyncio.timeout(2.5):
                await asyncio.gather(*(two.complete(PROMPT) for _ in range(30)))
            assert server.stats.models["strong-a-two"].received - before <= 3
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


@pytest.mark.slow
async def test_a_hung_probe_holds_nobody_back_once_the_endpoint_answers_again() -> None:
    """Twenty failures take it down; the first probe hangs for as long as it may, and everybody else is answered."""
    faults = (Fault("500", times=20), Fault("hang_before_headers", Match(nth=21), times=1))
    async with serve(faults=faults) as server:
        settings = OpenAIEndpoint(base_url=server.base_url, model_id="strong-a", request_timeout=60)
        async with OpenAIModel("a", settings) as model:
            asking = Retried(model, max_retries=5, first_wait=0.01)
            calls = [asyncio.create_task(asking.complete(structs.replace(PROMPT, seed=seed))) for seed in range(20)]
            async with asyncio.timeout(15):
                while sum(task.done() and bool(task.result().text) for task in calls) < 19:
                    await asyncio.sleep(0.05)
            for task in calls:
                task.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.slow
async def test_a_probe_that_hung_takes_no_endpoint_down_that_answers_again() -> None:
    """It ends with its time-out long after another probe was answered: one failure, as any other."""
    faults = (Fault("500", times=20), Fault("hang_before_headers", Match(nth=21), times=1))
    async with serve(faults=faults) as server:
        settings = OpenAIEndpoint(base_url=server.base_url, model_id="strong-a", request_timeout=4)
        async with OpenAIModel("a", settings) as model:
            for _ in range(20):
                with pytest.raises(Transient):
                    await model.complete(PROMPT)
            hung = asyncio.create_task(model.complete(PROMPT))
            await asyncio.sleep(2)
            await model.complete(PROMPT)
            with pytest.raises(Transient, match="no answer within 4 s"):
                await hung
            assert model.load().down is None
            await asyncio.wait_for(model.complete(PROMPT), 0.5)


@pytest.mark.slow
async def test_probes_that_only_hang_end_the_wait_of_all_calls() -> None:
    """Each probe that is sent meanwhile may hang; the wait ends with the time-out of those sent within the patience."""
    faults = (Fault("500", times=20), Fault("hang_before_headers", times=None))
    async with serve(faults=faults) as server:
        settings = OpenAIEndpoint(
            base_url=server.base_url,
            model_id="strong-a",
            request_timeout=4,
            outage_patience=2,
            max_concurrent_requests=9,
        )
        async with OpenAIModel("a", settings) as model:
            for _ in range(20):
                with pytest.raises(Transient):
                    await model.complete(PROMPT)
            began = time.monotonic()
            calls = [model.complete(structs.replace(PROMPT, seed=seed)) for seed in range(30)]
            ends = await asyncio.gather(*calls, return_exceptions=True)
            assert time.monotonic() - began < 2 + 4 + 5
            assert sum(isinstance(end, Down) for end in ends) >= 25
            assert {type(end) for end in ends} <= {Down, Transient}


async def test_a_connection_that_is_not_made_in_time_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue of the listening socket is full, so nobody answers."""
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.3)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        settings = OpenAIEndpoint(base_url=f"http://127.0.0.1:{address[1]}/v1", model_id="strong-a")
        async with OpenAIModel("a", settings) as model:
            with pytest.raises(Transient, match=r"cannot connect within 0\.3 s"):
                await model.complete(PROMPT)
        for each in waiting:
            each.close()
