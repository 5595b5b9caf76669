"""The batches of one run: taken up when it starts, followed while it goes on, and left running when it stops."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from weak2wise.errors import RunStopped
from weak2wise.ledger.files import fix_hint
from weak2wise.ledger.shards import DiskError
from weak2wise.llm.batch.batcher import Batcher
from weak2wise.llm.batch.outstanding import Outstanding
from weak2wise.llm.batch.record import BatchRecord, BatchState
from weak2wise.llm.batch.requests_file import FOLDER, askers_in, file_of
from weak2wise.llm.batch.sender import RunParts
from weak2wise.llm.drain import PAID_ANSWERS_SECONDS, Drain
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.journal import Journal
from weak2wise.telemetry.log import log

Work = Callable[[], Coroutine[Any, Any, None]]
CLEAN_UP_SECONDS = 60.0
"""How long a finished run waits for the deletion of the last files."""


class Batches:
    """All batches of a work_dir. ``take_up`` what earlier starts left, then ``run`` beside the pipeline.

    Args:
        work_dir: the run's.
        record: of its batches, open.
        journal: the run's.
        drain: the run's.
    """

    def __init__(self, work_dir: Path, record: BatchRecord, journal: Journal, drain: Drain) -> None:
        self.outstanding = Outstanding()
        self.outstanding.flush = self.flush
        self._record = record
        self._journal = journal
        self._drain = drain
        self._work_dir = work_dir
        self._parts = RunParts(work_dir, record, self.outstanding, journal, drain, self._spawn)
        self._batchers: dict[str, Batcher] = {}
        self._waiting: list[Work] = []
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def batcher(self, endpoint: OpenAIModel) -> Batcher | None:
        """The batcher of an endpoint; ``None`` if its calls are not batched and no batch of it is left."""
        if not (endpoint.settings.batched or self._left(endpoint.name)):
            return None
        if endpoint.name not in self._batchers:
            self._batchers[endpoint.name] = Batcher(endpoint, self._parts)
        return self._batchers[endpoint.name]

    def _left(self, endpoint: str) -> list[BatchState]:
        return [one for one in self._record.latest.values() if one.endpoint == endpoint and one.stage != "ended"]

    def take_up(self) -> None:
        """Note which requests are out, and go on with each batch as soon as the run goes on. Blocks.

        Raises:
            ConfigError: the requests of a batch that is out are lost.
        """
        for name, batcher in self._batchers.items():
            for state in self._left(name):
                if state.is_open:
                    for asker in askers_in(file_of(self._work_dir, state.key)):
                        if not self._journal.knows(asker.row, asker.key):
                            self.outstanding.add(asker.row, asker.key)
                self._spawn(partial(batcher.take_up, state))
        self._remove_unsent()

    def _remove_unsent(self) -> None:
        """Remove the files of batches that were not to be sent yet: their rows will ask again."""
        folder = self._work_dir / FOLDER
        known = {f"{state.key}.jsonl" for state in self._record.latest.values() if state.stage != "ended"}
        try:
            for path in folder.iterdir() if folder.is_dir() else ():
                if path.name not in known:
                    path.unlink()
        except OSError as error:
            raise DiskError(f"{folder}: {error.strerror}", hint=f"{fix_hint(error)}.") from None

    def _spawn(self, work: Work) -> None:
        """Run it while the run goes on: it waits for the beginning, and after the end nothing comes of it."""
        if self._group is None:
            self._waiting.append(work)
            return
        task = self._group.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guarded(self, work: Work) -> None:
        try:
            await work()
        except RunStopped as stop:
            if not self._drain.started and self._drain.under_way:
                log.warning("run.stopping", why=str(stop)[:300], waiting_for=self._drain.under_way, at_once="Ctrl-C")
            lost = isinstance(stop, DiskError)  # no answer can be stored any more
            await self._drain.drain(0 if lost else PAID_ANSWERS_SECONDS)
            raise

    async def run(self) -> None:
        """Follow the batches until this is cancelled. Raises an exception group with the ``RunStopped``."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            waiting, self._waiting = self._waiting, []
            for work in waiting:
                self._spawn(work)
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None

    def flush(self) -> None:
        """Send what is being collected."""
        for batcher in self._batchers.values():
            batcher.flush()

    async def settle(self) -> None:
        """Wait until the files of batches that have come back are deleted."""
        deadline = time.monotonic() + CLEAN_UP_SECONDS
        while self._parts.ending and self._tasks and (left := deadline - time.monotonic()) > 0:
            await asyncio.wait(self._tasks, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def close(self) -> None:
        """Give up what was being collected, and say which batches are left running."""
        for batcher in self._batchers.values():
            batcher.close()
        if left := [state for state in self._record.states() if state.stage != "intent"]:
            log.warning("batch.left", **said_of(left))


def said_of(states: Iterable[BatchState]) -> dict[str, object]:
    """What a log says of batches that are left running."""
    found = list(states)
    return {
        "batches": len(found),
        "requests": sum(one.requests for one in found),
        "at": ", ".join(sorted({one.endpoint for one in found})),
        "effect": "they go on at the provider; the next start takes them up (weak2wise batch list)",
    }
