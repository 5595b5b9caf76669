"""What providers do otherwise than OpenAI."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from msgspec import structs

from weak2wise.config import OpenAIEndpoint
from weak2wise.config.endpoints import decode_endpoint
from weak2wise.llm.batch.remote import Missing, RemoteBatches
from weak2wise.llm.batch.results import NotWorkedOff, read_result
from weak2wise.llm.errors import ModelError, RateLimited, Transient, Unusable
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.model import Completion
from weak2wise.presets import presets

PAGE = 3


class Provider:
    """Answers with what is in ``replies``, by method and path; keeps what it was asked."""

    def __init__(self, replies: dict[str, Any]) -> None:
        self.replies = replies
        self.asked: list[tuple[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        path = f"{request.method} {request.path.removeprefix('/v1/')}"
        if request.content_type.startswith("multipart/"):
            self.asked.append((path, dict(await request.post())))
        else:
            body = await request.read()
            self.asked.append((path, msgspec.json.decode(body) if body else dict(request.query)))
        reply = self.replies.get(path)
        if isinstance(reply, list):
            reply = reply.pop(0) if len(reply) > 1 else reply[0]
        if reply is None:
            return web.json_response({"detail": "Not Found"}, status=404)
        if isinstance(reply, int):
            return web.json_response({"error": {"message": "no"}}, status=reply)
        return web.json_response(reply)


@asynccontextmanager
async def provided(
    replies: dict[str, Any], monkeypatch: pytest.MonkeyPatch, preset: str = "openai"
) -> AsyncIterator[tuple[RemoteBatches, Provider]]:
    """A provider of this kind, and its remote."""
    provider = Provider(replies)
    app = web.Application()
    app.router.add_route("*", "/v1/{rest:.*}", provider.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    monkeypatch.setitem(presets(), preset, structs.replace(presets()[preset], base_url=url))
    settings = decode_endpoint({"model_id": "m", "base_url": url, "batch": {}}, "model_endpoints.e")
    assert isinstance(settings, OpenAIEndpoint)
    try:
        async with OpenAIModel("e", settings) as endpoint:
            yield RemoteBatches("e", settings, endpoint.transport), provider
    finally:
        await runner.cleanup()


async def test_together_has_another_purpose_another_path_and_wraps_what_it_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "k.jsonl").write_bytes(b"{}\n")
    replies = {
        "POST files/upload": {"id": "file-1"},
        "POST batches": {"job": {"id": "b", "status": "VALIDATING"}, "warning": None},
        "GET batches/b": {"id": "b", "status": "COMPLETED", "progress": 100.0, "created_at": "2026-11-27T00:00:00Z"},
        "GET batches": [[{"id": "b", "status": "IN_PROGRESS", "input_file_id": "file-1"}]],
    }
    async with provided(replies, monkeypatch, "together") as (remote, provider):
        file_id = await remote.upload(tmp_path / "k.jsonl")
        assert provider.asked[0][1]["purpose"] == "batch-api"
        made = await remote.create(file_id, "k", "24h")
        assert (made.id, made.is_final) == ("b", False)
        assert (await remote.look("b")).is_final
        assert [one.id for one in await remote.find("file-1", "k")] == ["b"]


async def test_azure_is_waited_for_until_it_has_read_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weak2wise.llm.batch.remote.READY_SECONDS", 0.01)
    (tmp_path / "k.jsonl").write_bytes(b"{}\n")
    replies = {
        "POST files": {"id": "file-1", "status": "pending"},
        "GET files/file-1": [{"id": "file-1", "status": "running"}, {"id": "file-1", "status": "processed"}],
    }
    async with provided(replies, monkeypatch) as (remote, provider):
        assert await remote.upload(tmp_path / "k.jsonl") == "file-1"
        assert len(provider.asked) == 3
        provider.replies["GET files/file-1"] = {"id": "file-1", "status": "error"}
        with pytest.raises(Unusable, match="could not read"):
            await remote.upload(tmp_path / "k.jsonl")


async def test_zhipu_is_told_to_keep_the_file_and_has_another_address_in_the_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with provided({"POST batches": {"id": "b", "status": "validating"}}, monkeypatch, "zhipu") as (
        remote,
        provider,
    ):
        await remote.create("file-1", "k", "24h")
    assert provider.asked[0][1] == {
        "input_file_id": "file-1",
        "endpoint": "/v4/chat/completions",
        "completion_window": "24h",
        "metadata": {"weak2wise": "k"},
        "auto_delete_input_file": False,
    }


async def test_a_batch_is_found_on_any_page_of_the_listing_by_its_file_or_its_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def page(*ids: str, more: bool) -> dict[str, Any]:
        return {"data": [{"id": i, "input_file_id": f"file-{i}", "metadata": {"weak2wise": i}} for i in ids]} | {
            "has_more": more
        }

    for file_id, key in (("file-b5", "other"), ("", "b5")):
        pages = [page("b1", "b2", more=True), page("b3", "b4", more=True), page("b5", more=False)]
        async with provided({"GET batches": pages}, monkeypatch) as (remote, provider):
            assert [one.id for one in await remote.find(file_id, key)] == ["b5"]
            assert [query.get("after") for _, query in provider.asked] == [None, "b2", "b4"]


async def test_what_is_not_there_is_told_from_what_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    replies = {"POST batches/late/cancel": 409, "POST batches/busy/cancel": 503, "POST batches/b/cancel": {"id": "b"}}
    async with provided(replies, monkeypatch) as (remote, _):
        with pytest.raises(Missing):
            await remote.look("gone")
        with pytest.raises(Unusable, match="no list of batches"):
            await remote.page()
        await remote.delete("gone")
        assert [await remote.cancel(one) for one in ("b", "late", "gone")] == [True, False, False]
        with pytest.raises(Transient):
            await remote.cancel("busy")


GOOD = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1}}


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ({"response": {"status_code": 200, "body": GOOD}, "error": None}, Completion),
        ({"response": {"status_code": 200, "body": msgspec.json.encode(GOOD).decode()}}, Completion),
        ({"response": {"body": GOOD}, "error": {}}, Completion),
        ({"response": None, "error": {"code": "batch_expired", "message": "…"}}, NotWorkedOff),
        ({"response": None, "error": {"code": "batch_cancelled"}}, NotWorkedOff),
        ({"response": {"status_code": 0, "body": None}}, Transient),
        ({"response": {"status_code": 200, "body": ""}}, Transient),
        ({"response": {"status_code": 429, "body": {"error": {"code": "rate_limit_exceeded"}}}}, RateLimited),
        ({"response": {"status_code": 500, "body": {"error": {"message": "x"}}}}, Transient),
        ({"response": {"status_code": 400, "body": {"error": {"message": "x"}}}}, ModelError),
        ({"response": None, "error": {"code": "insufficient_quota", "message": "credit"}}, Unusable),
        (
            {"response": {"status_code": 400, "body": {"error": {"message": "Your credit balance is too low"}}}},
            Unusable,
        ),
    ],
)
def test_each_kind_of_result_line_is_understood(line: dict[str, Any], kind: type[object]) -> None:
    read = read_result(msgspec.json.encode({"id": "x", "custom_id": "c"} | line), "e")
    assert read is not None
    assert read[0] == "c"
    assert isinstance(read[1], kind), read[1]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"id": 1}', b'{"custom_id": 5}', b"\xff\xfe"])
def test_a_line_that_is_no_result_is_passed_over(line: bytes) -> None:
    assert read_result(line, "e") is None
