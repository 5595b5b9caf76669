"""The course of one batch, from its file of requests to the deletion of its files.

It may begin anywhere: a start goes on with each batch where the last one stopped.
"""

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from msgspec import structs

from weak2wise.config.batch import seconds_of
from weak2wise.errors import RecordError, RunStopped
from weak2wise.llm.batch.fetching import Fetched, Fetching
from weak2wise.llm.batch.record import BatchState
from weak2wise.llm.batch.remote import Missing, RemoteBatch, Trouble
from weak2wise.llm.batch.requests_file import Asker, askers_in, file_of
from weak2wise.llm.batch.sender import Sender
from weak2wise.llm.errors import RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.retry import persistently
from weak2wise.telemetry.log import log

SETTLE_SECONDS = 5.0
"""How long a batch may take to appear in the listing after it was made."""
LOOKS = 5
"""In that time, and before something that is not there counts as gone."""
FILES_SECONDS = 30.0
"""How long the ids of result files may take after the end of a batch."""
SHOWN_STEPS = 100
"""So many lines at most say how many requests of a batch are worked off."""
GRACE = 0.1
"""The part of its window by which a batch may be late before it is cancelled."""
TOO_MUCH = frozenset({"token_limit_exceeded"})
"""Codes of a batch that was accepted, then refused as too much at once."""
_ASK_PROVIDER = "Start again later, or ask the provider."


class CameBack(Protocol):
    """Decides what becomes of the requests that a batch has not answered. Raises what stops the run."""

    def __call__(self, state: BatchState, fetched: Fetched, remote: RemoteBatch | None, *, late: bool) -> None:
        """See ``Batcher``."""
        ...


class Course:
    """One batch on its way.

    Args:
        sender: the endpoint's.
        state: how far it is.
        came_back: called when it has ended.
        fresh: nothing of it has been sent yet.
    """

    def __init__(self, sender: Sender, state: BatchState, came_back: CameBack, *, fresh: bool) -> None:
        self.state = state
        self._sender = sender
        self._came_back = came_back
        self._provider = sender.provider
        self._parts = sender.parts
        self._poll = sender.batch.poll_seconds
        self._fresh = fresh
        self._cancelled_for: set[str] = set()
        self._cancelled_at = 0.0
        self._tried_at = 0.0
        self._file = file_of(self._parts.work_dir, state.key)

    async def run(self, fetched: Callable[[], None]) -> None:
        """Take it to its end. ``fetched`` is called when all that it cost is known.

        Raises:
            RunStopped: it cannot go on until the user changes something; it stays where it is.
        """
        try:
            await self._go_on(fetched)
        except RecordError as error:  # what is refused for good is no question's fault here
            hint = f"Correct model_endpoints.{self._sender.name}, or leave out its batch, then start again."
            raise Unusable(str(error), hint=hint) from None

    async def _go_on(self, fetched: Callable[[], None]) -> None:
        stop: RunStopped | None = None
        if self.state.stage == "fetched":
            self._parts.ending.add(self.state.key)
        if self.state.stage == "intent":
            await self._upload()
        if self.state.stage == "uploaded":
            await self._make()
        if self.state.stage == "out":
            remote = await self._ended()
            self._parts.ending.add(self.state.key)
            stop = await self._fetch(remote)
            fetched()
        if stop:
            raise stop  # the next start deletes its files
        if self.state.stage == "fetched":
            await self._clean_up()
            self._parts.ending.discard(self.state.key)

    async def _note(self, **changes: Any) -> None:
        self.state = structs.replace(self.state, at=time.time(), **changes)
        await self._parts.record.note(self.state)

    async def _upload(self) -> None:
        may_be_there = not self._fresh
        if may_be_there and (made := await self._look_for("")):
            await self._is_out(made)
            return

        async def upload() -> str:
            nonlocal may_be_there
            if may_be_there and (known := await self._provider.uploaded(self._file, self.state.size)):
                return known
            may_be_there = True
            return await self._provider.upload(self._file)

        await self._note(stage="uploaded", file_id=await persistently(upload, "upload of a batch"))

    async def _make(self) -> None:
        """Make the batch, unless an earlier try has: that may have failed in words only."""
        may_be_made, self._tried_at = not self._fresh, time.time()  # an earlier start may have made it just now
        while True:
            if may_be_made and (made := await self._look_until_settled()):
                break
            may_be_made = True
            await self._parts.drain.enter()
            self._tried_at = time.time()
            try:
                made = await self._provider.create(self.state.file_id, self.state.key, self.state.window)
                break
            except (Transient, RateLimited) as error:
                log.warning("batch.not_made", endpoint=self._sender.name, message=str(error)[:200])
                self._tried_at = time.time()
                await asyncio.sleep(min(error.retry_after or 0.0, self._poll))
            finally:
                self._parts.drain.leave()
        await self._is_out(made)

    async def _look_until_settled(self) -> RemoteBatch | None:
        """Look for a batch that may have been made, until it would be in the listing."""
        while True:
            waited = time.time() - self._tried_at
            if made := await self._look_for(self.state.file_id):
                return made
            if waited >= SETTLE_SECONDS:
                return None
            await asyncio.sleep(SETTLE_SECONDS / LOOKS)

    async def _look_for(self, file_id: str) -> RemoteBatch | None:
        """The batch that an earlier try has made. If there are several, one is kept and the others are cancelled."""
        found = await persistently(lambda: self._provider.find(file_id, self.state.key), "list of batches")
        if not found:
            return None
        kept = next((one for one in found if one.word not in {"failed", "cancelled", "canceled"}), found[0])
        for other in found:
            if other.id != kept.id and not other.is_final:
                log.warning("batch.twice", endpoint=self._sender.name, batch=kept.id, cancelled=other.id)
                await persistently(lambda other=other: self._provider.cancel(other.id), "cancel of a batch")  # type: ignore[misc]
        return kept

    async def _is_out(self, made: RemoteBatch) -> None:
        file_id = self.state.file_id or str(made.input_file_id or "")
        await self._note(stage="out", batch_id=made.id, file_id=file_id, sent=time.time(), status=made.word)
        self._sender.endpoint.meter.sent += self.state.requests
        log.info("batch.sent", endpoint=self._sender.name, batch=made.id, requests=self.state.requests)

    @property
    def _late(self) -> bool:
        limit = self._sender.batch.finish_seconds
        return limit is not None and time.time() - self.state.sent > limit

    async def _ended(self) -> RemoteBatch | None:
        """Wait for its end; ``None`` if the provider does not know it any more."""
        if self._fresh:
            await asyncio.sleep(self._poll)
        missed, ended_at = 0, math.inf
        while True:
            try:
                remote = await persistently(lambda: self._provider.look(self.state.batch_id), "look at a batch")
                missed = 0
            except Missing:
                missed += 1
                listed = await self._look_for(self.state.file_id) if missed >= LOOKS else None
                if listed is None and missed >= LOOKS:
                    self._check_account()
                    return None
                if listed is None:
                    await asyncio.sleep(self._poll)
                    continue
                remote = listed
            if self._tells_more(remote):
                await self._note(status=remote.word, done=remote.done, results=remote.results)
            if remote.is_final:
                ended_at = min(ended_at, time.time())
                if remote.is_all_there or remote.word == "failed" or time.time() - ended_at > FILES_SECONDS:
                    return remote
            elif await self._cancelled_late(remote):
                return remote
            else:
                self._check_time(remote)
            await asyncio.sleep(self._poll)

    def _tells_more(self, remote: RemoteBatch) -> bool:
        """Whether it is worth a line of the record."""
        more = abs(remote.done - self.state.done)
        known = self.state.status, self.state.results
        return (remote.word, remote.results) != known or more * SHOWN_STEPS >= max(1, self.state.requests)

    async def _cancelled_late(self, remote: RemoteBatch) -> bool:
        """Cancel a batch that takes too long; returns whether it has ended, in a status that nobody knows."""
        for reason, holds in (("finish_by", self._late), ("window", self._overdue)):
            if holds and reason not in self._cancelled_for:
                self._cancelled_for.add(reason)
                self._cancelled_at = time.time()
                accepted = await persistently(lambda: self._provider.cancel(self.state.batch_id), "cancel of a batch")
                log.warning(
                    "batch.late",
                    endpoint=self._sender.name,
                    batch=self.state.batch_id,
                    status=remote.word,
                    why=reason,
                    cancelled=accepted,
                )
                if not (accepted or remote.is_known):
                    return True
        return False

    def _check_time(self, remote: RemoteBatch) -> None:
        """Raise ``RunStopped`` if it has not ended as long after it was cancelled as it had time before.

        One that nobody looked at for so long, as no run went on, is first given some looks to be cancelled.
        """
        looked = time.time() - self._cancelled_at > LOOKS * self._poll
        if looked and time.time() - self.state.sent > 2 * self._longest:
            raise RunStopped(
                f"{self._sender.name}: the batch {self.state.batch_id} comes to no end; the provider says that it is "
                f"{remote.word}, long after the {self.state.window} that it was given, and though it was cancelled",
                hint=f"{_ASK_PROVIDER} To ask (and pay) again for what it has not answered, forget it with weak2wise "
                "batch cancel --give-up.",
            )

    @property
    def _longest(self) -> float:
        """Seconds after which it should have ended by itself long ago."""
        window = seconds_of(self.state.window, "window")
        return window + max(GRACE * window, LOOKS * self._poll)

    @property
    def _overdue(self) -> bool:
        return time.time() - self.state.sent > self._longest

    def _check_account(self) -> None:
        """Raise ``RunStopped`` if the batch was sent with another key or to another address."""
        if self.state.account == self._sender.account:
            return
        name = self._sender.name
        raise RunStopped(
            f"{name}: the provider does not know the batch {self.state.batch_id}, and it was sent with another key or "
            "to another address",
            hint=f"Put back base_url and the key of model_endpoints.{name}; or, to ask again for what it holds, forget "
            "it with weak2wise batch cancel --give-up.",
        )

    async def _fetch(self, remote: RemoteBatch | None) -> RunStopped | None:
        """Take what came of it into the journal; returns what stops the run."""
        asked = await asyncio.to_thread(lambda: [*askers_in(self._file)])
        if remote is None:
            log.warning(
                "batch.gone",
                endpoint=self._sender.name,
                batch=self.state.batch_id,
                requests=len(asked),
                effect="deleted or too old: all that is not in the journal is asked for again",
            )
        fetching = Fetching(self._sender, self.state, asked)
        files = remote.results if remote else ()
        found = await fetching.read(files)
        if found.left and remote and remote.word == "completed":
            found = await fetching.read(files)  # a reply that was cut short may look whole
        self._check_charged(remote, found)
        if remote and remote.troubles:
            self._note_troubles(remote.troubles, asked, found)
        stop: RunStopped | None = None
        try:
            self._came_back(self.state, found, remote, late=self._late)
        except RunStopped as error:
            stop = error
        await self._note(stage="fetched", answered=found.answered + found.known)
        for asker in asked:
            self._parts.outstanding.discard(asker.row, asker.key)
        log.info(
            "batch.fetched",
            endpoint=self._sender.name,
            batch=self.state.batch_id,
            requests=len(asked),
            answered=found.answered + found.known,
            failed=len(found.errors),
            odd=found.odd,
        )
        return stop

    def _check_charged(self, remote: RemoteBatch | None, found: Fetched) -> None:
        """Raise ``RunStopped`` where answers that may have been charged cannot be fetched; the batch stays out.

        Errors are charged by nobody, so a file of errors that is not there holds up nothing.
        """
        if remote is None:
            charged = self.state.done > 0 or bool(self.state.results)
        else:
            charged = remote.output_file_id in found.gone and not remote.says_nothing_done
        if found.left and charged:
            raise RunStopped(
                f"{self._sender.name}: the answers of the batch {self.state.batch_id} are not at the provider any more "
                f"(404), and {len(found.left):,} of its requests may have been charged",
                hint=f"{_ASK_PROVIDER} To ask (and pay) again for them, forget the batch with weak2wise batch cancel "
                "--give-up.",
            )

    def _note_troubles(self, troubles: list[Trouble], asked: list[Asker], found: Fetched) -> None:
        """Why the provider refused the whole batch: too much at once, single lines, or something for the user."""
        name = self._sender.name
        found.said = "; ".join(str(one.message or one.code) for one in troubles)[:400]
        if any(str(one.code).casefold() in TOO_MUCH for one in troubles):
            found.too_much = True
            return
        for trouble in troubles:
            error = error_for(None, msgspec.json.encode({"error": msgspec.to_builtins(trouble)}), name)
            if isinstance(error, Unusable):
                found.stop = found.stop or error
            elif isinstance(line := trouble.line, int) and 0 < line <= len(asked) and asked[line - 1] in found.left:
                asker = asked[line - 1]
                found.left.discard(asker)
                found.errors[asker] = Rejected("bad_request", f"{name}: {trouble.message}", endpoint=name)

    async def _clean_up(self) -> None:
        """Delete its files, at the provider and here: they hold the questions and the answers."""
        files = [one for one in (self.state.file_id, *self.state.results) if one]
        for file_id in files:
            try:
                await persistently(lambda file_id=file_id: self._provider.delete(file_id), "deletion of a file")  # type: ignore[misc]
            except (RecordError, Unusable) as error:
                log.warning("batch.not_deleted", endpoint=self._sender.name, file=file_id, message=str(error)[:200])
        with suppress(OSError):
            await asyncio.to_thread(self._file.unlink, missing_ok=True)
        await self._note(stage="ended")
