"""One stage: a worker, the ledger its outcomes go to, and how many records it works on at once."""

import time
from collections import Counter
from typing import Any, Generic, TypeVar

import structlog

from weak2wise.errors import RecordError
from weak2wise.ledger.journal import asking_for
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, Outcome
from weak2wise.worker import Drop, Record, Worker

log = structlog.get_logger()

Out = TypeVar("Out", bound=Record)


class Stage(Generic[Out]):
    """A worker with its ledger and lanes; ``counts`` says what became of records since the process started."""

    def __init__(self, name: str, worker: Worker[Any, Out], ledger: Ledger[Out], *, lanes: int) -> None:
        self.name = name
        self.ledger = ledger
        self.lanes = lanes
        self.busy = 0
        self.counts: Counter[str] = Counter()
        self._worker = worker

    async def process(self, record: Record) -> Outcome[Out]:
        """Run the worker on one record and make the outcome durable.

        Raises:
            StopRun: the whole run must stop; the record is owed again.
        """
        self.busy += 1
        try:
            outcome = await self._outcome(record)
            await self.ledger.append(outcome)
        finally:
            self.busy -= 1
        self.counts[type(outcome).__name__.lower()] += 1
        return outcome

    async def _outcome(self, record: Record) -> Outcome[Out]:
        began = time.monotonic()
        try:
            with asking_for(record.row):
                result = await self._worker(record)
        except RecordError as error:
            log.warning("record.failed", stage=self.name, row=record.row, kind=error.kind, message=str(error)[:200])
            return Failed(
                row=record.row,
                stage=self.name,
                kind=error.kind,
                message=str(error)[:500],
                endpoint=error.endpoint,
                attempts=error.attempts,
                title=record.title[:500],
            )
        if isinstance(result, Drop):
            return Dropped(record.row, result.reason)
        return Done(record.row, result, round(time.monotonic() - began, 3))
