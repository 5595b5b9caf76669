"""The loopback server's batches: they answer as the chat does, charge what they answer, and go wrong as asked."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest

from tests.loopback import BatchFaults, BatchSettings, Rule, answer_to, serve
from tests.loopback.asking import chat, post
from tests.loopback.batch_asking import BatchClient, jsonl, line, lines_of, requests, settings
from tests.loopback.batches import Batches


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_batch_answers_what_the_chat_does_and_charges_each_line_once(session: aiohttp.ClientSession) -> None:
    """Its lines come in another order than asked."""
    asked = requests(20)
    async with serve(batches=settings()) as server:
        client = BatchClient(session, server.base_url)
        created = await client.submit(lines_of(asked), metadata={"key": "k1"})
        assert (created["status"], created["metadata"], created["output_file_id"]) == (
            "validating",
            {"key": "k1"},
            None,
        )
        batch, _ = await client.ended(created["id"])
        assert batch["status"] == "completed"
        assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
        assert (batch["error_file_id"], batch["errors"]) == (None, None)
        results = await client.content(batch["output_file_id"])
        for result in results:
            _, _, body = await post(session, server.base_url, asked[result["custom_id"]])
            assert result["response"]["body"] == msgspec.json.decode(body)
            assert (result["response"]["status_code"], result["error"]) == (200, None)
        stats = server.batches
    assert sorted(result["custom_id"] for result in results) == sorted(asked)
    assert [result["custom_id"] for result in results] != list(asked)
    assert {(count.asked, count.charged) for count in stats.lines.values()} == {(1, 1)}
    assert set(stats.bodies.values()) == {1}
    usages = [result["response"]["body"]["usage"] for result in results]
    assert stats.completion_tokens == sum(usage["completion_tokens"] for usage in usages) > 0
    assert stats.prompt_tokens == sum(usage["prompt_tokens"] for usage in usages) > 0


_WAY = ["validating 0", "in_progress 0", "in_progress 4", "in_progress 8", "finalizing 8", "completed 8", "completed 8"]


@pytest.mark.parametrize(
    ("fault", "statuses", "files"),
    [
        ("wrong_counts", _WAY, [0] * 5 + [1, 1]),
        ("files_late", _WAY, [0] * 6 + [1]),
        ("results_gone", _WAY, [0] * 5 + [1, 0]),
        (
            "odd_status",
            ["validating 0", "scheduling 0", *(f"packing {n}" for n in (4, 8, 8)), *_WAY[5:]],
            [0] * 5 + [1, 1],
        ),
    ],
)
def test_a_batch_goes_through_its_statuses_by_the_clock(fault: str, statuses: list[str], files: list[int]) -> None:
    now = [1000.0]
    faults = BatchFaults(rules=(Rule(at="batch", fault=fault, seconds=5.0),))
    batches = Batches(BatchSettings(seconds=10.0, faults=faults), answer_to, lambda: now[0])
    file = batches.upload("batch", "in.jsonl", jsonl(lines_of(requests(8))))
    made = batches.create(file.id, "24h", {})
    seen, there = [], []
    for now[0] in (1000.5, 1001.0, 1005.0, 1008.9, 1009.0, 1010.0, 1015.0):
        batch = batches.batch(made.id)
        seen.append(f"{batch.status} {batch.done}")
        there.append(len(batches.files) - 1)
    assert (seen, there) == (statuses, files)
    assert batches.stats().charged == 8


async def test_the_same_lines_in_two_batches_are_charged_twice(session: aiohttp.ClientSession) -> None:
    """No provider knows that it has been asked before: this is what the count must show."""
    async with serve(batches=settings()) as server:
        client = BatchClient(session, server.base_url)
        _, file = await client.upload(jsonl(lines_of(requests(3))))
        for _ in range(2):
            await client.ended((await client.create(file["id"]))[1]["id"])
        assert {(count.asked, count.charged) for count in server.batches.lines.values()} == {(2, 2)}
        assert server.batches.charged == 6


async def test_a_file_is_refused_for_what_is_wrong_in_it_and_nothing_is_charged(session: aiohttp.ClientSession) -> None:
    good, other = requests(2).values()
    streamed = chat("strong-a", "Why?", stream=True)
    wrong = {
        "duplicate_custom_id": [line("a", good), line("a", other)],
        "invalid_url": [line("a", good, url="/v1/embeddings")],
        "invalid_method": [line("a", good, method="GET")],
        "invalid_custom_id": [line("x" * 65, good)],
        "invalid_request": [line("a", streamed)],
        "mismatched_model": [line("a", good), line("b", chat("strong-b", "Why?"))],
        "invalid_json_line": [{"custom_id": "a"}],
        "too_many_tasks": lines_of(requests(4)),
        "empty_file": [],
    }
    async with serve(batches=settings(max_lines=3)) as server:
        client = BatchClient(session, server.base_url)
        for code, lines in wrong.items():
            batch, _ = await client.ended((await client.submit(lines))["id"])
            assert batch["status"] == "failed", code
            assert batch["errors"]["data"][0]["code"] == code
            assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
        assert server.batches.charged == 0


async def test_above_the_queue_limit_a_batch_is_accepted_and_then_fails(session: aiohttp.ClientSession) -> None:
    async with serve(batches=settings(max_queued=5)) as server:
        client = BatchClient(session, server.base_url)
        first = await client.submit(lines_of(requests(4)))
        second, _ = await client.ended((await client.submit(lines_of(requests(2))))["id"])
        assert (second["status"], second["errors"]["data"][0]["code"]) == ("failed", "token_limit_exceeded")
        await client.ended(first["id"])
        third, _ = await client.ended((await client.submit(lines_of(requests(2))))["id"])
        assert third["status"] == "completed"


@pytest.mark.slow
@pytest.mark.parametrize("rest", [True, False])
async def test_an_expired_batch_delivers_and_charges_what_was_done(session: aiohttp.ClientSession, rest: bool) -> None:
    """By its window, and by a fault; the rest is in the error file, or nowhere."""
    rules = Rule(at="batch", fault="expired", share=0.5, nth=2)
    async with serve(batches=settings(rules, seconds=0.5, rest_in_errors=rest)) as server:
        client = BatchClient(session, server.base_url)
        for window in ("250ms", "24h"):
            asked = requests(40)
            batch, _ = await client.ended((await client.submit(lines_of(asked), window))["id"])
            assert batch["status"] == "expired"
            done = {result["custom_id"] for result in await client.content(batch["output_file_id"])}
            errors = await client.content(batch["error_file_id"])
            assert 0 < len(done) < 40
            assert {error["custom_id"] for error in errors} == (set(asked) - done if rest else set())
            assert {error["error"]["code"] for error in errors} == ({"batch_expired"} if rest else set())
            assert server.batches.batches[-1].charged == len(done)


async def test_a_cancelled_batch_stops_charging_and_a_late_cancel_is_refused(session: aiohttp.ClientSession) -> None:
    async with serve(batches=settings(seconds=0.4, cancelling=0.05)) as server:
        client = BatchClient(session, server.base_url)
        created = await client.submit(lines_of(requests(40)))
        await asyncio.sleep(0.2)
        status, batch = await client.ask("POST", f"batches/{created['id']}/cancel")
        charged = server.batches.charged
        assert (status, batch["status"]) == (200, "cancelling")
        batch, _ = await client.ended(created["id"])
        assert batch["status"] == "cancelled"
        assert server.batches.charged == charged == len(await client.content(batch["output_file_id"]))
        assert 0 < charged < 40
        assert len(await client.content(batch["error_file_id"])) == 40 - charged
        status, refused = await client.ask("POST", f"batches/{created['id']}/cancel")
        assert (status, refused["error"]["type"]) == (409, "invalid_request_error")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "status", "charged"),
    [
        ("failed", "failed", 0),
        ("failed_line", "failed", 0),
        ("token_limit", "failed", 0),
        ("cancelled", "cancelled", 5),
        ("all_failed", "completed", 0),
        ("no_credit", "completed", 0),
        ("odd_status", "completed", 10),
        ("odd_end", "odd_ended", 10),
        ("stuck", "expired", 5),
        ("wrong_counts", "completed", 10),
        ("files_late", "completed", 10),
        ("results_gone", "completed", 10),
    ],
)
async def test_a_batch_ends_as_the_fault_says(
    session: aiohttp.ClientSession, fault: str, status: str, charged: int
) -> None:
    """Nothing that is charged is missing in the files; nobody is charged for a failure."""
    rules = (Rule(at="batch", fault=fault, seconds=0.15), Rule(at="line", fault="500", contains='"id-3"'))
    async with serve(batches=settings(*rules if fault == "wrong_counts" else rules[:1])) as server:
        client = BatchClient(session, server.base_url)
        created = await client.submit(lines_of(requests(10)), "300ms" if fault == "stuck" else "24h")
        batch, _ = await client.ended(created["id"])
        assert batch["status"] == status
        assert server.batches.batches[0].fault == fault
        if fault == "files_late":
            await asyncio.sleep(0.2)
            _, batch = await client.ask("GET", f"batches/{created['id']}")
        output, errors = [await client.content(batch[name]) for name in ("output_file_id", "error_file_id")]
        if fault == "wrong_counts":
            assert batch["request_counts"] == {"total": 10, "completed": 10, "failed": 0}
            assert (len(output), len(errors)) == (9, 1)
        else:
            assert len(output) == server.batches.charged == charged
        if fault in ("all_failed", "no_credit"):
            assert batch["output_file_id"] is None
            assert len(errors) == 10
            assert all(("credit balance is too low" in str(error)) == (fault == "no_credit") for error in errors)
        if fault == "failed_line":
            assert batch["errors"]["data"][0]["line"] == 1
        if fault == "results_gone":
            await asyncio.sleep(0.2)
            gone, _ = await client.ask("GET", f"files/{batch['output_file_id']}/content")
            assert gone == 404
            assert {count.gone for count in server.batches.lines.values()} == {0}  # they had been fetched


async def test_results_that_go_before_they_were_fetched_are_counted(session: aiohttp.ClientSession) -> None:
    async with serve(batches=settings(Rule(at="batch", fault="results_gone", seconds=0.0))) as server:
        client = BatchClient(session, server.base_url)
        batch, _ = await client.ended((await client.submit(lines_of(requests(3))))["id"])
        status, _ = await client.ask("GET", f"files/{batch['output_file_id']}/content")
        assert status == 404
        assert {(count.charged, count.gone) for count in server.batches.lines.values()} == {(1, 1)}


@pytest.mark.parametrize(
    ("fault", "output", "errors", "charged"),
    [
        ("lost", 0, 0, 0),
        ("doubled", 2, 0, 1),
        ("in_both", 1, 1, 1),
        ("stranger", 1, 0, 1),
        ("garbled", 0, 0, 0),
        ("status_0", 1, 0, 0),
        ("no_response", 0, 1, 0),
        ("no_credit", 0, 1, 0),
        ("400", 0, 1, 0),
        ("429", 0, 1, 0),
        ("500", 0, 1, 0),
        ("500_in_output", 1, 0, 0),
    ],
)
async def test_a_line_goes_wrong_as_the_fault_says_and_the_others_do_not(
    session: aiohttp.ClientSession, fault: str, output: int, errors: int, charged: int
) -> None:
    async with serve(batches=settings(Rule(at="line", fault=fault, contains='"id-3"'))) as server:
        client = BatchClient(session, server.base_url)
        batch, _ = await client.ended((await client.submit(lines_of(requests(6))))["id"])
        found = [await client.content(batch[name]) for name in ("output_file_id", "error_file_id")]
        ids = [Counter(one["custom_id"] for one in lines if isinstance(one, dict)) for lines in found]
        assert (ids[0]["id-3"], ids[1]["id-3"], server.batches.lines["id-3"].charged) == (output, errors, charged)
        assert all(ids[0][other] == 1 for other in requests(6) if other != "id-3")
        assert (ids[0]["id-~"], any(isinstance(one, bytes) for one in found[0])) == (
            fault == "stranger",
            fault == "garbled",
        )


@pytest.mark.slow
async def test_shares_of_faults_are_the_same_every_time_and_pass_when_asked_again(
    session: aiohttp.ClientSession,
) -> None:
    mix = BatchFaults(seed=3, mix={"line": {"lost": 0.2, "500": 0.2}})
    ends = []
    for _ in range(2):
        async with serve(batches=settings(faults=mix)) as server:
            client = BatchClient(session, server.base_url)
            left, rounds = requests(40), []
            while left:
                batch, _ = await client.ended((await client.submit(lines_of(left)))["id"])
                for result in await client.content(batch["output_file_id"]):
                    del left[result["custom_id"]]
                rounds.append(len(left))
            assert {count.charged for count in server.batches.lines.values()} == {1}
            ends.append((rounds, dict(server.batches.faults)))
    assert ends[0] == ends[1]
    assert 5 < ends[0][0][0] < 35
    assert set(ends[0][1]) == {"line:lost", "line:500"}


def test_an_unknown_fault_is_refused_when_the_script_is_read() -> None:
    for script in ('{"rules": [{"at": "line", "fault": "expired"}]}', '{"mix": {"batch": {"lost": 0.1}}}'):
        with pytest.raises(msgspec.ValidationError, match="no fault"):
            msgspec.json.decode(script, type=BatchFaults)
