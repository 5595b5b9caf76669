"""Step-Mask: how much of a trace can be masked until the weak LLM no longer reaches the answer (paper, section 3.3).

``params.scoring: exhaustive`` asks for every mask level of every candidate; ``race`` for as few as prove the same
winner. For each mask level: the race picks it, the weak LLM is asked with the masked trace as a hint, the
attempt that represents all votes is judged, and the race learns the bit.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, Literal

from weak2wise.config import Params
from weak2wise.errors import RecordError
from weak2wise.llm.model import Completion, Message, Prompt
from weak2wise.telemetry.log import log_facts
from workers.context import Context
from workers.fanout import fan_out, settled
from workers.judge import Given
from workers.records import Candidate, Score, Traced
from workers.scorers.masking import exact_shares, exact_weights, hint, least_worth, score
from workers.scorers.race import Race
from workers.scorers.scorer import Scorer
from workers.scorers.votes import fewest, representative
from workers.seeds import seed_of

TEMPERATURE = 0.6
EAGERNESS = 4
"""How many times its fair share of the free places a race may take. It looks for free places only when a bit has
arrived, less often than places become free. Measured with a hundred questions and 256 places: where a verdict took as
long as an attempt, 1 kept 73 % of them busy and 4 kept 99 %; where verdicts take no time, both keep all busy."""
Scoring = Literal["race", "exhaustive"]
Mask = tuple[int, int]
"""A candidate's index and a mask level; where several have the same hint, the first of them. Its result is a bit: 1 if
the weak LLM reaches the answer, else 0."""
Bits = tuple[int | None, ...]
"""A candidate's bits by mask level; ``None`` for one that the race did not need."""


class StepMask(Scorer):
    """Scores the candidates of a question at ``n_mask`` mask levels, with ``majority`` attempts per level.

    Several questions are scored at once, each in a race of its own; they share only the weak LLM's free places.
    """

    label = "scored by masking"
    ranking = "the highest score: it still guides the weak LLM when most of it is masked; then the shortest reasoning"
    needs_steps = True

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        params = context.params
        self._levels = self.levels(params)
        self._weights = self._weights_of(self._levels)
        self.places = Places(context.free, votes=fewest({}, 0, params.majority), width=context.race_width)

    async def __call__(self, traced: Traced) -> list[Score]:
        """Score all candidates of one question.

        Raises:
            RecordError: no attempt was answered, as every hint left the weak LLM no room.
        """
        attempts = _Attempts(self.context, self.places, traced, self._levels)
        raced = self.context.params.scoring == "race"
        bits = await (self._race(attempts) if raced else self._exhaust(attempts))
        if attempts.rejected and not attempts.answered:
            raise attempts.rejected
        return [self._score(row) for row in bits]

    @classmethod
    def levels(cls, params: Params) -> int:
        """How many mask levels are scored."""
        return params.n_mask

    @classmethod
    def attempts(cls, params: Params) -> int:
        """Each vote at each mask level."""
        return cls.levels(params) * params.majority

    def _score(self, bits: Bits) -> Score:
        params = self.context.params
        return score(bits, beta=params.beta, normalization=params.ew_normalization)

    def rank(self, candidate: Candidate, score: Score) -> tuple[float, ...]:
        """The highest score, compared exactly; then the shortest reasoning.

        A candidate with a bit that the race did not ask for has lost, also where ``params.beta`` or ``params.n_mask``
        has changed since (``--resume force``): the bits are weighed by the number of levels that were scored.
        """
        return score.is_bound, -self.worth(score), *self.length(candidate)

    def reaches(self, score: Score) -> bool:
        """Compared exactly."""
        return self.worth(score) >= self._least(len(score.s_list))

    @classmethod
    def highest(cls, params: Params) -> Fraction | float:
        """That of a trace that survives every mask."""
        return sum(exact_shares(params.n_mask, beta=params.beta, normalization=params.ew_normalization))

    def worth(self, score: Score) -> float:
        """The score as an integer, in the unit of the weights; an unknown bit counts as 1.

        Another scorer's, from before ``--resume force``, is taken as it is: a question's scores are all by one.
        """
        if not score.is_masked:
            return score.score
        levels = len(score.s_list)
        weights = self._weights if levels == len(self._weights) else self._weights_of(levels)
        return sum(weight for weight, bit in zip(weights, score.s_list, strict=True) if bit != 0)

    def _least(self, levels: int) -> int:
        """What a winner must be worth."""
        params = self.context.params
        if params.min_score is None:
            return 0
        if not levels:
            return int(params.min_score > 0)
        return least_worth(params.min_score, levels, beta=params.beta, normalization=params.ew_normalization)

    def _weights_of(self, levels: int) -> tuple[int, ...]:
        params = self.context.params
        return exact_weights(levels, beta=params.beta, normalization=params.ew_normalization) if levels else ()

    @staticmethod
    def explain(score: Score) -> str:
        """A sign for each mask level: reached the answer, did not, not asked."""
        return "".join({1: "✓", 0: "✗", None: "·"}[bit] for bit in score.s_list) or "no steps"

    async def _exhaust(self, attempts: "_Attempts") -> list[Bits]:
        masks = attempts.distinct
        for mask in masks:
            attempts.need(mask)
        bits = dict(zip(masks, await fan_out(map(attempts.bit, masks)), strict=True))
        self.context.bits["asked"] += len(masks)
        return [tuple(bits[mask] for mask in row) for row in attempts.masks]

    async def _race(self, attempts: "_Attempts") -> list[Bits]:
        lengths = [self.length(candidate) for candidate in attempts.candidates]
        keep = self.context.params.keep
        race = Race(
            self._weights,
            lengths,
            attempts.masks,
            self._least(self._levels),
            keep=1 if keep == "pairs" else keep,
            texts=None if keep in (1, "pairs") else [c.normal.strip() for c in attempts.candidates],
            worst=keep == "pairs",
        )
        with self.places.race(attempts.row):
            asked = await self._run(race, attempts)
        counts = self.context.bits
        counts["asked"] += asked
        counts["in_vain"] += asked - len(race.needed())
        counts["spared"] += len(attempts.distinct) - asked
        return [race.s_list(c) for c in range(len(lengths))]

    async def _run(self, race: Race[Mask], attempts: "_Attempts") -> int:
        """Ask until the race is over; returns how many bits were asked."""
        asking: dict[Mask, asyncio.Task[int | RecordError | None]] = {}
        failed: dict[Mask, RecordError] = {}
        asked = 0
        async with asyncio.TaskGroup() as group:
            while (wanted := race.wanted()) and wanted[0] not in failed:
                attempts.need(wanted[0])
                now = int(wanted[0] not in asking)
                more = now + self.places.ahead(len(asking) + now, now)
                ahead = race.wanted(len(asking) + len(failed) + more) if more else []
                for mask in [mask for mask in ahead if mask not in asking and mask not in failed][:more]:
                    self.places.take(attempts.row, mask)
                    asking[mask] = group.create_task(settled(attempts.bit(mask)))
                    asked += 1
                await asyncio.wait(asking.values(), return_when=asyncio.FIRST_COMPLETED)
                for mask, task in [(mask, task) for mask, task in asking.items() if task.done()]:
                    del asking[mask]
                    bit = task.result()
                    if isinstance(bit, RecordError):
                        failed[mask] = bit
                    elif bit is not None:
                        race.learn(mask, bit)
                if asking:
                    self._give_up(asking, asking.keys() - race.may_need(), attempts)
            self._give_up(asking, set(asking), attempts)
        if wanted:
            raise failed[wanted[0]]
        return asked

    def _give_up(self, asking: "dict[Mask, asyncio.Task[Any]]", masks: set[Mask], attempts: "_Attempts") -> None:
        """Drop bits that the race cannot need any more."""
        for mask in masks:
            attempts.drop(mask)
            if self.context.free is not None:  # else what is under way is paid for
                asking.pop(mask).cancel()


class Places:
    """The weak LLM's free places, shared out between the races under way.

    A race waits for one bit at a time. ``free`` says how many attempts more the weak LLM could make at this moment;
    whenever a race has learned a bit, it also asks ahead for its share of those: together they keep the engine full,
    and if there are enough races, none asks ahead at all. ``None``: attempts are paid for, so none is made
    ahead. ``width`` replaces both by a fixed number of bits at once. What is asked ahead is judged by the rule alone
    until the race needs it: it costs no call to the judge LLM.
    """

    def __init__(self, free: Callable[[], int] | None, *, votes: int, width: int | None) -> None:
        self._free = free
        self._votes = votes
        self._width = width
        self._racing: set[int] = set()
        self.starting: set[tuple[int, Mask]] = set()
        """Bits that are to be asked as soon as their task runs: ``free`` still counts their places."""

    @contextmanager
    def race(self, row: int) -> Iterator[None]:
        """A question's race takes part in sharing while the context is open."""
        self._racing.add(row)
        try:
            yield
        finally:
            self._racing.discard(row)
            self.starting.difference_update([taken for taken in self.starting if taken[0] == row])

    def ahead(self, asking: int, now: int) -> int:
        """How many bits a race may ask ahead; it has ``asking`` in flight, ``now`` of which it is about to ask."""
        if self._width:
            return max(0, self._width - asking)
        if self._free is None:
            return 0
        free = self._free() // self._votes - len(self.starting) - now
        return min(free, math.ceil(EAGERNESS * free / len(self._racing))) if free > 0 else 0

    def take(self, row: int, mask: Mask) -> None:
        """Reserve a place for a bit whose attempt has not started yet."""
        self.starting.add((row, mask))

    def started(self, row: int, mask: Mask) -> None:
        """The bit's attempt has started: from now on the model itself counts its place."""
        self.starting.discard((row, mask))


class _Attempts:
    """The weak LLM's guided attempts at one question, and the bits that they result in."""

    def __init__(self, context: Context, places: Places, traced: Traced, levels: int) -> None:
        self.row = traced.row
        self.candidates = traced.candidates
        self._context = context
        self._places = places
        self._question = traced.question
        self._levels = levels
        self._verdicts: Given = {}
        self._needed: defaultdict[Mask, asyncio.Event] = defaultdict(asyncio.Event)
        self._dropped: set[Mask] = set()
        self.answered = False
        """Whether the weak LLM answered any attempt."""
        self.rejected: RecordError | None = None
        """The last error of a hint that was too long."""
        first: dict[str, Mask] = {}
        self.masks = [
            [first.setdefault(self._hint((c, level)), (c, level)) for level in range(levels)]
            if candidate.step_list
            else []
            for c, candidate in enumerate(traced.candidates)
        ]
        """By candidate and mask level; empty for a candidate without steps."""
        self.distinct = list(first.values())

    def need(self, mask: Mask) -> None:
        """The race needs this bit, even if its verdict takes a call to the judge LLM; it may not need the others."""
        self._needed[mask].set()

    def drop(self, mask: Mask) -> None:
        """The race cannot need this bit any more: it makes no further attempt, and ends without a verdict."""
        self._dropped.add(mask)
        self._places.started(self.row, mask)
        self._needed[mask].set()

    async def bit(self, mask: Mask) -> int | None:
        """1 if the weak LLM reaches the answer with this mask, else 0; ``None`` if it was dropped.

        0 also if the hint leaves the weak LLM no room to answer. Where only the judge LLM can decide, it is asked once
        the bit is needed.
        """
        context, question = self._context, self._question
        candidate, level = self.candidates[mask[0]], mask[1]
        call = {"m_strong": candidate.m_strong, "sample": candidate.sample, "mask_level": level}
        try:
            with log_facts(**call):
                votes, wanted = context.params.majority, lambda: mask not in self._dropped
                chosen = await representative(self._vote(mask), votes, wanted, context.rules, at_once=context.batched)
        except RecordError as error:
            if error.kind != "context_overflow":
                raise
            context.bits["too_long"] += 1
            self.rejected = error
            return 0
        if chosen is None:
            return None
        self.answered = True
        attempt, cut_off = chosen.text.strip(), chosen.cut_off
        needed = self._needed[mask]
        if not needed.is_set():
            costs_nothing = context.judge.needs_no_call
            if not await costs_nothing(attempt, question.answer, cut_off=cut_off, given=self._verdicts):
                await needed.wait()
        if mask in self._dropped:
            return None
        with log_facts(**call):
            verdict = await context.judge(
                question.text,
                attempt,
                question.answer,
                seed=seed_of(context.params.seed, question.row, "judge"),
                cut_off=cut_off,
                given=self._verdicts,
            )
        return int(verdict.correct)

    def _hint(self, mask: Mask) -> str:
        return hint(self.candidates[mask[0]].step_list, mask[1], self._levels, self._context.rules)

    def _vote(self, mask: Mask) -> Callable[[int], Coroutine[Any, Any, Completion]]:
        """Makes the attempt of a vote, by its number."""
        params, candidate = self._context.params, self.candidates[mask[0]]
        messages = (Message("user", self._context.prompts.guided(self._question.text, self._hint(mask))),)

        async def attempt(vote: int) -> Completion:
            self._places.started(self.row, mask)
            draw = seed_of(params.seed, self.row, candidate.m_strong, candidate.sample, mask[1], vote)
            prompt = Prompt(messages=messages, temperature=TEMPERATURE, seed=draw, sample=vote)
            with log_facts(vote=vote):
                return await self._context.models["weak"].complete(prompt)

        return attempt
