"""One stage: a worker, the ledger its outcomes go to, and how many records it works on at once."""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from weak2wise.errors import RecordError
from weak2wise.ledger.outcomes import Done, Dropped, Failed, Ledger, Outcome, RowStatus
from weak2wise.llm.error_rate import WINDOW, Recent
from weak2wise.llm.journal import asking_for
from weak2wise.telemetry.durations import Durations
from weak2wise.telemetry.plain import plain
from weak2wise.worker import Drop, Record, Worker, patient, trials

log = structlog.get_logger()

Out = TypeVar("Out", bound=Record)


class Stage(Generic[Out]):
    """A worker with its ledger and lanes; ``counts`` says what became of records since the process started.

    ``redact`` cuts secrets out of what providers say, before it is kept. The run stops when a larger share than
    ``max_error_rate`` of the last records failed for what will not pass: their answers were paid for and thrown away.
    """

    def __init__(
        self,
        name: str,
        worker: Worker[Any, Out],
        ledger: Ledger[Out],
        *,
        lanes: int,
        redact: Callable[[str], str] = str,
        max_error_rate: float = 1.0,
    ) -> None:
        self.name = name
        self.ledger = ledger
        self.lanes = lanes
        self.busy = 0
        self.waiting: Callable[[], int] = int
        """How many records queue up for a lane; told by the run."""
        self.took = Durations()
        """Seconds per record in the worker."""
        self.latest: deque[int] = deque(maxlen=24)
        """Rows done last, the newest at the end."""
        self.counts: Counter[str] = Counter()
        self.emits = False
        """Whether what is done here is what the run emits."""
        self._worker = worker
        self._redact = redact
        self._max_error_rate = max_error_rate
        self._recent = Recent()

    async def process(self, record: Record, *, final: bool) -> Outcome[Out] | None:
        """Run the worker on one record and make the outcome durable.

        Returns:
            ``None`` where the record failed for what may pass and is put aside, unless this try is ``final``.

        Raises:
            StopRun: the whole run must stop; the record is owed again.
        """
        self.busy += 1
        began = time.monotonic()
        try:
            # Whatever is logged on the way says whose it is, a call's retries too.
            with bound_contextvars(stage=self.name, row=record.row):
                trials.set(await self._trials(record.row))
                patient.set(final)
                outcome, error = await self._outcome(record, final=final)
                if outcome is not None:
                    await self.ledger.append(outcome)
                self._tell(outcome)
        finally:
            self.busy -= 1
        self.took.note(time.monotonic() - began)
        if isinstance(outcome, Done):
            self.latest.append(record.row)
        self.counts["aside" if outcome is None else type(outcome).__name__.lower()] += 1
        self._guard(error)
        return outcome

    def _tell(self, outcome: Outcome[Out] | None) -> None:
        if isinstance(outcome, Dropped):
            log.info("record.dropped", reason=outcome.reason)
        elif self.emits and isinstance(outcome, Done):
            log.info("record.emitted")

    def _guard(self, error: RecordError | None) -> None:
        """Count one more record. Raises ``StopRun`` where too many failed."""
        if error is None:
            self._recent.note(None)
        elif not error.may_pass:
            self._recent.note(error.kind)
            if self._recent.failed > self._max_error_rate * WINDOW:
                raise self._recent.stop(f"questions at the step {self.name!r}", str(error))

    async def _trials(self, row: int) -> int:
        """How often the row failed here before."""
        earlier = await self.ledger.fetch(row) if self.ledger.status(row) is RowStatus.FAILED else None
        return earlier.trials if isinstance(earlier, Failed) else 0

    async def _outcome(self, record: Record, *, final: bool) -> tuple[Outcome[Out] | None, RecordError | None]:
        began = time.monotonic()
        try:
            with asking_for(record.row):
                result = await self._worker(record)
        except RecordError as error:
            facts = {"stage": self.name, "row": record.row, "kind": error.kind, "message": str(error)[:200]}
            if error.may_pass and not final:
                log.info("record.put_aside", **facts)
                return None, error
            if error.instead is not None:
                log.warning("record.made_do", **facts)
                return Done(record.row, error.instead, round(time.monotonic() - began, 3)), None
            log.warning("record.failed", **facts)
            failed = Failed(
                row=record.row,
                stage=self.name,
                kind=error.kind,
                message=plain(self._redact(str(error)))[:500],
                endpoint=error.endpoint,
                attempts=error.attempts,
                title=record.title[:500],
                trials=trials.get() + 1,
                id=record.id,
            )
            return failed, error
        if isinstance(result, Drop):
            return Dropped(record.row, result.reason), None
        return Done(record.row, result, round(time.monotonic() - began, 3)), None
