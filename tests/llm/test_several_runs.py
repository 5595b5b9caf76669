"""Several runs on the endpoints of one host: what they share holds for all of them, and nothing else is shared."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.llm.test_journal import journal_in
from tests.logs import captured_logs
from tests.loopback import Fault, serve
from weak2wise.config import OpenAIEndpoint
from weak2wise.errors import RecordError
from weak2wise.llm.call import Call, calling
from weak2wise.llm.drain import Drain
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.journal import Journaled
from weak2wise.llm.model import Completion, Message, Prompt
from weak2wise.llm.retry import Retried
from weak2wise.telemetry.log import RunLog, host_log, log, log_facts

IN_FLIGHT = 8


class Asking:
    """What one run has of its own: a journal and a drain, in front of an endpoint that it shares."""

    def __init__(self, name: str, folder: Path, endpoint: OpenAIModel) -> None:
        self.name = name
        self.drain = Drain()
        self.journal = journal_in(folder / name)
        self._model = Journaled(
            Retried(endpoint, max_retries=3), self.journal, role="weak", endpoint="shared", settings={}
        )

    def of(self, questions: int) -> list[asyncio.Task[Completion]]:
        """Ask so many questions, a row each."""
        return [asyncio.create_task(self._ask(row)) for row in range(1, questions + 1)]

    async def _ask(self, row: int) -> Completion:
        prompt = Prompt(messages=(Message("user", f"What is {row} + 2, {self.name}?"),), temperature=0.6, seed=row)
        with calling(Call(row=row, drain=self.drain)):
            return await self._model.complete(prompt)

    @property
    def answered(self) -> int:
        """Answers in this run's journal."""
        return sum(spent.calls for spent in self.journal.spent.values())


async def stop(tasks: Sequence[asyncio.Task[Completion]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def shared(base_url: str) -> OpenAIModel:
    """An endpoint with a limit for all who use it."""
    settings = OpenAIEndpoint(base_url=base_url, model_id="weak", max_concurrent_requests=IN_FLIGHT)
    return OpenAIModel("shared", settings)


async def test_two_runs_on_one_endpoint_stay_within_its_limit_together(tmp_path: Path) -> None:
    async with serve(latency=0.02) as server, shared(server.base_url) as endpoint:
        runs = [Asking(name, tmp_path, endpoint) for name in ("a", "b")]
        answers = await asyncio.gather(*(task for run in runs for task in run.of(40)))
        seen = server.stats.models["weak"]
        assert (seen.max_in_flight, seen.received) == (IN_FLIGHT, 80)
    assert all(answer.text for answer in answers)
    assert [run.answered for run in runs] == [40, 40], "each has its own answers in its own journal"
    for run in runs:
        await run.journal.close()


async def test_a_run_that_stops_does_not_hold_back_the_calls_of_another(tmp_path: Path) -> None:
    """It stands in front of the line with many calls; those sent arrive in its journal, the others are never sent."""
    async with serve(latency=0.05) as server, shared(server.base_url) as endpoint:
        stopping, going_on = (Asking(name, tmp_path, endpoint) for name in ("a", "b"))
        stopped = stopping.of(100)
        await asyncio.sleep(0)
        others = going_on.of(40)
        while endpoint.limits.in_flight < IN_FLIGHT:
            await asyncio.sleep(0.001)
        async with asyncio.timeout(10):
            await stopping.drain.drain(60)
            await asyncio.gather(*others)
        assert not going_on.drain.started
        sent = server.stats.models["weak"].received - 40
        assert sum(task.done() for task in stopped) == sent == IN_FLIGHT
        await stop(stopped)
        assert (stopping.answered, going_on.answered) == (IN_FLIGHT, 40)
        assert server.stats.models["weak"].received == IN_FLIGHT + 40
        assert endpoint.limits.in_flight == 0
    for run in (stopping, going_on):
        await run.journal.close()


async def test_what_happens_to_a_host_is_in_all_its_runs_logs_and_what_happens_in_a_run_in_its_own_alone() -> None:
    host: set[RunLog] = set()
    elsewhere: set[RunLog] = set()
    ready = asyncio.Barrier(3)

    async def run(name: str, peers: set[RunLog]) -> list[dict[str, object]]:
        with captured_logs(peers) as events:
            await ready.wait()
            with log_facts(row=7):
                log.info("record.emitted", by=name)
                host_log.warning("endpoint.down", by=name)
            await ready.wait()
        return events

    a, b, stranger = await asyncio.gather(run("a", host), run("b", host), run("c", elsewhere))
    for events, name in ((a, "a"), (b, "b"), (stranger, "c")):
        assert [event["by"] for event in events if event["event"] == "record.emitted"] == [name]
        rows = {event["by"]: event.get("row") for event in events if event["event"] == "endpoint.down"}
        others = {} if name == "c" else {"a": None, "b": None}
        assert rows == others | {name: 7}, "whose call it was is known in that run alone"
    assert host == elsewhere == set(), "a run that has ended hears no more"


async def test_an_outage_is_in_the_log_of_every_run_on_the_endpoint_and_a_retry_in_that_of_its_call() -> None:
    host: set[RunLog] = set()
    faults = (Fault("500", times=20),)  # as many as it takes to be down
    async with serve(faults=faults) as server, shared(server.base_url) as endpoint:
        watching = asyncio.Event()

        async def run(wait: asyncio.Event | None, retries: int) -> list[str]:
            with captured_logs(host) as events:
                if wait:
                    await wait.wait()
                else:
                    prompt = Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=1)
                    model = Retried(endpoint, max_retries=retries, first_wait=0.001, longest_wait=0.001)
                    with pytest.raises(RecordError):
                        await model.complete(prompt)
                    watching.set()
            return [str(event["event"]) for event in events]

        idle, asking = await asyncio.gather(run(watching, 0), run(None, 19))
    assert idle == ["endpoint.down"]
    assert asking.count("endpoint.down") == 1
    assert asking.count("call.retried") == 19
    assert asking.count("call.failed") == 1
