"""Observes a run of this process, and makes its board.

An ``Observer`` only reads: once a second it reads counters that the run keeps anyway. The run never waits for it.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from msgspec import Struct, structs

from weak2wise.ledger.account import Account
from weak2wise.ledger.outcomes import Ledger, RowStatus
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.journal import Journal
from weak2wise.llm.receipts import Spent
from weak2wise.pipeline import Stage
from weak2wise.watch.board import Board, EndpointFacts, EngineFacts, LastFault, StageFacts
from weak2wise.watch.remaining import Remaining, StepProgress
from weak2wise.watch.vitals import Vitals
from workers.scorers import Scorer

EVERY = 1.0
"""Seconds between two samples of the counters."""
RECENT = 60
"""Number of samples that rates are computed over."""
_ENDED = (RowStatus.DONE, RowStatus.DROPPED, RowStatus.FAILED)


class _Sample(Struct, frozen=True):
    """The counters at one moment, for rates."""

    at: float
    done: dict[str, int]
    answered: dict[str, int]
    tokens: dict[str, int]
    ended: int


class Observed(Protocol):
    """What page, terminal and metrics know of a run."""

    @property
    def scorer(self) -> type[Scorer]:
        """Describes scores."""

    @property
    def rules(self) -> int:
        """The version of the rules by which the run decides."""

    @property
    def vitals(self) -> Vitals:
        """Its money and its disk, and since when nothing has got on."""

    @property
    def intake(self) -> Ledger[Any] | None:
        """The ledger of input lines that cannot be read, if it is in this process."""

    @property
    def stages(self) -> Sequence[Stage[Any]]:
        """The stages in this process."""

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The endpoints of this process."""

    @property
    def spent(self) -> Mapping[tuple[str, str], Spent]:
        """What the run has used, by role and endpoint."""

    def board(self) -> Board:
        """The current facts."""

    def loop_lag(self) -> float:
        """How late the event loop is or last was, in seconds."""


@dataclass
class Observer:
    """Observes one run. Rates and charts are updated only while ``watch`` runs.

    ``scorer`` describes scores. ``rules``: the version of the rules by which the run decides.
    ``count`` counts the input's rows; it is called in a thread. ``only``: the rows that
    the run works on, if not all.
    """

    stages: Sequence[Stage[Any]]
    endpoints: Mapping[str, Endpoint]
    journal: Journal
    account: Account
    queue_size: int
    verdicts: Counter[str]
    bits: Counter[str]
    scorer: type[Scorer]
    rules: int
    vitals: Vitals
    count: Callable[[], int]
    only: Collection[int] | None = None
    _rows: int | None = None
    _lag: float = 0.0
    _ending: str | None = None
    _seconds: float = 0.0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._not_retried = 0 if self.only is None else max(0, self.account.tally(RowStatus.FAILED) - len(self.only))
        self._pending = self.account.pending(self.only)
        sample = self._sample()
        self._samples = deque([sample], maxlen=RECENT)
        self._remaining = Remaining(sample.at, self._steps())

    async def watch(self) -> None:
        """Sample the counters every second until cancelled."""
        counting = asyncio.create_task(self._count_rows())
        loop = asyncio.get_running_loop()
        due = loop.time() + EVERY
        try:
            while True:
                await asyncio.sleep(due - loop.time())
                self._lag = loop.time() - due
                due = max(due + EVERY, loop.time())
                self._samples.append(sample := self._sample())
                self._note(sample)
                self._remaining.note(sample.at, self._steps())
        finally:
            counting.cancel()

    def _note(self, sample: _Sample) -> None:
        counted = sample.ended + sum(sample.done.values()) + sum(sample.answered.values())
        embedded = ((name, model) for name, model in self.endpoints.items() if model.embedded)
        self.vitals.note(counted, ((name, model.load().in_flight, model.meter.answered) for name, model in embedded))

    async def _count_rows(self) -> None:
        with suppress(Exception):  # the pipeline reads the same file and reports its errors
            self._rows = await asyncio.to_thread(self.count)

    def end(self, ending: str, rows: int | None = None) -> None:
        """Record how the run ended, and the number of input ``rows`` if known. Later calls are ignored."""
        if self._ending is None:
            self._ending, self._rows = ending, self._rows if rows is None else rows
            self._seconds = time.monotonic() - self._began

    @property
    def spent(self) -> Mapping[tuple[str, str], Spent]:
        """What all runs of the work_dir have used, by role and endpoint."""
        return self.journal.spent

    @property
    def intake(self) -> Ledger[Any] | None:
        """The ledger of input lines that cannot be read."""
        return self.account.intake

    def loop_lag(self) -> float:
        """How late the event loop is or last was, in seconds. It grows if ``watch`` has ended unexpectedly."""
        return max(self._lag, time.monotonic() - self._samples[-1].at - EVERY)

    def board(self) -> Board:
        """The current facts."""
        now, then = self._sample(), self._samples[0]
        minutes = max(now.at - then.at, 1e-3) / 60
        stages = [self._stage(stage, now, then, minutes) for stage in self.stages]
        for at in range(self._over()):
            stages[at] = structs.replace(stages[at], per_minute=0.0, waiting=0)
        endpoints, engines = [], []
        for name, model in self.endpoints.items():
            per_minute = (now.answered[name] - then.answered[name]) / minutes
            tokens_per_minute = (now.tokens[name] - then.tokens[name]) / minutes
            if model.embedded:
                engines.append(self._engine(name, model, tokens_per_minute / 60))
            else:
                endpoints.append(self._endpoint(name, model, per_minute, tokens_per_minute))
        return Board(
            seconds=round(self._seconds if self._ending else now.at - self._began, 1),
            rows=self._rows,
            ended=now.ended,
            emitted=stages[-1].done,
            dropped=sum(stage.dropped for stage in stages),
            failed=now.ended - stages[-1].done - sum(stage.dropped for stage in stages),
            to_retry=self.account.tally(RowStatus.FAILED) - self._failed_for_now(),
            per_minute=round((now.ended - then.ended) / minutes, 1),
            seconds_left=None if self._ending else self._seconds_left(),
            bottleneck=None if self._ending else self._bottleneck(stages),
            cost_usd=sum(spent.cost_usd for spent in self.journal.spent.values()),
            loop_lag=round(self._lag, 4),
            stages=stages,
            endpoints=endpoints,
            engines=engines,
            verdicts=dict(self.verdicts),
            bits=dict(self.bits),
            ending=self._ending,
            last_fault=self._last_fault(now.at),
        )

    def _over(self) -> int:
        """How many steps, from the first on, have no row left; those of rows that are put aside are still to come."""
        if self._ending:
            return len(self.stages)
        left = self._rows is not None and self.only is None
        reached = (self._rows or 0) - self.account.unreadable
        over = 0
        for stage in self.stages:
            tally = stage.ledger.tally
            if not left or stage.busy or sum(tally[status] for status in _ENDED) < reached:
                break
            reached, over = tally[RowStatus.DONE], over + 1
        return over

    def _last_fault(self, now: float) -> LastFault | None:
        name, meter = max(
            ((name, endpoint.meter) for name, endpoint in self.endpoints.items()), key=lambda one: one[1].last_fault_at
        )
        return LastFault(name, meter.last_fault, round(now - meter.last_fault_at, 1)) if meter.last_fault else None

    def _stage(self, stage: Stage[Any], now: _Sample, then: _Sample, minutes: float) -> StageFacts:
        tally = stage.ledger.tally
        return StageFacts(
            name=stage.name,
            done=tally[RowStatus.DONE],
            dropped=tally[RowStatus.DROPPED],
            failed=tally[RowStatus.FAILED],
            busy=stage.busy,
            lanes=stage.concurrency,
            waiting=0 if self._ending else stage.inbox.qsize(),
            per_minute=round((now.done[stage.name] - then.done[stage.name]) / minutes, 1),
        )

    def _endpoint(self, name: str, model: Endpoint, per_minute: float, tokens_per_minute: float) -> EndpointFacts:
        spent = [spent for (_, endpoint), spent in self.journal.spent.items() if endpoint == name]
        load = model.load()
        return EndpointFacts(
            name=name,
            in_flight=load.in_flight,
            limit=load.limit,
            sent=model.meter.sent,
            answered=model.meter.answered,
            faults=dict(model.meter.faults),
            per_minute=round(per_minute, 1),
            tokens_per_minute=round(tokens_per_minute),
            tokens=sum(s.prompt_tokens + s.completion_tokens for s in spent),
            cost_usd=sum(s.cost_usd for s in spent),
            down=load.down,
            paced=load.paced,
            held=load.held,
            held_until=load.held_until,
        )

    def _engine(self, name: str, model: Endpoint, tokens_per_second: float) -> EngineFacts:
        spent = [spent for (_, endpoint), spent in self.journal.spent.items() if endpoint == name]
        prompts = sum(s.prompt_tokens for s in spent)
        load = model.load()
        return EngineFacts(
            name=name,
            running=load.in_flight,
            room=load.limit,
            waiting=load.waiting,
            answered=model.meter.answered,
            tokens_per_second=round(tokens_per_second, 1),
            tokens=sum(s.completion_tokens for s in spent),
            cached=sum(s.cached_tokens for s in spent) / prompts if prompts else 0.0,
        )

    def _bottleneck(self, stages: list[StageFacts]) -> str | None:
        """The last stage with a long queue: stages before it wait for room in that queue, stages after it for work."""
        crowded = [s.name for s in stages if s.busy == s.lanes and 2 * s.waiting >= self.queue_size]
        return crowded[-1] if crowded else None

    def _seconds_left(self) -> float | None:
        if self.only is not None:
            new = 0
        elif self._rows is None:
            return None
        else:
            new = self._rows - self.account.unreadable
        seconds = self._remaining.seconds(new)
        return None if seconds is None else round(seconds)

    def _steps(self) -> list[StepProgress]:
        """Each stage's counts in this start. ``share`` is that of all starts, without rows that will be retried."""
        steps = []
        for pending, stage in zip(self._pending, self.stages, strict=True):
            done, ended = stage.counts["done"], stage.counts["dropped"] + stage.counts["failed"]
            passed = stage.ledger.tally[RowStatus.DONE]
            known = passed + stage.ledger.tally[RowStatus.DROPPED] + stage.counts["failed"]
            steps.append(
                StepProgress(
                    pending=pending,
                    passed=done,
                    ended=ended,
                    share=passed / known if known else 1.0,
                    busy=stage.busy > 0,
                    seconds=stage.took.total / max(1, stage.counts.total()),
                )
            )
        return steps

    def _ended(self) -> int:
        """Rows that need no more work in this run. The number never decreases."""
        account = self.account
        dropped = account.tally(RowStatus.DROPPED)
        return account.emitted + dropped + self._failed_for_now() + account.unreadable

    def _failed_for_now(self) -> int:
        """Failed rows that this run will not try again: it has already, or they are not in ``only``."""
        return self._not_retried + sum(stage.counts["failed"] for stage in self.stages)

    def _sample(self) -> _Sample:
        tokens: Counter[str] = Counter()
        for (_, endpoint), spent in self.journal.spent.items():
            is_remote = endpoint in self.endpoints and not self.endpoints[endpoint].embedded
            tokens[endpoint] += spent.completion_tokens + (spent.prompt_tokens if is_remote else 0)
        return _Sample(
            at=time.monotonic(),
            done={stage.name: stage.ledger.tally[RowStatus.DONE] for stage in self.stages},
            answered={name: model.meter.answered for name, model in self.endpoints.items()},
            tokens={name: tokens[name] for name in self.endpoints},
            ended=self._ended(),
        )
