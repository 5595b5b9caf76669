"""Votes: the attempt that represents all is the one that all votes give; none is asked for that cannot matter."""

from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given, strategies as st

from weak2wise.errors import RecordError
from weak2wise.llm.model import Completion
from workers.scorers.votes import certain, fewest, representative, spelled_answer

Finals = list[str | None]
finals = st.lists(st.sampled_from(["A", "B", "C", None]), min_size=1, max_size=7)


def majority(answers: Sequence[str | None]) -> int:
    """The rule, on all votes: the earliest of the largest group, ties to the earliest attempt; else the first."""
    groups = Counter(answer for answer in answers if answer is not None)
    most = max(groups.values(), default=0)
    return next((at for at, answer in enumerate(answers) if answer is not None and groups[answer] == most), 0)


def text(final: str | None) -> str:
    return "I do not know" if final is None else f"\\boxed{{{final}}}"


class Voters:
    """Attempts with these final answers; those numbered in ``broken`` fail."""

    def __init__(self, answers: Finals, broken: Sequence[int] = ()) -> None:
        self.answers = answers
        self.broken = broken
        self.asked: list[int] = []

    async def __call__(self, vote: int) -> Completion:
        self.asked.append(vote)
        if vote in self.broken:
            raise RecordError("server_error", f"vote {vote}")
        return Completion(text=text(self.answers[vote]), finish_reason=str(vote))

    async def chosen(self) -> int:
        completion = await representative(self, len(self.answers), lambda: True)
        assert completion is not None
        return int(completion.finish_reason or "")


@given(finals)
async def test_votes_that_are_not_asked_for_change_no_representative(answers: Finals) -> None:
    voters = Voters(answers)
    assert await voters.chosen() == (majority(answers) if len(answers) > 1 else 0)
    assert voters.asked == list(range(len(voters.asked)))


@pytest.mark.slow
@given(finals, st.data())
def test_it_is_certain_exactly_when_no_missing_vote_can_change_it(answers: Finals, data: st.DataObject) -> None:
    """Tried with all that the missing ones may say: any answer there is, new ones, or none."""
    answers = answers[:5]
    known = data.draw(st.sets(st.sampled_from(range(len(answers)))))
    missing = [vote for vote in range(len(answers)) if vote not in known]
    results = set()
    for said in product(["A", "B", "C", "D", None], repeat=len(missing)):
        whole = {vote: answers[vote] for vote in known} | dict(zip(missing, said, strict=True))
        results.add(majority([whole[vote] for vote in range(len(answers))]))
    found = certain({vote: answers[vote] for vote in known}, len(answers))
    assert found == (results.pop() if len(results) == 1 and results <= known else None)


@given(finals)
async def test_no_round_of_votes_is_larger_than_it_has_to_be(answers: Finals) -> None:
    """With one vote fewer it could not have been certain, whatever that round had said."""
    asked = 0
    known: dict[int, str | None] = {}
    while more := fewest(known, asked, len(answers)):
        for said in product(["A", "B", "C", "D", None], repeat=more - 1):
            assert certain(known | dict(zip(range(asked, asked + more), said, strict=False)), len(answers)) is None
        known |= {vote: answers[vote] for vote in range(asked, asked + more)}
        asked += more
        if certain(known, len(answers)) is not None:
            return
    raise AssertionError("never certain")


@pytest.mark.parametrize(("votes", "asked"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (9, 5)])
async def test_votes_that_agree_are_few(votes: int, asked: int) -> None:
    voters = Voters(["A"] * votes)
    await voters.chosen()
    assert len(voters.asked) == asked


@given(finals, st.data())
async def test_a_failed_vote_fails_them_all_only_where_it_might_have_mattered(
    answers: Finals, data: st.DataObject
) -> None:
    """And the same one every time, as it does not depend on which vote is in first."""
    broken = sorted(data.draw(st.sets(st.sampled_from(range(len(answers))), min_size=1)))
    voters = Voters(answers, broken)
    sound = {vote: answer for vote, answer in enumerate(answers) if vote not in broken}
    expected = certain(sound, len(answers)) if len(answers) > 1 else None
    if expected is not None:
        assert await voters.chosen() == expected
        return
    with pytest.raises(RecordError, match=f"vote {broken[0]}"):
        await voters.chosen()


@given(finals)
async def test_where_answers_come_in_batches_there_is_one_round_with_the_same_result(answers: Finals) -> None:
    voters = Voters(answers)
    completion = await representative(voters, len(answers), lambda: not voters.asked, at_once=True)
    assert completion is not None
    assert completion.finish_reason == str(majority(answers) if len(answers) > 1 else 0)
    assert voters.asked == list(range(len(answers)))


async def test_votes_that_are_not_wanted_any_more_are_not_asked_for() -> None:
    voters = Voters(["A", "B", "A"])
    assert await representative(voters, 3, lambda: not voters.asked) is None
    assert voters.asked == [0, 1]


@pytest.mark.parametrize(
    ("attempts", "number"),
    [
        ((r"\boxed{6}", r"So \boxed{5}", r"\boxed{5}"), 1),
        ((r"\boxed{6}", r"\boxed{5}"), 0),
        (("No idea", "None", r"\boxed{5}"), 2),
        (("No idea", "None"), 0),
        ((r"\boxed{7}",), 0),
        ((r"\boxed{1/2}", r"\boxed{3}", r" \boxed{0.5} "), 0),
    ],
)
def test_the_first_of_the_attempts_that_agree_represents_all(attempts: tuple[str, ...], number: int) -> None:
    assert certain(dict(enumerate(map(spelled_answer, attempts))), len(attempts)) == number
