"""Collects the calls to one endpoint into batches, sends them, and knows what became of each call."""

import asyncio
import math
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from uuid import uuid4

from weak2wise.errors import RunStopped
from weak2wise.llm.batch.course import Course
from weak2wise.llm.batch.fetching import Fetched
from weak2wise.llm.batch.record import BatchState
from weak2wise.llm.batch.remote import RemoteBatch
from weak2wise.llm.batch.requests_file import Asker, RequestsFile, askers_in, file_of
from weak2wise.llm.batch.sender import RunParts, Sender
from weak2wise.llm.call import Call
from weak2wise.llm.cost import Reservation
from weak2wise.llm.errors import ModelError, RateLimited, Transient
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.model import Prompt
from weak2wise.llm.retry import MOST_RATE_LIMITED
from weak2wise.telemetry.log import log

MOST_FRUITLESS = 3
"""So many batches in a row without a single answer stop the run."""
LONGEST_PAUSE = 10
"""Polls. The longest wait after the provider has refused a batch as too much at once."""

Request = tuple[int, str]
"""A request by its row and its key in the journal."""


class Batcher:
    """The batches of one endpoint in one run."""

    def __init__(self, endpoint: OpenAIModel, parts: RunParts) -> None:
        self._sender = sender = Sender(endpoint, parts)
        self.parts, self.batch, self.api, self.name = parts, sender.batch, sender.api, sender.name
        self._budget = endpoint.parts.budget
        self._most = self.batch.max_requests
        self._collecting: RequestsFile | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._attempts: Counter[Request] = Counter()
        """How often a request has really failed."""
        self._limited: Counter[Request] = Counter()
        """How often one was refused as too much at once."""
        self._stragglers: set[Request] = set()
        """To be asked by ordinary calls, as their batch took too long."""
        self._fruitless = 0
        self._pause = 0.0
        self._closed_until = 0.0
        self._changed = asyncio.Event()
        self._out = 0
        self._room = math.inf
        """How many batches may be out at once, as far as the provider has let us know."""

    def is_out(self, call: Call) -> bool:
        """Whether a batch that is out, or is being collected, holds this call."""
        return self.parts.outstanding.has(call.row, call.key)

    def failure(self, call: Call) -> ModelError | None:
        """Why this call was not answered, if it is not to be sent again."""
        return self.parts.outstanding.failure(call.row, call.key)

    def is_ordinary(self, call: Call) -> bool:
        """Whether this call is not to be sent in a batch."""
        if self._sender.settings.batch is None or call.row <= self.batch.after:
            return True
        return (call.row, call.key) in self._stragglers

    async def add(self, call: Call, prompt: Prompt) -> None:
        """Put a call into the next batch. Raises ``DiskError``."""
        asker = Asker(call.role[0], call.row, call.key)
        body = self._sender.endpoint.batched_body(prompt)
        parts = (asker.custom_id.encode(), self.api.url.encode(), body)
        line = b'{"custom_id":"%b","method":"POST","url":"%b","body":%b}' % parts
        capped = self._budget.max_usd is not None
        usd = self._sender.endpoint.worst_case.usd(len(body)) * self.api.factor if capped else 0.0
        self.parts.outstanding.add(call.row, call.key)
        if (begun := self._collecting) and not (
            begun.size + len(line) < self.api.max_mb * 1_000_000 and begun.usd + usd <= self._budget.left
        ):
            self.flush()
        if self._collecting is None:
            self._collecting = RequestsFile(file_of(self.parts.work_dir, uuid4().hex))
            self._timer = asyncio.get_running_loop().call_later(self.batch.wait_seconds, self.flush)
        file = self._collecting
        await file.add(line, usd)
        if file is self._collecting and file.requests >= self._most:
            self.flush()

    def flush(self) -> None:
        """Send what has been collected so far."""
        if self._timer:
            self._timer.cancel()
        if file := self._collecting:
            self._collecting = self._timer = None
            self.parts.spawn(partial(self._send, file))

    async def _send(self, file: RequestsFile) -> None:
        await self._until_room()
        self._out += 1
        reservation = self._budget.reservation(self.name, file.usd, divisible=file.requests > 1)
        try:
            await reservation.wait()
            if not reservation.held:
                await self._give_back(file)
                return
            if self.parts.drain.started:
                await self.parts.drain.reopened()
            await file.finish()
            state = BatchState(
                key=file.path.stem,
                endpoint=self.name,
                stage="intent",
                requests=file.requests,
                size=file.size,
                usd=file.usd,
                account=self._sender.account,
                window=self.batch.window,
                at=time.time(),
            )
            await self.parts.record.note(state)
            await Course(self._sender, state, self._came_back, fresh=True).run(reservation.release)
        finally:
            file.close()
            self._left(reservation)

    async def _give_back(self, file: RequestsFile) -> None:
        """Too little money is left for all of these calls: let the rows ask again, for smaller batches."""
        await file.finish()
        for asker in await asyncio.to_thread(lambda: [*askers_in(file.path)]):
            self.parts.outstanding.discard(asker.row, asker.key)
        await asyncio.to_thread(file.path.unlink)

    async def take_up(self, state: BatchState) -> None:
        """Go on with a batch of an earlier start; what it may cost is reserved, also where the cap is lower now."""
        self._out += 1
        reservation = self._budget.reservation(self.name, state.usd)
        if state.is_open:
            reservation.insist()
        try:
            await Course(self._sender, state, self._came_back, fresh=False).run(reservation.release)
        finally:
            self._left(reservation)

    def _left(self, reservation: Reservation) -> None:
        reservation.release()
        self._out -= 1
        self._changed.set()

    async def _until_room(self) -> None:
        """Wait while the provider would refuse a batch as too much at once."""
        while self._out >= self._room or (left := self._closed_until - time.monotonic()) > 0:
            self._changed.clear()
            wait = None if self._out >= self._room else left
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _came_back(self, state: BatchState, fetched: Fetched, remote: RemoteBatch | None, *, late: bool) -> None:
        """A batch has ended: decide what becomes of the requests that it has not answered.

        Args:
            state: the batch.
            fetched: what came of it.
            remote: as the provider described it last; ``None`` if it is gone.
            late: it took longer than ``batch.finish_by``.

        Raises:
            RunStopped: no further batch would be answered.
        """
        again = fetched.left | {asker for asker, error in fetched.errors.items() if self._is_retried(asker, error)}
        if late and self.batch.finish_seconds is not None:
            self._stragglers |= {(asker.row, asker.key) for asker in again}
        if again:
            log.warning(
                "batch.incomplete",
                endpoint=self.name,
                batch=state.batch_id,
                status=remote.word if remote else "gone",
                requests=state.requests,
                answered=fetched.answered,
                again=len(again),
            )
        self._learn(state, fetched)
        if fetched.stop:
            raise fetched.stop
        if self._fruitless >= MOST_FRUITLESS:
            why = f": {fetched.said}" if fetched.said else ""
            raise RunStopped(
                f"{self.name}: {MOST_FRUITLESS} batches in a row came back without an answer; the last one is "
                f"{remote.word if remote else 'gone'}{why}",
                hint=f"Correct what the provider refuses, or leave out model_endpoints.{self.name}.batch.",
            )

    def _is_retried(self, asker: Asker, error: ModelError) -> bool:
        """Whether a request that failed goes into the next batch. If not, the row gets the error."""
        request = (asker.row, asker.key)
        if isinstance(error, RateLimited):
            self._limited[request] += 1
            if self._limited[request] < MOST_RATE_LIMITED:
                return True
        if isinstance(error, Transient):
            self._attempts[request] += 1
            error.attempts = self._attempts[request]
            if self._attempts[request] <= self._sender.settings.max_retries:
                return True
        self._attempts.pop(request, None)
        self._limited.pop(request, None)
        self.parts.outstanding.fail(asker.row, asker.key, error)
        return False

    def _learn(self, state: BatchState, fetched: Fetched) -> None:
        """What a batch that has come back says about the next ones."""
        if fetched.answered or fetched.known:
            self._fruitless, self._pause, self._closed_until = 0, 0.0, 0.0
            self._room += 1
        elif fetched.too_much or (fetched.errors and all(isinstance(e, RateLimited) for e in fetched.errors.values())):
            self._wait_for_room(state)
        elif not fetched.errors:
            self._fruitless += 1

    def _wait_for_room(self, state: BatchState) -> None:
        """Too much was asked for at once: fewer batches, or if no other is out, smaller ones, and not at once."""
        self._room = max(1, self._out - 1)
        if self._out == 1:
            self._most = max(1, state.requests // 2)
        poll = self.batch.poll_seconds
        self._pause = min(LONGEST_PAUSE * poll, max(poll, 2 * self._pause))
        self._closed_until = time.monotonic() + self._pause
        log.warning("batch.too_much", endpoint=self.name, requests=state.requests, next=self._most)

    def close(self) -> None:
        """Give up what is being collected: none of it was sent, and the rows will ask again."""
        if self._timer:
            self._timer.cancel()
        if self._collecting:
            self._collecting.close()
            self._collecting = None
