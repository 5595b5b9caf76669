"""One stage: a worker, the queue in front of it, and the ledger its outcomes go to."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from msgspec import UNSET, Struct

from weak2wise.errors import Kind, RecordError
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, Outcome, RowStatus
from weak2wise.llm.call import Call, calling
from weak2wise.llm.drain import Drain
from weak2wise.llm.error_rate import WINDOW, Recent
from weak2wise.telemetry.durations import Durations
from weak2wise.telemetry.log import log, log_facts
from weak2wise.telemetry.plain import plain
from weak2wise.worker import Drop, Partial, Record, Worker

Out = TypeVar("Out", bound=Record)


class QuestionsSeen(Struct, frozen=True):
    """Some questions at one step, to be counted somewhere else: how each ended, and the last failure's message."""

    step: str
    kinds: list[Kind | None]
    last: str


def step_shortfalls(step: str, recent: Recent, last: str, most: float) -> Iterator[str]:
    """What a step did not achieve by the end of a run, in sentences, by its latest questions."""
    if recent.exceeds(most):
        yield recent.said(f"questions at the step {step!r}", last)


class Stage(Generic[Out]):
    """A worker with its queue and ledger; ``counts`` has the records' outcomes since the run started.

    At most ``concurrency`` records are worked on at once, and ``queue_size`` wait. ``emits``: a record done here counts
    as emitted by the run. ``redact`` removes secrets from providers' messages before they are stored. The run stops
    when more than the share ``max_error_rate`` of the last records failed permanently, or are worthless: their answers
    were paid for and lost.
    """

    def __init__(
        self,
        name: str,
        worker: Worker[Any, Out],
        ledger: Ledger[Out],
        *,
        concurrency: int,
        queue_size: int,
        max_error_rate: float,
        drain: Drain | None = None,
        redact: Callable[[str], str] = str,
        emits: bool = False,
    ) -> None:
        self.name = name
        self.ledger = ledger
        self.concurrency = concurrency
        self.inbox: asyncio.Queue[Any] = asyncio.Queue(queue_size)
        """Records that wait to be worked on."""
        self.busy = 0
        self.took = Durations()
        """Seconds per record in the worker."""
        self.latest: deque[int] = deque(maxlen=24)
        """Rows done last, the newest at the end."""
        self.counts: Counter[str] = Counter()
        self._emits = emits
        self._worker = worker
        self._drain = drain or Drain()
        self._redact = redact
        self._max_error_rate = max_error_rate
        self._recent = Recent()
        self._last_error = ""

    async def process(self, record: Record, *, final: bool) -> Outcome[Out] | None:
        """Run the worker on one record and make the outcome durable.

        Returns:
            ``None`` if the record failed for a temporary reason and is put aside; never if this try is ``final``.

        Raises:
            Parked: the record waits for a batch; it stays pending.
            RunStopped: the whole run must stop; the record stays pending.
        """
        self.busy += 1
        began = time.monotonic()
        try:
            # Everything that is logged inside names the row that it concerns, also a call's retries.
            with log_facts(stage=self.name, row=record.row):
                call = Call(record.row, await self._failures(record.row), waits=final, drain=self._drain)
                with calling(call):
                    outcome, error = await self._outcome(record, call, final=final)
                if outcome is not None:
                    await self.ledger.append(outcome)
                self._log(outcome)
        finally:
            self.busy -= 1
        self.took.note(time.monotonic() - began)
        if isinstance(outcome, Done):
            self.latest.append(record.row)
        self.counts["aside" if outcome is None else type(outcome).__name__.lower()] += 1
        self._check_error_rate(error)
        return outcome

    def _log(self, outcome: Outcome[Out] | None) -> None:
        if isinstance(outcome, Dropped):
            log.info("record.dropped", reason=outcome.why)
        elif self._emits and isinstance(outcome, Done):
            log.info("record.emitted")

    def _check_error_rate(self, error: RecordError | None) -> None:
        """Count one more record. Raises ``RunStopped`` if too many failed."""
        if error is None:
            self._recent.note(None)
        elif not error.may_pass:
            self._recent.note(error.kind)
            self._last_error = str(error)
            if self._recent.failed > self._max_error_rate * WINDOW:
                raise self._recent.stop(f"questions at the step {self.name!r}", self._last_error)

    def shortfalls(self) -> Iterator[str]:
        """What the step did not achieve by the end of a run, in sentences."""
        return step_shortfalls(self.name, self._recent, self._last_error, self._max_error_rate)

    def take(self) -> QuestionsSeen:
        """The questions that were judged since this was last asked for."""
        return QuestionsSeen(self.name, self._recent.take(), self._last_error)

    async def _failures(self, row: int) -> int:
        """How often the row failed here before."""
        earlier = await self.ledger.fetch(row) if self.ledger.status(row) is RowStatus.FAILED else None
        return earlier.trials if isinstance(earlier, Failed) else 0

    async def _outcome(
        self, record: Record, call: Call, *, final: bool
    ) -> tuple[Outcome[Out] | None, RecordError | None]:
        began = time.monotonic()
        try:
            result = await self._worker(record)
        except RecordError as error:
            facts = _facts(error)
            if error.may_pass and not final:
                log.info("record.put_aside", **facts)
                return None, error
            log.warning("record.failed", **facts)
            failed = Failed(
                row=record.row,
                stage=self.name,
                kind=error.kind,
                message=plain(self._redact(str(error)))[:500],
                endpoint=error.endpoint,
                attempts=error.attempts,
                title=record.title[:500],
                trials=call.failures + 1,
                id=record.id,
            )
            return failed, error
        if isinstance(result, Drop):
            return Dropped(record.row, result.reason, detail=result.detail or UNSET), None
        lost: RecordError | None = None
        if isinstance(result, Partial):
            if result.because.may_pass and not final:
                log.info("record.put_aside", **_facts(result.because))
                return None, result.because
            if result.worthless:  # the end of the run says how many
                log.info("record.worthless", **_facts(result.because))
                lost = result.because
            else:
                log.warning("record.made_do", **_facts(result.because))
            result = result.record
        return Done(record.row, result, round(time.monotonic() - began, 3)), lost


def _facts(error: RecordError) -> dict[str, str]:
    return {"kind": error.kind, "message": str(error)[:200]}
