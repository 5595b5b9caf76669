"""The provider's side of batches: files, batches and their listing, in OpenAI's shape and what comes near it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct, field

from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.errors import ModelError, Transient, Unusable
from weak2wise.llm.http.odd_json import decode
from weak2wise.llm.http.transport import Reply, Transport

ASK_SECONDS = 60.0
"""How long a reply to a small request may take."""
READY_SECONDS = 2.0
"""Seconds between two looks whether an uploaded file is ready."""
PAGE = 100
"""Batches on one page of the listing."""
MOST_PAGES = 1000
METADATA = "weak2wise"
"""The key under which a batch's own name is kept in its metadata."""
_FINAL = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})
_ON_ITS_WAY = frozenset({"validating", "in_progress", "finalizing", "cancelling", "canceling"})
_NOT_READY = frozenset({"pending", "running", "processing", "importing", "validating"})
_MOST = 64 << 20
"""Bytes of a small reply, and of one line of results."""


class Missing(Exception):
    """The provider does not have it: a batch, a file, or the listing."""


class _Counts(Struct):
    total: Any = 0
    completed: Any = 0
    failed: Any = 0


class Trouble(Struct):
    """Why a whole batch was refused, or a line of it, counted from 1."""

    code: Any = None
    message: Any = None
    line: Any = None


class _Troubles(Struct):
    data: list[Trouble] | None = None


class RemoteBatch(Struct):
    """A batch as its provider describes it. A status that nobody knows is not final."""

    id: str = ""
    status: Any = ""
    input_file_id: Any = None
    output_file_id: Any = None
    error_file_id: Any = None
    request_counts: _Counts | None = None
    errors: _Troubles | None = None
    metadata: Any = None
    created_at: Any = None

    @property
    def word(self) -> str:
        """The status in lower case."""
        return str(self.status).casefold()

    @property
    def is_final(self) -> bool:
        """Whether nothing more will come of it."""
        return self.word in _FINAL

    @property
    def is_known(self) -> bool:
        """Whether the status is one of OpenAI's."""
        return self.is_final or self.word in _ON_ITS_WAY

    @property
    def done(self) -> int:
        """Requests that it says it has worked off; for people only."""
        counts = self.request_counts or _Counts()
        return sum(n for n in (counts.completed, counts.failed) if isinstance(n, int))

    @property
    def says_nothing_done(self) -> bool:
        """Whether it says in so many words that no request was answered, so that nothing is charged."""
        return (
            self.request_counts is not None and self.request_counts.completed == 0 and bool(self.request_counts.total)
        )

    @property
    def results(self) -> tuple[str, ...]:
        """The files of results: the answers, then the errors. Either may be missing."""
        return tuple(one for one in (self.output_file_id, self.error_file_id) if isinstance(one, str) and one)

    @property
    def is_all_there(self) -> bool:
        """Whether the results are there of which its counts speak; a file may come later than the end."""
        counts = self.request_counts or _Counts()
        missing = (counts.completed and not self.output_file_id) or (counts.failed and not self.error_file_id)
        return bool(self.results) and not missing

    @property
    def troubles(self) -> list[Trouble]:
        """Why it was refused."""
        return (self.errors.data if self.errors else None) or []

    def is_of(self, file_id: str, key: str) -> bool:
        """Whether it was made of this file, or under this name."""
        named = self.metadata.get(METADATA) if isinstance(self.metadata, dict) else None
        return bool(file_id and self.input_file_id == file_id) or named == key


class _Made(Struct):
    """What making a batch answers: the batch, or (Together) the batch in ``job``."""

    job: RemoteBatch | None = None


class _Page(Struct):
    data: list[RemoteBatch] = field(default_factory=list)
    has_more: Any = None
    last_id: Any = None


class _File(Struct):
    id: str
    status: Any = None
    filename: Any = None
    bytes: Any = None


class _Files(Struct):
    data: list[_File] = field(default_factory=list)


_REMOTE = msgspec.json.Decoder(RemoteBatch)
_MADE = msgspec.json.Decoder(_Made)
_PAGE = msgspec.json.Decoder(_Page)
_LIST = msgspec.json.Decoder(list[RemoteBatch])
_FILE = msgspec.json.Decoder(_File)
_FILES = msgspec.json.Decoder(_Files)


class RemoteBatches:
    """The batches of one endpoint. Each method is one try; errors are those of ``weak2wise.llm.errors``."""

    def __init__(self, name: str, settings: OpenAIEndpoint, transport: Transport) -> None:
        self._name = name
        self._settings = settings
        self._transport = transport
        self._api = settings.batch_api

    async def upload(self, path: Path) -> str:
        """Upload a file of requests; returns its id once the provider has read it. Raises ``Unusable`` if it cannot."""
        # Not opened in a thread: a run that is stopped meanwhile would lose the file.
        with path.open("rb") as file:
            form = aiohttp.FormData()
            form.add_field("purpose", self._api.purpose)
            if self._api.upload != "files":  # Together asks for the name as a field too
                form.add_field("file_name", path.name)
            form.add_field("file", file, filename=path.name, content_type="application/jsonl")
            data = form()
            kind = data.headers["Content-Type"]
            seconds = max(ASK_SECONDS, self._settings.request_timeout)
            made = decode(
                _FILE, await self._small("POST", self._api.upload, data=data, kind=kind, seconds=seconds), self._name
            )
        return await self._ready(made)

    async def uploaded(self, path: Path, size: int) -> str | None:
        """The id of a file that an earlier try has uploaded; ``None`` if there is none, or no list of files."""
        try:
            reply = await self._small("GET", f"files?purpose={self._api.purpose}&limit={PAGE}", may_miss=True)
            found = decode(_FILES, reply, self._name).data
        except (Missing, ModelError):
            return None
        files = [one for one in found if one.filename == path.name and one.bytes == size]
        return await self._ready(files[0]) if files else None

    async def _ready(self, made: _File) -> str:
        """Wait until the provider has read a file (Azure); its id."""
        while str(made.status).casefold() in _NOT_READY:  # Azure
            await asyncio.sleep(READY_SECONDS)
            made = decode(_FILE, await self._small("GET", f"files/{made.id}"), self._name)
        if str(made.status).casefold() in {"error", "failed"}:
            raise Unusable(
                f"{self._name}: the provider could not read an uploaded file of requests",
                hint=f"Leave out model_endpoints.{self._name}.batch, then start again.",
            )
        return made.id

    async def create(self, file_id: str, key: str, window: str) -> RemoteBatch:
        """Make a batch of an uploaded file.

        Where this raises ``Transient``, the batch may have been made all the same: ``find`` it before another try.
        """
        body: dict[str, Any] = {
            "input_file_id": file_id,
            "endpoint": self._api.url,
            "completion_window": window,
            "metadata": {METADATA: key},
        } | self._api.body
        reply = await self._small("POST", "batches", data=msgspec.json.encode(body))
        made = decode(_MADE, reply, self._name).job or decode(_REMOTE, reply, self._name)
        if not made.id:
            raise Transient("malformed", f"{self._name}: a batch was made that has no id", endpoint=self._name)
        return made

    async def look(self, batch_id: str) -> RemoteBatch:
        """A batch as it is now. Raises ``Missing`` if there is no such batch."""
        with_job = await self._small("GET", f"batches/{batch_id}", may_miss=True)
        return decode(_MADE, with_job, self._name).job or decode(_REMOTE, with_job, self._name)

    async def find(self, file_id: str, key: str) -> list[RemoteBatch]:
        """The batches that were made of this file or under this name, the oldest first.

        Raises:
            Unusable: the provider has no listing, or one without end, so nobody can say.
        """
        found: list[RemoteBatch] = []
        after = ""
        for _ in range(MOST_PAGES):
            batches, after = await self.page(after)
            found += [one for one in batches if one.is_of(file_id, key)]
            if not after:
                return found[::-1]
        raise Unusable(
            f"{self._name}: over {MOST_PAGES * PAGE:,} batches are listed, too many to look through",
            hint="Use a key whose account has fewer, or weak2wise batch cancel --give-up.",
        )

    async def page(self, after: str = "", limit: int = PAGE) -> tuple[list[RemoteBatch], str]:
        """A page of the listing, newest first, and what to ask the next one with. Raises ``Unusable`` without one."""
        query = f"?limit={limit}" + (f"&after={after}" if after else "")
        try:
            reply = await self._small("GET", f"batches{query}", may_miss=True)
        except Missing:
            raise Unusable(
                f"{self._name}: {self._settings.base_url} has no list of batches",
                hint=f"Correct model_endpoints.{self._name}.base_url, or leave out its batch.",
            ) from None
        if reply.lstrip()[:1] == b"[":  # Together
            return decode(_LIST, reply, self._name), ""
        found = decode(_PAGE, reply, self._name)
        more = found.data and (found.has_more or (found.has_more is None and len(found.data) >= limit))
        last = found.last_id if isinstance(found.last_id, str) and found.last_id else ""
        following = (last or found.data[-1].id) if more else ""
        return found.data, following if following != after else ""

    async def lines(self, file_id: str, take: Callable[[list[bytes]], Awaitable[None]]) -> None:
        """Give ``take`` the lines of a file as they arrive. Raises ``Missing`` if there is no such file."""
        seconds = max(ASK_SECONDS, self._settings.idle_timeout)
        async with self._open("GET", f"files/{file_id}/content", seconds=seconds, may_miss=True) as reply:
            begun: list[bytes] = []
            size = 0
            async for chunk in reply.response.content.iter_any():
                reply.silent.renew()
                first, *others = chunk.split(b"\n")
                begun.append(first)
                size += len(first)
                if size > max(_MOST, self._settings.max_response_mb << 20):
                    raise Transient("oversized", f"{self._name}: a line of results has no end", endpoint=self._name)
                if others:
                    whole = [b"".join(begun), *others[:-1]]
                    begun, size = [others[-1]], len(others[-1])
                    await take([line for line in whole if line.strip()])
                    reply.silent.renew()
            if (last := b"".join(begun)).strip():
                await take([last])

    async def cancel(self, batch_id: str) -> bool:
        """Cancel a batch; returns whether the provider will: not where it has ended, or cannot be cancelled."""
        try:
            await self._small("POST", f"batches/{batch_id}/cancel", may_miss=True)
        except Missing:
            return False
        except ModelError as error:
            if error.status is not None and error.status < 500 and error.status != 429:
                return False
            raise
        return True

    async def delete(self, file_id: str) -> None:
        """Delete a file, if it is still there."""
        try:
            await self._small("DELETE", f"files/{file_id}", may_miss=True)
        except Missing:
            return

    async def _small(
        self,
        method: str,
        path: str,
        *,
        data: Any = None,
        kind: str = "application/json",
        seconds: float = ASK_SECONDS,
        may_miss: bool = False,
    ) -> bytes:
        """The body of a small reply."""
        async with self._open(method, path, data=data, kind=kind, seconds=seconds, may_miss=may_miss) as reply:
            parts, size = [], 0
            async for chunk in reply.response.content.iter_any():
                reply.silent.renew()
                parts.append(chunk)
                size += len(chunk)
                if size > _MOST:
                    raise Transient(
                        "oversized", f"{self._name}: a reply of over {_MOST >> 20} MiB", endpoint=self._name
                    )
            return b"".join(parts)

    def _open(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        data: Any = None,
        kind: str = "application/json",
        may_miss: bool = False,
    ) -> "_Opened":
        return _Opened(self._transport.request(method, path, data=data, kind=kind, seconds=seconds), may_miss=may_miss)


class _Opened:
    """A reply while it is open; that something is not there is ``Missing`` where that may be."""

    def __init__(self, opening: Any, *, may_miss: bool) -> None:
        self._opening = opening
        self._may_miss = may_miss

    async def __aenter__(self) -> Reply:
        try:
            reply: Reply = await self._opening.__aenter__()
        except (ModelError, Unusable) as error:
            if self._may_miss and error.status in {404, 405, 410}:
                raise Missing from None
            raise
        return reply

    async def __aexit__(self, *exc: object) -> Any:
        return await self._opening.__aexit__(*exc)
