"""Step-Mask on a weak LLM and a judge made up here: who is asked what, when, and what it changes."""

import asyncio
import random
from collections import Counter
from dataclasses import replace
from hashlib import blake2b

import pytest
from msgspec import structs

from tests.contexts import PROMPTS, context
from weak2wise.config import Params
from weak2wise.llm.model import Completion, Prompt
from weak2wise.process_pool import KillablePool
from workers.judge import Judge
from workers.records import Candidate, Question, Score, Traced
from workers.scorers.stepmask import Scoring, StepMask


def drawn(prompt: Prompt, among: int) -> int:
    """A number below ``among`` that the question and its seed decide."""
    asked = f"{prompt.messages[0].content} {prompt.seed}".encode()
    return int.from_bytes(blake2b(asked, digest_size=4).digest(), "big") % among


class Weak:
    """Answers when told to: 5, which is right, in two of five cases, else 6 or, with ``prose``, what no rule reads."""

    def __init__(self, places: int, *, prose: bool = False) -> None:
        self.places = asyncio.Semaphore(places)
        self.capacity = places
        self.prose = prose
        self.waiting = 0
        self.under_way: dict[asyncio.Future[None], Prompt] = {}
        self.asked: list[Prompt] = []
        self.cancelled = 0

    def free(self) -> int:
        return self.capacity - self.waiting - len(self.under_way)

    def release(self, rng: random.Random) -> None:
        """Let one of those inside have its answer."""
        rng.choice(list(self.under_way)).set_result(None)

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.asked.append(prompt)
        self.waiting += 1
        try:
            await self.places.acquire()
        finally:
            self.waiting -= 1
        release = asyncio.get_running_loop().create_future()
        self.under_way[release] = prompt
        try:
            await release
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            del self.under_way[release]
            self.places.release()
        return Completion(text=self.says(prompt))

    def says(self, prompt: Prompt) -> str:
        wrong = f"It may well be {drawn(prompt, 99)} or so, or not." if self.prose else "\\boxed{6}"
        return "\\boxed{5}" if drawn(prompt, 5) < 2 else wrong


class FirstIsBest(Weak):
    """Is right with the first of ``letters`` as the hint, else each time wrong in another way."""

    def says(self, prompt: Prompt) -> str:
        return "\\boxed{5}" if "aaaa" in shown(prompt) else f"\\boxed{{{prompt.seed}}}"


def shown(prompt: Prompt) -> str:
    return prompt.messages[0].content


class JudgeModel:
    """Says No, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.asked.append(prompt.messages[0].content)
        await asyncio.sleep(0)
        return Completion(text="No")


def traced(row: int, candidates: int = 4) -> Traced:
    return Traced(
        question=Question(row=row, id=None, text=f"question {row}", answer="5"),
        candidates=tuple(
            Candidate(
                m_strong="m",
                sample=sample,
                step_reasoning="",
                step_list=tuple(f"## Step {step} of {sample}\n" + "x" * 40 for step in range(3)),
                normal="word " * (sample + 1),
                normal_is_own=True,
            )
            for sample in range(candidates)
        ),
    )


def letters() -> Traced:
    """Two candidates: the only step of the first is the letter a, of the second b, at every mask level some of them."""
    record = traced(0, candidates=2)
    steps = zip(record.candidates, "ab", strict=True)
    candidates = (structs.replace(candidate, step_list=("## " + letter * 60,)) for candidate, letter in steps)
    return structs.replace(record, candidates=tuple(candidates))


def step_mask(
    weak: Weak,
    *,
    model: JudgeModel | None = None,
    scoring: Scoring = "race",
    votes: int = 1,
    width: int | None = None,
    embedded: bool = True,
) -> StepMask:
    judge = Judge(prompts=PROMPTS, pool=KillablePool(), model=model, mode="cascade" if model else "rule")
    params = Params(majority=votes, scoring=scoring)
    return StepMask(context(params, weak, judge, race_width=width, free=weak.free if embedded else None))


async def settle() -> None:
    """Let everything that can happen without another answer happen."""
    for _ in range(30):
        await asyncio.sleep(0)


async def scored(weak: Weak, worker: StepMask, questions: int = 1, seed: int = 0) -> list[list[Score]]:
    """Score questions, all at once, on answers that arrive in a random order."""
    return await scored_all(weak, worker, [traced(row) for row in range(questions)], seed)


async def scored_all(weak: Weak, worker: StepMask, records: list[Traced], seed: int = 0) -> list[list[Score]]:
    rng = random.Random(seed)
    tasks = [asyncio.create_task(worker(record)) for record in records]
    while not all(task.done() for task in tasks):
        await settle()
        if weak.under_way:
            weak.release(rng)
    assert not worker.places.starting
    return [task.result() for task in tasks]


@pytest.mark.slow
@pytest.mark.parametrize("questions", [20, 25, 45])
async def test_races_keep_the_engine_full_as_long_as_there_is_work(questions: int) -> None:
    """Whether there are more or fewer questions than places, 95 % of the places are taken."""
    weak, rng = Weak(40), random.Random(1)
    worker = step_mask(weak)
    rows = iter(range(10_000))

    async def lane() -> None:
        for row in rows:
            await worker(traced(row))

    lanes = [asyncio.create_task(lane()) for _ in range(questions)]
    inside = []
    for _ in range(600):
        await settle()
        inside.append(len(weak.under_way))
        weak.release(rng)
    for task in lanes:
        task.cancel()
    await asyncio.gather(*lanes, return_exceptions=True)
    assert sum(inside[50:]) >= 0.95 * 40 * len(inside[50:])


async def test_a_race_alone_takes_a_single_free_place_too() -> None:
    weak = Weak(2)
    race = asyncio.create_task(step_mask(weak)(traced(0)))
    await settle()
    assert (len(weak.under_way), weak.waiting) == (2, 0)
    race.cancel()
    await asyncio.gather(race, return_exceptions=True)


async def test_attempts_are_sampled_at_the_temperature_of_the_method() -> None:
    weak = Weak(4)
    await scored(weak, step_mask(weak))
    assert {prompt.temperature for prompt in weak.asked} == {0.6}


async def test_with_enough_questions_no_race_asks_ahead() -> None:
    weak = Weak(8)
    worker = step_mask(weak)
    rows, rng = iter(range(10_000)), random.Random(2)

    async def lane() -> None:
        for row in rows:
            await worker(traced(row))

    lanes = [asyncio.create_task(lane()) for _ in range(12)]
    for step in range(400):
        await settle()
        outstanding = len(weak.under_way) + weak.waiting
        assert outstanding <= 12 + 8  # the first to start found the engine empty
        assert outstanding == 12 or step < 50
        weak.release(rng)
    for task in lanes:
        task.cancel()
    await asyncio.gather(*lanes, return_exceptions=True)


@pytest.mark.parametrize("prose", [False, True])
async def test_how_far_races_ask_ahead_changes_no_result(prose: bool) -> None:
    """Nor what the judge LLM is asked: what is asked ahead goes there only once it is needed."""
    results, judged = [], []
    for places, width in ((1, 1), (8, 3), (5, None), (60, None), (400, None)):
        weak, model = Weak(places, prose=prose), JudgeModel()
        results.append(await scored(weak, step_mask(weak, model=model, width=width), questions=4, seed=places))
        judged.append(sorted(model.asked))
    assert all(result == results[0] for result in results)
    assert all(asked == judged[0] for asked in judged)
    assert bool(judged[0]) is prose

    weak = Weak(400, prose=prose)
    exhaustive = await scored(weak, step_mask(weak, model=JudgeModel(), scoring="exhaustive"), questions=4)
    for raced, every in zip(results[0], exhaustive, strict=True):
        best = max(every, key=lambda score: score.score)
        assert max(score.score for score in raced) == best.score
        assert best in raced


async def test_attempts_that_are_paid_for_are_not_given_up_when_the_race_ends() -> None:
    weak = Weak(100)
    worker = step_mask(weak, width=6, embedded=False)
    await scored(weak, worker, questions=3)
    assert worker.context.bits["in_vain"] > 0
    assert weak.cancelled == 0


async def test_the_engine_is_rid_of_attempts_that_nobody_needs_when_the_race_ends() -> None:
    weak = Weak(100)
    worker = step_mask(weak)
    await scored(weak, worker, questions=3)
    assert 0 < weak.cancelled <= worker.context.bits["in_vain"]


async def test_an_attempt_is_given_up_as_soon_as_its_candidate_cannot_win() -> None:
    """Not when the race is over: here the winner's last bit is still missing."""
    weak = FirstIsBest(100)
    worker = step_mask(weak)
    race = asyncio.create_task(worker(letters()))
    await settle()
    under_way = sorted(weak.under_way.items(), key=lambda item: len(item[1].messages[0].content))  # heaviest first
    best, other = ([future for future, prompt in under_way if letter in shown(prompt)] for letter in ("aaaa", "bbbb"))
    assert len(other) > 3
    for future in (*best[:5], other[0]):
        future.set_result(None)
    await settle()
    assert list(weak.under_way) == best[5:]
    assert weak.cancelled == len(other) - 1
    best[5].set_result(None)
    assert [score.s_list for score in await race] == [(1,) * 6, (None,) * 6]


async def test_no_more_votes_are_asked_for_where_the_race_cannot_need_the_bit() -> None:
    """Over HTTP those under way are awaited, as they are paid for; here they disagree, but the race is over."""
    weak = FirstIsBest(100)
    race = asyncio.create_task(step_mask(weak, votes=3, width=12, embedded=False)(letters()))
    await settle()
    asked = len(weak.asked)
    for letter in ("aaaa", "bbbb"):
        for future in [future for future, prompt in weak.under_way.items() if letter in shown(prompt)]:
            future.set_result(None)
        await settle()
    assert race.done()
    assert weak.cancelled == 0
    assert len(weak.asked) == asked


async def test_votes_that_agree_leave_out_the_last_one() -> None:
    """Two of three votes for each of the six bits of the winner, three for each of the others, whose votes differ."""
    weak = FirstIsBest(100)
    await scored_all(weak, step_mask(weak, votes=3, scoring="exhaustive"), [letters()])
    votes = Counter("aaaa" in shown(prompt) for prompt in weak.asked)
    assert votes == {True: 6 * 2, False: 6 * 3}


async def test_all_votes_are_asked_for_at_once_where_answers_come_in_batches() -> None:
    """A second round might take another day."""
    weak = FirstIsBest(100)
    context = step_mask(weak, votes=3, scoring="exhaustive", embedded=False).context
    scoring = asyncio.create_task(StepMask(replace(context, batched=True))(letters()))
    await settle()
    assert len(weak.under_way) == 2 * 6 * 3
    for future in list(weak.under_way):
        future.set_result(None)
    await scoring
    assert len(weak.asked) == 2 * 6 * 3


def test_a_trace_that_lost_under_earlier_settings_does_not_win_under_the_present_ones() -> None:
    """Its unasked bits count as 1, which proved enough with the ``beta`` of the race alone."""
    proven, lost = Score(score=0.1, s_list=(0, 0, 0, 0, 0, 1)), Score(score=0.1, s_list=(*[None] * 5, 0), is_bound=True)
    worker = StepMask(context(Params(beta=1.0), Weak(1)))
    longer, shorter = traced(1, candidates=2).candidates[::-1]
    assert worker.rank(longer, proven) < worker.rank(shorter, lost)


def test_bits_are_weighed_by_the_number_of_levels_that_were_scored() -> None:
    """Also where ``params.n_mask`` has changed since: two of two levels are worth what they were."""
    scored_with, ranked_with = (StepMask(context(Params(n_mask=n), Weak(1))) for n in (2, 8))
    candidate = traced(1, candidates=1).candidates[0]
    for bits in ((1, 0), (0, 1), (1, 1)):
        score = Score(score=0.0, s_list=bits)
        assert scored_with.rank(candidate, score) == ranked_with.rank(candidate, score)


async def test_attempts_under_way_when_a_race_over_http_ends_are_not_judged() -> None:
    """They are paid for already; the judge LLM would be paid for a verdict that nobody needs."""
    alone, together = JudgeModel(), JudgeModel()
    one_by_one = Weak(100, prose=True)
    expected = await scored(one_by_one, step_mask(one_by_one, model=alone, width=1, embedded=False), questions=6)
    weak = Weak(100, prose=True)
    worker = step_mask(weak, model=together, width=12, embedded=False)
    assert await scored(weak, worker, questions=6) == expected
    assert worker.context.bits["in_vain"] > 10
    assert sorted(together.asked) == sorted(alone.asked) != []
