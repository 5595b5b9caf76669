"""Step 3: how much of a trace can be masked until the weak LLM no longer reaches the answer (paper, section 3.3)."""

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from weak2wise.errors import RecordError
from weak2wise.llm.model import Completion, Message, Model, Prompt
from weak2wise.telemetry.log import log_facts
from workers.answers import final_answer, normalised
from workers.fanout import fan_out, settled
from workers.judge import Given, Judge
from workers.prompts import Prompts
from workers.race import Race
from workers.records import Scored, Traced
from workers.scoring import Normalization, exact_weights, hint, score
from workers.seeds import seed_of

TEMPERATURE = 0.6
EAGERNESS = 4
"""How many times its fair share of the free places a race may take. It looks for some only when it has heard of a bit,
more seldom than places become free: with 1, a hundred questions kept 73 % of 256 places busy where a verdict took as
long as an attempt, with 4 it is 99 %; where verdicts take no time either keeps all of them busy."""
Scoring = Literal["race", "exhaustive"]
Ask = tuple[int, int]
"""A candidate's index and a mask level; where several have the same hint, the first of them."""


@dataclass(frozen=True, kw_only=True)
class StepMask:
    """Scores the candidates of a question at ``n`` mask levels, with ``votes`` attempts per level.

    ``exhaustive`` asks for every bit; ``race`` for as few as prove the same winner, one after another.

    ``free`` says how many attempts more the weak LLM could make at this moment. Each race then also asks ahead, for its
    share of what is free whenever it has heard of a bit: together they keep the engine full, and where there are enough
    of them no race asks ahead at all. ``None``: attempts are paid for, so none is made ahead, nor given up under way.
    ``race_width`` overrules both with a fixed number of bits at once. What was asked ahead is judged by the rule alone
    until the race needs it: it costs no call to the judge LLM.
    """

    weak: Model
    judge: Judge
    prompts: Prompts
    n: int
    votes: int
    beta: float
    normalization: Normalization
    scoring: Scoring
    seed: int
    race_width: int | None = None
    free: Callable[[], int] | None = None
    bits: Counter[str] = field(default_factory=Counter)
    """Bits ``asked``, ``spared`` by racing, asked ``in_vain``; ``too_long`` hints, beyond the weak LLM's context."""
    _racing: set[int] = field(default_factory=set)
    starting: set[tuple[int, Ask]] = field(default_factory=set)
    """Bits that are to be asked as soon as their task runs: their places are still among the free ones."""

    async def __call__(self, traced: Traced) -> Scored:
        """Score all candidates of one question."""
        attempts = _Attempts(self, traced)
        scorer = self._race if self.scoring == "race" else self._exhaust
        scores = [score(s, beta=self.beta, normalization=self.normalization) for s in await scorer(attempts)]
        return Scored(question=traced.question, candidates=traced.candidates, scores=tuple(scores))

    async def _exhaust(self, attempts: "_Attempts") -> list[tuple[int | None, ...]]:
        asks = list(dict.fromkeys(ask for row in attempts.asks for ask in row))
        for ask in asks:
            attempts.needed[ask].set()
        bits = dict(zip(asks, await fan_out(map(attempts.bit, asks)), strict=True))
        self.bits["asked"] += len(asks)
        return [tuple(bits[ask] for ask in row) for row in attempts.asks]

    async def _race(self, attempts: "_Attempts") -> list[tuple[int | None, ...]]:
        candidates = attempts.traced.candidates
        weights = exact_weights(self.n, beta=self.beta, normalization=self.normalization)
        race = Race(weights, [candidate.length for candidate in candidates], attempts.asks)
        self._racing.add(attempts.traced.row)
        try:
            asked = await self._run(race, attempts)
        finally:
            self._racing.discard(attempts.traced.row)
            self.starting.difference_update(
                [starting for starting in self.starting if starting[0] == attempts.traced.row]
            )
        self.bits["asked"] += asked
        self.bits["in_vain"] += asked - len(race.needed())
        self.bits["spared"] += len({ask for row in attempts.asks for ask in row}) - asked
        return [race.s_list(c) for c in range(len(candidates))]

    async def _run(self, race: "Race[Ask]", attempts: "_Attempts") -> int:
        """Ask until the race is over; returns how many bits were asked."""
        asking: dict[Ask, asyncio.Task[int | RecordError]] = {}
        failed: dict[Ask, RecordError] = {}
        asked = 0
        async with asyncio.TaskGroup() as group:
            while (wanted := race.wanted()) and wanted[0] not in failed:
                attempts.needed[wanted[0]].set()
                waits = int(wanted[0] not in asking)
                more = waits + self._ahead(len(asking) + waits, waits)
                ahead = race.wanted(len(asking) + len(failed) + more) if more else []
                for ask in [ask for ask in ahead if ask not in asking and ask not in failed][:more]:
                    self.starting.add((attempts.traced.row, ask))
                    asking[ask] = group.create_task(settled(attempts.bit(ask)))
                    asked += 1
                await asyncio.wait(asking.values(), return_when=asyncio.FIRST_COMPLETED)
                for ask, task in [(ask, task) for ask, task in asking.items() if task.done()]:
                    del asking[ask]
                    bit = task.result()
                    if isinstance(bit, RecordError):
                        failed[ask] = bit
                    else:
                        race.tell(ask, bit)
            attempts.over()
            for task in asking.values() if self.free else ():
                task.cancel()
        if wanted:
            raise failed[wanted[0]]
        return asked

    def _ahead(self, asking: int, starting: int) -> int:
        """How many bits a race may ask ahead that has ``asking`` in flight, of which ``starting`` are about to be."""
        if self.race_width:
            return max(0, self.race_width - asking)
        if self.free is None:
            return 0
        free = self.free() // self.votes - len(self.starting) - starting
        return min(free, math.ceil(EAGERNESS * free / len(self._racing))) if free > 0 else 0


class _Attempts:
    """The weak LLM's guided attempts at one question, and their verdicts."""

    def __init__(self, worker: StepMask, traced: Traced) -> None:
        self.traced = traced
        self._worker = worker
        self._verdicts: Given = {}
        self.needed: defaultdict[Ask, asyncio.Event] = defaultdict(asyncio.Event)
        """Which bits must be known, whatever their verdict costs; of the others the race may yet do without."""
        self._over = False
        first: dict[str, Ask] = {}
        self.asks = [
            [first.setdefault(hint(candidate.step_list, level, worker.n), (c, level)) for level in range(worker.n)]
            if candidate.step_list
            else []
            for c, candidate in enumerate(traced.candidates)
        ]

    async def bit(self, ask: Ask) -> int:
        """1 if the weak LLM reaches the answer with the trace masked at this level, else 0.

        A hint that leaves the weak LLM no room to answer guides it to nothing: 0. Where only the judge LLM can say, it
        is asked once the bit is needed.
        """
        worker, question = self._worker, self.traced.question
        candidate, level = self.traced.candidates[ask[0]], ask[1]
        prompt = worker.prompts.guided(question.text, hint(candidate.step_list, level, worker.n))
        draw = (worker.seed, question.row, candidate.m_strong, candidate.sample, level)
        call = {"m_strong": candidate.m_strong, "sample": candidate.sample, "mask_level": level}
        try:
            with log_facts(**call):
                attempts = await fan_out(
                    self._attempt(ask, prompt, vote, seed_of(*draw, vote)) for vote in range(worker.votes)
                )
        except RecordError as error:
            if error.kind != "context_overflow":
                raise
            worker.bits["too_long"] += 1
            return 0
        chosen = attempts[majority([attempt.text.strip() for attempt in attempts])]
        attempt, cut_off = chosen.text.strip(), chosen.cut_off
        needed = self.needed[ask]
        if not (self._over or needed.is_set()):
            free = await worker.judge.asks_nobody(attempt, question.answer, cut_off=cut_off, given=self._verdicts)
            if not free:
                await needed.wait()
        if self._over:
            return 0
        with log_facts(**call):
            verdict = await worker.judge(
                question.text,
                attempt,
                question.answer,
                seed=seed_of(worker.seed, question.row, "judge"),
                cut_off=cut_off,
                given=self._verdicts,
            )
        return int(verdict.correct)

    def over(self) -> None:
        """The race needs nothing more; what is still under way ends without a verdict."""
        self._over = True
        for needed in self.needed.values():
            needed.set()

    async def _attempt(self, ask: Ask, prompt: str, vote: int, seed: int) -> Completion:
        self._worker.starting.discard((self.traced.row, ask))  # from here on the model itself counts it
        asked = Prompt(messages=(Message("user", prompt),), temperature=TEMPERATURE, seed=seed, sample=vote)
        with log_facts(vote=vote):
            return await self._worker.weak.complete(asked)


def majority(attempts: Sequence[str]) -> int:
    """The index of the attempt that stands for all: the earliest of the largest group with one final answer.

    Attempts without a final answer form no group; where no attempt has one, the first stands.
    """
    if len(attempts) == 1:
        return 0
    answers = [None if (found := final_answer(a)) is None else normalised(found) for a in attempts]
    groups = Counter(a for a in answers if a is not None)
    if not groups:
        return 0
    most = max(groups.values())
    return next(at for at, answer in enumerate(answers) if answer is not None and groups[answer] == most)
