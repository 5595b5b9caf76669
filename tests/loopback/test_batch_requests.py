"""The loopback server's requests about files and batches: what they show, and how they go wrong."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.loopback import LoopbackProcess, Rule, serve
from tests.loopback.batch_asking import BatchClient, jsonl, lines_of, requests, settings


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_batch_may_be_listed_late_and_is_found_by_file_and_metadata_then(
    session: aiohttp.ClientSession,
) -> None:
    async with serve(batches=settings(Rule(at="batch", fault="listed_late", seconds=0.1))) as server:
        client = BatchClient(session, server.base_url)
        created = await client.submit(lines_of(requests(2)), metadata={"key": "k1"})
        assert (await client.ask("GET", "batches"))[1]["data"] == []
        await asyncio.sleep(0.12)
        (listed,) = (await client.ask("GET", "batches"))[1]["data"]
        assert (listed["id"], listed["input_file_id"]) == (created["id"], created["input_file_id"])
        assert listed["metadata"] == {"key": "k1"}


async def test_the_listing_has_pages_newest_first(session: aiohttp.ClientSession) -> None:
    async with serve(batches=settings()) as server:
        client = BatchClient(session, server.base_url)
        made = [(await client.submit(lines_of(requests(1))))["id"] for _ in range(5)]
        found, after, more = [], "", True
        while more:
            _, page = await client.ask("GET", f"batches?limit=2{after}")
            found += [batch["id"] for batch in page["data"]]
            after, more = f"&after={page['last_id']}", page["has_more"]
        assert found == made[::-1]
        assert (await client.ask("GET", "batches?limit=101"))[0] == 400
        assert (await client.ask("GET", "batches?after=nothing"))[0] == 400


@pytest.mark.parametrize("after", ["500_after", "reset_after", "hang_after"])
async def test_a_create_may_succeed_unseen(session: aiohttp.ClientSession, after: str) -> None:
    async with serve(batches=settings(Rule(at="create", fault=after))) as server:
        client = BatchClient(session, server.base_url)
        _, file = await client.upload(jsonl(lines_of(requests(2))))
        try:
            async with asyncio.timeout(0.2):
                status, _ = await client.create(file["id"])
            assert (after, status) == ("500_after", 500)
        except (aiohttp.ClientError, TimeoutError):
            assert after != "500_after"
        (listed,) = (await client.ask("GET", "batches"))[1]["data"]
        assert listed["input_file_id"] == file["id"]
        assert server.batches.faults == {f"create:{after}": 1}


@pytest.mark.parametrize("fault", ["429", "500", "503", "404", "reset", "cut"])
@pytest.mark.parametrize("at", ["upload", "create", "content"])
async def test_a_request_is_refused_or_cut_once(session: aiohttp.ClientSession, at: str, fault: str) -> None:
    """What was refused was not done; the next one is served."""
    times = 2 if (at, fault) == ("content", "reset") else 1  # aiohttp itself repeats a GET that was reset
    rule = Rule(at=at, fault=fault, seconds=0.1, times=times)  # type: ignore[arg-type]
    async with serve(batches=settings(rule)) as server:
        client = BatchClient(session, server.base_url)
        content = jsonl(lines_of(requests(50)))
        statuses: list[int | str] = []
        file: Any = None
        for _ in range(2):
            try:
                if at == "upload":
                    status, file = await client.upload(content)
                elif at == "create":
                    file = file or (await client.upload(content))[1]
                    status, _ = await client.create(file["id"])
                else:
                    file = file or (await client.upload(content))[1]
                    async with session.get(f"{server.base_url}/files/{file['id']}/content") as response:
                        assert response.status != 200 or await response.read() == content
                        status = response.status
                statuses.append(status)
            except aiohttp.ClientError:
                statuses.append("broken")
        assert statuses == ["broken" if fault in ("reset", "cut") else int(fault), 200]
        done = {"upload": server.batches.files, "create": len(server.batches.batches), "content": 1}
        assert done[at] == (2 if (at, fault) == ("create", "cut") else 1)


async def test_files_are_listed_shown_and_deleted(session: aiohttp.ClientSession) -> None:
    content = jsonl(lines_of(requests(2)))
    async with serve(batches=settings(processing=0.1, max_bytes=len(content))) as server:
        client = BatchClient(session, server.base_url)
        _, file = await client.upload(content)
        assert (file["bytes"], file["purpose"], file["status"]) == (len(content), "batch", "pending")
        assert (await client.create(file["id"]))[0] == 400
        await asyncio.sleep(0.12)
        assert (await client.ask("GET", f"files/{file['id']}"))[1]["status"] == "processed"
        assert [one["id"] for one in (await client.ask("GET", "files"))[1]["data"]] == [file["id"]]
        assert (await client.ask("DELETE", f"files/{file['id']}"))[1]["deleted"] is True
        assert [status for status, _ in [await client.ask("GET", f"files/{file['id']}")]] == [404]
        assert (await client.create(file["id"]))[0] == 400
        assert server.batches.files == 0
        assert (await client.upload(content + b"\n"))[0] == 413
        assert (await client.upload(content, purpose="fine-tune"))[0] == 400
        assert (await client.ask("DELETE", "batches/b"))[0] == 405
        assert (await client.ask("GET", "batches/b"))[0] == 404


@pytest.mark.slow
async def test_batches_of_a_process_outlive_their_client(session: aiohttp.ClientSession) -> None:
    """Created by one connection, found and fetched by another; the process tells the same counts."""
    given = settings(Rule(at="line", fault="doubled"))
    with LoopbackProcess(batches=given) as process:
        created = await BatchClient(session, process.base_url).submit(lines_of(requests(3)))
        await session.close()
        async with aiohttp.ClientSession() as other:
            client = BatchClient(other, process.base_url)
            batch, _ = await client.ended(created["id"])
            assert len(await client.content(batch["output_file_id"])) == 4
        stats = process.batches()
    assert {count.charged for count in stats.lines.values()} == {1}
    assert stats.requests["create"] == 1
