"""The barest client of files and batches, for tests that look at the server itself."""

import asyncio
from typing import Any

import aiohttp
import msgspec

from tests.loopback.answers import Request, make_question
from tests.loopback.asking import chat
from tests.loopback.batch import BatchSettings
from tests.loopback.batch_faults import BatchFaults, Rule
from tests.loopback.batch_lines import URL

FINAL = {"completed", "failed", "expired", "cancelled", "odd_ended"}


def line(custom_id: str, request: Request, **other: Any) -> dict[str, Any]:
    """A line of an input file."""
    return {"custom_id": custom_id, "method": "POST", "url": URL, "body": request} | other


def jsonl(lines: list[dict[str, Any]]) -> bytes:
    """An input file."""
    return b"".join(msgspec.json.encode(one) + b"\n" for one in lines)


def requests(count: int, model: str = "strong-a") -> dict[str, Request]:
    """Requests by custom_id."""
    return {f"id-{i}": chat(model, make_question(i)[0], seed=i) for i in range(count)}


def lines_of(asked: dict[str, Request]) -> list[dict[str, Any]]:
    """The lines that ask them."""
    return [line(custom_id, request) for custom_id, request in asked.items()]


def settings(*rules: Rule, **fields: Any) -> BatchSettings:
    """Quick batches with these faults."""
    given: dict[str, Any] = {"seconds": 0.1, "faults": BatchFaults(rules=rules)} | fields
    return BatchSettings(**given)


class BatchClient:
    """Sends the requests about files and batches; each answers status and JSON, and raises what aiohttp does."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Send any request."""
        async with self._session.request(method, f"{self._base_url}/{path}", **options) as response:
            return response.status, msgspec.json.decode(await response.read())

    async def upload(self, content: bytes, purpose: str = "batch") -> tuple[int, Any]:
        """Upload an input file."""
        form = aiohttp.FormData()
        form.add_field("purpose", purpose)
        form.add_field("file", content, filename="in.jsonl", content_type="application/jsonl")
        return await self.ask("POST", "files", data=form)

    async def create(self, file_id: str, window: str = "24h", **fields: Any) -> tuple[int, Any]:
        """Create a batch."""
        body = {"input_file_id": file_id, "endpoint": URL, "completion_window": window} | fields
        return await self.ask("POST", "batches", json=body)

    async def submit(self, lines: list[dict[str, Any]], window: str = "24h", **fields: Any) -> Any:
        """Upload and create; the batch."""
        _, file = await self.upload(jsonl(lines))
        status, batch = await self.create(file["id"], window, **fields)
        assert status == 200, batch
        return batch

    async def ended(self, batch_id: str, final: set[str] = FINAL) -> tuple[Any, list[str]]:
        """Wait for the end of a batch; the batch, and the statuses seen on the way."""
        seen: list[str] = []
        while True:
            _, batch = await self.ask("GET", f"batches/{batch_id}")
            if batch["status"] not in seen:
                seen.append(batch["status"])
            if batch["status"] in final:
                return batch, seen
            await asyncio.sleep(0.005)

    async def content(self, file_id: str | None) -> list[Any]:
        """The lines of a result file; one that is not JSON stays bytes. None without a file."""
        if file_id is None:
            return []
        async with self._session.get(f"{self._base_url}/files/{file_id}/content") as response:
            assert response.status == 200, response.status
            return [_decoded(text) for text in (await response.read()).splitlines()]


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
