"""Step 3: how much of a trace can be masked until the weak LLM no longer reaches the answer (paper, section 3.3)."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from weak2wise.errors import RecordError
from weak2wise.llm.model import Completion, Message, Model, Prompt
from workers.answers import final_answer, normalised
from workers.fanout import fan_out, settled
from workers.judge import Given, Judge
from workers.prompts import Prompts
from workers.race import Race
from workers.records import Scored, Traced
from workers.scoring import Normalization, exact_weights, hint, score
from workers.seeds import seed_of

TEMPERATURE = 0.6
Scoring = Literal["race", "exhaustive"]
Ask = tuple[int, int]
"""A candidate's index and a mask level; where several have the same hint, the first of them."""


@dataclass(frozen=True, kw_only=True)
class StepMask:
    """Scores the candidates of a question at ``n`` mask levels, with ``votes`` attempts per level.

    ``exhaustive`` asks for every bit; ``race`` for as few as prove the same winner. A race asks one bit after another,
    or ``race_width`` at once; with ``None`` as many as keep ``capacity`` attempts in flight, all races together.
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
    capacity: int = 1
    bits: Counter[str] = field(default_factory=Counter)
    """Bits ``asked``, ``spared`` by racing, asked ``in_vain``; ``too_long`` hints, beyond the weak LLM's context."""
    _racing: set[int] = field(default_factory=set)

    async def __call__(self, traced: Traced) -> Scored:
        """Score all candidates of one question."""
        attempts = _Attempts(self, traced)
        scorer = self._race if self.scoring == "race" else self._exhaust
        scores = [score(s, beta=self.beta, normalization=self.normalization) for s in await scorer(attempts)]
        return Scored(question=traced.question, candidates=traced.candidates, scores=tuple(scores))

    async def _exhaust(self, attempts: "_Attempts") -> list[tuple[int | None, ...]]:
        asks = list(dict.fromkeys(ask for row in attempts.asks for ask in row))
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
            while (wanted := race.wanted(self._width())) and wanted[0] not in failed:
                for ask in wanted:
                    if ask not in asking and ask not in failed and (ask == wanted[0] or len(asking) < len(wanted)):
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
            for task in asking.values():
                task.cancel()
        if wanted:
            raise failed[wanted[0]]
        return asked

    def _width(self) -> int:
        return self.race_width or max(1, self.capacity // (self.votes * max(1, len(self._racing))))


class _Attempts:
    """The weak LLM's guided attempts at one question, and their verdicts."""

    def __init__(self, worker: StepMask, traced: Traced) -> None:
        self.traced = traced
        self._worker = worker
        self._verdicts: Given = {}
        first: dict[str, Ask] = {}
        self.asks = [
            [first.setdefault(hint(candidate.step_list, level, worker.n), (c, level)) for level in range(worker.n)]
            if candidate.step_list
            else []
            for c, candidate in enumerate(traced.candidates)
        ]

    async def bit(self, ask: Ask) -> int:
        """1 if the weak LLM reaches the answer with the trace masked at this level, else 0.

        A hint that leaves the weak LLM no room to answer guides it to nothing: 0.
        """
        worker, question = self._worker, self.traced.question
        candidate, level = self.traced.candidates[ask[0]], ask[1]
        prompt = worker.prompts.guided(question.text, hint(candidate.step_list, level, worker.n))
        draw = (worker.seed, question.row, candidate.m_strong, candidate.sample, level)
        try:
            attempts = await fan_out(self._attempt(prompt, vote, seed_of(*draw, vote)) for vote in range(worker.votes))
        except RecordError as error:
            if error.kind != "context_overflow":
                raise
            worker.bits["too_long"] += 1
            return 0
        chosen = attempts[majority([attempt.text.strip() for attempt in attempts])]
        verdict = await worker.judge(
            question.text,
            chosen.text.strip(),
            question.answer,
            seed=seed_of(worker.seed, question.row, "judge"),
            cut_off=chosen.cut_off,
            given=self._verdicts,
        )
        return int(verdict.correct)

    async def _attempt(self, prompt: str, vote: int, seed: int) -> Completion:
        asked = Prompt(messages=(Message("user", prompt),), temperature=TEMPERATURE, seed=seed, sample=vote)
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
