"""The requests about files and batches: which is which, what it says, and how the reply to it is spoilt."""

import re
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

from tests.loopback.batch import Batch
from tests.loopback.batch_faults import Operation, Rule
from tests.loopback.batch_lines import URL
from tests.loopback.batches import Batches, Refused, StoredFile
from tests.loopback.replies import Reply, error, http, json_reply

_PATH = re.compile(r"/(files|batches)(?:/([^/]+))?(?:/(content|cancel))?/?$")
_OPERATIONS: dict[tuple[str, str, bool, str | None], Operation] = {
    ("POST", "files", False, None): "upload",
    ("GET", "files", False, None): "files",
    ("GET", "files", True, None): "file",
    ("GET", "files", True, "content"): "content",
    ("DELETE", "files", True, None): "delete",
    ("POST", "batches", False, None): "create",
    ("GET", "batches", False, None): "list",
    ("GET", "batches", True, None): "retrieve",
    ("POST", "batches", True, "cancel"): "cancel",
}
_BLOCK = 1 << 20
_HOUR = 3600.0


class _Creation(Struct, frozen=True):
    """The body of a request for a batch."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None


_CREATION = msgspec.json.Decoder(_Creation)


class BatchReplies:
    """Answers the requests about files and batches."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is about files or batches."""
        return _PATH.search(path) is not None

    async def reply(self, request: web.BaseRequest) -> Reply:
        """Carry out a request and say so, unless a fault prevents one of the two."""
        found = _PATH.search(request.path)
        assert found is not None
        operation = _OPERATIONS.get((request.method, found[1], found[2] is not None, found[3]))
        if operation is None:
            return _refusal(Refused(405, f"Method {request.method} is not allowed for {request.path}."))
        self.batches.count(operation)
        asked = str(self.batches.stats().requests[operation])
        fault = self.batches.faults.choose(operation, request.path_qs.encode(), asked)
        kind = fault.fault if fault is not None else ""
        if fault is not None:
            self.batches.count(operation, kind)
            if kind == "cut" and operation == "upload":
                await request.content.readany()
                return Reply((), end="reset")
        body = await self._body(operation, request)
        if fault is not None and kind != "cut" and not kind.endswith("_after"):
            return _broken(fault, kind)
        try:
            reply = self._carried_out(operation, found[2] or "", body, request)
        except Refused as refused:
            return _refusal(refused)
        return reply if fault is None else _spoilt(reply, fault)

    async def _body(self, operation: Operation, request: web.BaseRequest) -> dict[str, Any] | bytes:
        if operation != "upload" or not request.content_type.startswith("multipart/"):
            return await request.content.read()
        parts: dict[str, Any] = {}
        async for part in await request.multipart():
            assert not isinstance(part, web.StreamResponse)
            content = bytearray()
            while block := await part.read_chunk(_BLOCK):  # type: ignore[union-attr]
                content += block
            parts[str(part.name)] = content.decode() if part.filename is None else (part.filename, bytes(content))  # type: ignore[union-attr]
        return parts

    def _carried_out(
        self, operation: Operation, id_: str, body: dict[str, Any] | bytes, request: web.BaseRequest
    ) -> Reply:
        """Raises ``Refused``."""
        batches = self.batches
        value: Any
        match operation:
            case "upload":
                value = self._file(self._uploaded(body))
            case "files":
                value = _page([self._file(file) for file in reversed(batches.files.values())], request)
            case "file":
                value = self._file(batches.file(id_))
            case "content":
                return _content(batches.fetch(id_))
            case "delete":
                batches.delete(id_)
                value = {"id": id_, "object": "file", "deleted": True}
            case "create":
                value = self._created(body).described()
            case "list":
                value = _page([batch.described() for batch in batches.listed()], request)
            case "retrieve":
                value = batches.batch(id_).described()
            case "cancel":
                value = batches.cancel(id_).described()
        return json_reply(value)

    def _uploaded(self, body: dict[str, Any] | bytes) -> StoredFile:
        if not isinstance(body, dict) or not isinstance(body.get("file"), tuple):
            raise Refused(400, "'file' is a required property")
        name, content = body["file"]
        return self.batches.upload(body.get("purpose", ""), name, content)

    def _created(self, body: dict[str, Any] | bytes) -> Batch:
        try:
            asked = _CREATION.decode(body if isinstance(body, bytes) else b"")
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise Refused(400, f"Bad request: {problem}") from None
        if asked.endpoint != URL:
            raise Refused(400, f"Invalid value for 'endpoint': {asked.endpoint!r}")
        return self.batches.create(asked.input_file_id, asked.completion_window, asked.metadata or {})

    def _file(self, file: StoredFile) -> dict[str, Any]:
        return {
            "id": file.id,
            "object": "file",
            "bytes": len(file.content),
            "created_at": int(file.created),
            "filename": file.name,
            "purpose": file.purpose,
            "status": "processed" if self.batches.ready(file) else "pending",
        }


def _page(shown: list[dict[str, Any]], request: web.BaseRequest) -> dict[str, Any]:
    """A page of a listing. Raises ``Refused``."""
    limit, after = request.query.get("limit", "20"), request.query.get("after")
    if not limit.isdecimal() or not 1 <= int(limit) <= 100:
        raise Refused(400, f"Invalid value for 'limit': {limit!r}")
    ids = [one["id"] for one in shown]
    if after is not None and after not in ids:
        raise Refused(400, f"Invalid value for 'after': {after!r}")
    start = 0 if after is None else ids.index(after) + 1
    page = shown[start : start + int(limit)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + len(page) < len(shown),
    }


def _content(file: StoredFile) -> Reply:
    """The file in blocks, so that a large one is not written at once."""
    head = http(b"", type_="application/jsonl", length=len(file.content))
    blocks = (file.content[at : at + _BLOCK] for at in range(0, len(file.content), _BLOCK))
    return Reply((head, *blocks), whole=True)


def _refusal(refused: Refused) -> Reply:
    return error(refused.status, str(refused), type_="invalid_request_error")


_REFUSALS: dict[str, tuple[int, str, str, str | None]] = {
    "429": (429, "Too many requests.", "requests", "rate_limit_exceeded"),
    "500": (500, "The server had an error while processing your request.", "server_error", None),
    "503": (503, "The server is overloaded.", "service_unavailable_error", None),
    "404": (404, "No such object.", "invalid_request_error", None),
}


def _broken(fault: Rule, kind: str) -> Reply:
    """What a client gets that is refused, or that hears nothing."""
    if kind in _REFUSALS:
        status, message, type_, code = _REFUSALS[kind]
        headers = f"Retry-After: {fault.seconds_or(1.0):g}\r\n" if kind == "429" else ""
        return error(status, message, type_=type_, code=code, headers=headers)
    return Reply((fault.seconds_or(_HOUR),) if kind == "hang" else (), end="reset")


def _spoilt(reply: Reply, fault: Rule) -> Reply:
    """The reply to a request that was carried out, as the client gets to see it."""
    kind = fault.fault.removesuffix("_after")
    if kind != "cut":
        return _broken(fault, kind)
    whole = b"".join(part for part in reply.parts if isinstance(part, bytes))
    return Reply((whole[: max(1, len(whole) * 2 // 3)],), end="reset")
