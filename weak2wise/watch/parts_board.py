"""The board of a run in parts: what the holders say of the parts under way, and what is known of those that are over.

The rows of a part that has begun, and waits for a holder, are counted when it has one.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from weak2wise.ledger.account import Totals
from weak2wise.ledger.leases import PartState
from weak2wise.llm.endpoint import Endpoint
from weak2wise.llm.receipts import Spent
from weak2wise.pipeline import Stage
from weak2wise.watch.board import Board, EndpointFacts, EngineFacts, StageFacts
from weak2wise.watch.observer import EVERY, RECENT, Observer
from weak2wise.watch.vitals import Vitals
from workers.scorers import Scorer

Boards = Mapping[str, Sequence[Board]]
"""By holder, the boards of the parts that it works on."""
Use = tuple[str, str]
"""Role and endpoint."""


class PartsObserver:
    """Observes a run in parts, as ``Observer`` does one without.

    While the result of a part is on its way from its holder, its rows may be missing for a moment.

    Args:
        steps: the names of the steps of this start.
        rows: how many rows the run has.
        over: what is known of the parts that are over.
        spent: what their calls have cost.
        local: the observers of those in this process.
        scorer: describes scores.
        rules: the version of the rules by which the run decides.
        vitals: the run's.
    """

    def __init__(
        self,
        *,
        steps: Sequence[str],
        rows: int,
        over: Iterable[PartState],
        spent: Mapping[Use, Spent],
        local: Callable[[], Sequence[Observer]],
        scorer: type[Scorer],
        rules: int,
        vitals: Vitals,
    ) -> None:
        self.scorer = scorer
        self.rules = rules
        self.vitals = vitals
        self._steps = steps
        self._rows = rows
        self._totals: Counter[str] = Counter()
        self._tallies = [[0, 0, 0] for _ in steps]
        self._spent: dict[Use, Spent] = {}
        self._verdicts: Counter[str] = Counter()
        self._bits: Counter[str] = Counter()
        self.boards: Callable[[], Boards] = dict
        """Those of the parts under way; a driver sets it."""
        self._local = local
        self._began = time.monotonic()
        self._seconds: float | None = None
        self._ending: str | None = None
        self._lag = 0.0
        self._counted: dict[int, PartState] = {}
        for state in over:
            self._count(state)
        self._pay(spent)
        self._samples: deque[tuple[float, int]] = deque([(self._began, self._totals["ended"])], maxlen=RECENT)

    def note(
        self,
        state: PartState,
        spent: Mapping[Use, Spent],
        verdicts: Mapping[str, int],
        bits: Mapping[str, int],
    ) -> None:
        """Count a part that is over, for now or for good."""
        self._count(state)
        self._pay(spent)
        self._verdicts.update(verdicts)
        self._bits.update(bits)

    def again(self, part: int) -> None:
        """Count a part no more: it is leased once more, and ``boards`` will have it."""
        if state := self._counted.pop(part, None):
            assert state.totals is not None
            self._add(state.totals, state.tallies, -1)

    def _count(self, state: PartState) -> None:
        if state.totals is not None:
            self._counted[state.part] = state
            self._add(state.totals, state.tallies)

    def _add(self, totals: Totals, tallies: Sequence[tuple[int, int, int]], sign: int = 1) -> None:
        dropped, failed = sum(totals.dropped.values()), sum(totals.failed.values())
        self._totals["emitted"] += sign * totals.emitted
        self._totals["dropped"] += sign * dropped
        self._totals["failed"] += sign * failed
        self._totals["ended"] += sign * (totals.emitted + dropped + failed)
        for sums, counts in zip(self._tallies, tallies, strict=False):
            for at, count in enumerate(counts):
                sums[at] += sign * count

    def _pay(self, spent: Mapping[Use, Spent]) -> None:
        for use, cost in spent.items():
            self._spent.setdefault(use, Spent()).add_all(cost)

    async def watch(self) -> None:
        """Sample the counters every second until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time() + EVERY
        while True:
            await asyncio.sleep(due - loop.time())
            self._lag = loop.time() - due
            due = max(due + EVERY, loop.time())
            board = self.board()
            self._samples.append((time.monotonic(), board.ended))
            counted = board.ended + sum(stage.done for stage in board.stages)
            counted += sum(e.answered for e in board.endpoints) + sum(e.answered for e in board.engines)
            self.vitals.note(counted, ((engine.name, engine.running, engine.answered) for engine in board.engines))

    def end(self, ending: str) -> None:
        """Record how the run ended. Later calls are ignored."""
        if self._ending is None:
            self._ending, self._seconds = ending, time.monotonic() - self._began

    def loop_lag(self) -> float:
        """As ``Observer.loop_lag``."""
        return max(self._lag, time.monotonic() - self._samples[-1][0] - EVERY)

    def board(self) -> Board:
        """The current facts."""
        by_holder = {} if self._ending else self.boards()
        boards = [board for boards in by_holder.values() for board in boards]
        ended = self._totals["ended"] + sum(board.ended for board in boards)
        then, ended_then = self._samples[0]
        now = time.monotonic()
        per_minute = 60 * max(0, ended - ended_then) / max(now - then, 1e-3)
        left = 60 * (self._rows - ended) / per_minute if per_minute else None
        return Board(
            seconds=round(now - self._began if self._seconds is None else self._seconds, 1),
            rows=self._rows,
            ended=ended,
            emitted=self._totals["emitted"] + sum(board.emitted for board in boards),
            dropped=self._totals["dropped"] + sum(board.dropped for board in boards),
            failed=self._totals["failed"] + sum(board.failed for board in boards),
            to_retry=sum(board.to_retry for board in boards),
            per_minute=round(per_minute, 1),
            seconds_left=None if self._ending or left is None else round(left),
            bottleneck=None if self._ending else _most_common(board.bottleneck for board in boards),
            cost_usd=sum(spent.cost_usd for spent in self._spent.values()) + sum(board.cost_usd for board in boards),
            loop_lag=round(self._lag, 4),
            stages=[self._stage(at, [board.stages[at] for board in boards]) for at in range(len(self._steps))],
            endpoints=list(self._endpoints(by_holder)),
            engines=list(self._engines(by_holder)),
            verdicts=dict(sum((Counter(board.verdicts) for board in boards), self._verdicts)),
            bits=dict(sum((Counter(board.bits) for board in boards), self._bits)),
            ending=self._ending,
            last_fault=min((b.last_fault for b in boards if b.last_fault), key=lambda fault: fault.ago, default=None),
        )

    def _stage(self, at: int, under_way: Sequence[StageFacts]) -> StageFacts:
        done, dropped, failed = self._tallies[at]
        return StageFacts(
            name=self._steps[at],
            done=done + sum(stage.done for stage in under_way),
            dropped=dropped + sum(stage.dropped for stage in under_way),
            failed=failed + sum(stage.failed for stage in under_way),
            busy=sum(stage.busy for stage in under_way),
            lanes=sum(stage.lanes for stage in under_way),
            waiting=sum(stage.waiting for stage in under_way),
            per_minute=round(sum(stage.per_minute for stage in under_way), 1),
        )

    def _endpoints(self, by_holder: Boards) -> Iterable[EndpointFacts]:
        """Each endpoint: what holders do at once is added up; the parts of one holder share its endpoints."""
        for name, alike in _by_name(by_holder, "endpoints").items():
            of_holders = [parts[0] for parts in alike]
            every: list[EndpointFacts] = [facts for parts in alike for facts in parts]
            before = [spent for (_, endpoint), spent in self._spent.items() if endpoint == name]
            yield EndpointFacts(
                name=name,
                in_flight=sum(facts.in_flight for facts in of_holders),
                limit=sum(facts.limit for facts in of_holders),
                sent=sum(facts.sent for facts in of_holders),
                answered=sum(facts.answered for facts in of_holders),
                faults=dict(sum((Counter(facts.faults) for facts in of_holders), Counter())),
                per_minute=round(sum(facts.per_minute for facts in of_holders), 1),
                tokens_per_minute=sum(facts.tokens_per_minute for facts in every),
                tokens=sum(facts.tokens for facts in every)
                + sum(s.prompt_tokens + s.completion_tokens for s in before),
                cost_usd=sum(facts.cost_usd for facts in every) + sum(spent.cost_usd for spent in before),
                down=min((facts.down for facts in of_holders if facts.down is not None), default=None),
                paced=sum(facts.paced for facts in of_holders if facts.paced is not None) or None,
                held=sum(facts.held for facts in of_holders),
                held_until=max((facts.held_until for facts in of_holders if facts.held_until), default=None),
            )

    def _engines(self, by_holder: Boards) -> Iterable[EngineFacts]:
        """The embedded engine of each holder, by the holder's name where there are several."""
        for name, alike in _by_name(by_holder, "engines").items():
            for number, parts in enumerate(alike, 1):
                first = parts[0]
                yield EngineFacts(
                    name=name if len(alike) == 1 else f"{name} {number}",
                    running=first.running,
                    room=first.room,
                    waiting=first.waiting,
                    answered=first.answered,
                    tokens_per_second=round(sum(facts.tokens_per_second for facts in parts), 1),
                    tokens=sum(facts.tokens for facts in parts),
                    cached=max(facts.cached for facts in parts),
                )

    @property
    def intake(self) -> None:
        """Each part has one of its own."""

    @property
    def stages(self) -> Sequence[Stage[Any]]:
        """The stages of the newest part in this process."""
        return local[-1].stages if (local := self._local()) else ()

    @property
    def endpoints(self) -> Mapping[str, Endpoint]:
        """The endpoints of this process."""
        return local[-1].endpoints if (local := self._local()) else {}

    @property
    def spent(self) -> Mapping[Use, Spent]:
        """What the calls of this process and of the parts that are over have cost, by role and endpoint."""
        sums = {use: Spent() for use in self._spent}
        for spent in (self._spent, *(observer.spent for observer in self._local())):
            for use, cost in spent.items():
                sums.setdefault(use, Spent()).add_all(cost)
        return sums


def _by_name(by_holder: Boards, kind: str) -> dict[str, list[list[Any]]]:
    """For each name, the facts that each holder's parts have of it."""
    found: dict[str, list[list[Any]]] = {}
    for boards in by_holder.values():
        of_holder: dict[str, list[Any]] = {}
        for board in boards:
            for facts in getattr(board, kind):
                of_holder.setdefault(facts.name, []).append(facts)
        for name, parts in of_holder.items():
            found.setdefault(name, []).append(parts)
    return found


def _most_common(names: Iterable[str | None]) -> str | None:
    found = Counter(name for name in names if name)
    return found.most_common(1)[0][0] if found else None
