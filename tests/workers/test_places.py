"""How many bits a race may ask ahead, and what a question's bits are counted as."""

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.contexts import context
from weak2wise.config import Params
from weak2wise.errors import RecordError
from weak2wise.llm.errors import Rejected
from weak2wise.llm.model import Completion, Prompt
from workers.records import Candidate, Question, Traced
from workers.scorers.stepmask import Places, Scoring, StepMask

LEVELS = 6


class Solver:
    """A weak LLM that reaches the answer, except that a hint may be too long for it, or any other call fail."""

    def __init__(self, too_long: int = 0, kind: str = "context_overflow") -> None:
        self.asked = 0
        self.too_long = too_long
        self.kind = kind

    async def complete(self, _prompt: Prompt, /) -> Completion:
        self.asked += 1
        if self.asked <= self.too_long:
            raise Rejected(self.kind, f"call {self.asked}", endpoint="weak")  # type: ignore[arg-type]
        return Completion(text="\\boxed{5}")


def traced() -> Traced:
    """Four candidates, the shortest first; no two of their hints are the same at any level."""
    return Traced(
        question=Question(row=1, id=None, text="question", answer="5"),
        candidates=tuple(
            Candidate(
                m_strong="m",
                sample=sample,
                step_reasoning="",
                step_list=(f"## {sample} " + "x" * 40,),
                normal="word " * (sample + 1),
                normal_is_own=True,
            )
            for sample in range(4)
        ),
    )


@contextmanager
def racing(places: Places, questions: int) -> Iterator[None]:
    """So many races are under way."""
    with ExitStack() as stack:
        for row in range(questions):
            stack.enter_context(places.race(row))
        yield


@pytest.mark.parametrize(
    ("free", "questions", "now", "ahead"),
    [
        (100, 1, 0, 20),
        (100, 1, 1, 19),
        (104, 1, 0, 20),  # a bit takes five places
        (100, 10, 0, 8),  # four times its share
        (100, 10, 1, 8),
        (100, 400, 0, 1),
        (5, 1, 0, 1),
        (5, 1, 1, 0),
        (4, 1, 0, 0),
        (0, 1, 0, 0),
        (-30, 1, 0, 0),
    ],
)
def test_a_race_may_ask_ahead_four_times_its_share_of_the_free_places(
    free: int, questions: int, now: int, ahead: int
) -> None:
    places = Places(lambda: free, votes=5, width=None)
    with racing(places, questions):
        assert places.ahead(3, now) == ahead


def test_places_that_are_taken_but_not_yet_filled_are_not_free() -> None:
    places = Places(lambda: 20, votes=1, width=None)
    with racing(places, 1):
        with places.race(7):
            for level in range(3):
                places.take(7, (0, level))
            places.take(0, (0, 0))
            assert places.ahead(0, 0) == 16
            places.started(7, (0, 1))
            assert places.ahead(0, 0) == 17
        assert places.ahead(0, 0) == 19, "a race that is over holds none"


@pytest.mark.parametrize(("asking", "ahead"), [(0, 5), (3, 2), (5, 0), (7, 0)])
def test_a_fixed_width_counts_whatever_is_free(asking: int, ahead: int) -> None:
    assert Places(lambda: 0, votes=1, width=5).ahead(asking, 1) == ahead


def test_nothing_that_is_paid_for_is_asked_ahead() -> None:
    assert Places(None, votes=1, width=None).ahead(0, 1) == 0


def worker(weak: Solver, *, width: int | None = None, scoring: Scoring = "race") -> StepMask:
    return StepMask(context(Params(n_mask=LEVELS, scoring=scoring), weak, race_width=width))


async def test_bits_are_counted_as_asked_needed_and_spared() -> None:
    """The shortest of four candidates that survive every mask wins; nothing need be known of the others."""
    weak = Solver()
    one_by_one = worker(weak)
    scores = await one_by_one(traced())
    assert [score.s_list for score in scores] == [(1,) * LEVELS, *[(None,) * LEVELS] * 3]
    assert weak.asked == LEVELS
    assert one_by_one.context.bits == {"asked": LEVELS, "in_vain": 0, "spared": 3 * LEVELS}
    weak = Solver()
    ahead = worker(weak, width=9)
    assert await ahead(traced()) == scores
    assert weak.asked > LEVELS
    assert ahead.context.bits == {
        "asked": weak.asked,
        "in_vain": weak.asked - LEVELS,
        "spared": 4 * LEVELS - weak.asked,
    }
    weak = Solver()
    exhaustive = worker(weak, scoring="exhaustive")
    await exhaustive(traced())
    assert exhaustive.context.bits == {"asked": 4 * LEVELS}
    assert weak.asked == 4 * LEVELS


async def test_a_hint_that_leaves_no_room_is_a_mask_that_was_not_survived() -> None:
    step_mask = worker(Solver(too_long=1))
    scores = await step_mask(traced())
    assert sorted(score.s_list.count(0) for score in scores) == [0, 0, 0, 1]
    assert step_mask.context.bits["too_long"] == 1


@pytest.mark.parametrize("scoring", ["race", "exhaustive"])
async def test_a_question_whose_every_hint_leaves_no_room_fails(scoring: Scoring) -> None:
    step_mask = worker(Solver(too_long=1000), scoring=scoring)
    with pytest.raises(RecordError, match="call"):
        await step_mask(traced())
    assert step_mask.context.bits["too_long"] == 4 * LEVELS


@pytest.mark.parametrize("scoring", ["race", "exhaustive"])
async def test_any_other_failure_that_the_race_cannot_do_without_fails_the_question(scoring: Scoring) -> None:
    with pytest.raises(RecordError, match="call 1"):
        await worker(Solver(too_long=1, kind="bad_request"), scoring=scoring)(traced())


async def test_a_failure_ahead_of_the_race_is_none_if_the_race_does_without() -> None:
    class FailsLater(Solver):
        async def complete(self, prompt: Prompt, /) -> Completion:
            if "## 3" in prompt.messages[0].content:  # the longest candidate
                self.too_long = math.inf  # type: ignore[assignment]
            try:
                return await super().complete(prompt)
            finally:
                self.too_long = 0

    scores = await worker(FailsLater(kind="bad_request"), width=4 * LEVELS)(traced())
    assert scores[0].s_list == (1,) * LEVELS
