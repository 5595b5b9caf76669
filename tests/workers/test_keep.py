"""``params.keep``: more than the winner of a question, by a race exactly as by scoring everything."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from tests.contexts import context
from tests.workers.test_race import Table, tables
from weak2wise.config import Params, Response
from weak2wise.errors import RecordError
from weak2wise.worker import Drop
from workers import output_lines
from workers.records import Candidate, Golden, Question, Score, Scored
from workers.scorers import StepMask, scorer_named
from workers.scorers.masking import least_worth, score
from workers.scorers.race import Race
from workers.select import NO_PAIR, Select, best, last
from workers.sft import Sft
from workers.truncate import Truncate

QUESTION = Question(row=7, id=None, text="How many?", answer="4")


def scored(table: Table, rows: list[tuple[int | None, ...]]) -> Scored:
    scores = [score(row, beta=table.beta, normalization=table.normalization) for row in rows]
    return Scored(question=QUESTION, candidates=tuple(table.candidates), scores=tuple(scores))


def raced(table: Table, scorer: StepMask, keep: int, width: int, least: int, *, worst: bool) -> tuple[Scored, int]:
    """What a race of this width knows in the end, and how many bits it needed."""
    texts = None if keep == 1 else [candidate.normal.strip() for candidate in table.candidates]
    masks = [[(c, level) for level in range(len(row))] for c, row in enumerate(table.bits)]
    lengths = [scorer.length(candidate) for candidate in table.candidates]
    race = Race(table.weights, lengths, masks, least, keep=keep, texts=texts, worst=worst)
    while wanted := race.wanted(width):
        for c, level in reversed(wanted):
            race.learn((c, level), table.bits[c][level])
    return scored(table, [race.s_list(c) for c in range(len(table.bits))]), len(race.needed())


@pytest.mark.slow
@given(tables(), st.integers(1, 9), st.integers(1, 4), st.sampled_from([None, 0.1, 0.3]))
def test_a_race_keeps_the_same_traces_as_scoring_everything(
    table: Table, width: int, keep: int, min_score: float | None
) -> None:
    """With repeated and empty reasonings among the candidates, whatever the width and the least score."""
    params = Params(n_mask=table.n, beta=table.beta, ew_normalization=table.normalization, min_score=min_score)
    scorer = StepMask(context(params))
    least = (
        0 if min_score is None else least_worth(min_score, table.n, beta=table.beta, normalization=table.normalization)
    )
    whole = scored(table, [tuple(row) for row in table.bits])
    found, _ = raced(table, scorer, keep, width, least, worst=False)
    if keep == 1:
        kept, expected = best(found, scorer, 1), best(whole, scorer, 1)
        first = min(range(len(table.bits)), key=lambda c: scorer.rank(whole.candidates[c], whole.scores[c]))
        if not whole.candidates[first].normal.strip():
            return  # the winner has no reasoning: the question fails, and nothing is kept
    else:
        kept, expected = best(found, scorer, keep), best(whole, scorer, keep)
    assert kept == expected
    texts = [candidate.normal for candidate, _ in kept]
    assert len(texts) == len(set(texts)) <= keep


@pytest.mark.slow
@given(tables(), st.integers(1, 9))
def test_a_race_for_a_pair_finds_the_best_and_the_worst_of_all(table: Table, width: int) -> None:
    params = Params(n_mask=table.n, beta=table.beta, ew_normalization=table.normalization)
    scorer = StepMask(context(params))
    whole = scored(table, [tuple(row) for row in table.bits])
    found, needed = raced(table, scorer, 1, width, 0, worst=True)
    assert last(found, scorer) == last(whole, scorer)
    order = sorted(range(len(table.bits)), key=lambda c: (scorer.rank(whole.candidates[c], whole.scores[c]), c))
    for c in (order[0], order[-1]):
        assert found.scores[c] == whole.scores[c]
    assert needed <= sum(map(len, table.bits))


@pytest.mark.slow
@given(tables(), st.integers(2, 9), st.integers(1, 4), st.booleans(), st.randoms(use_true_random=False))
def test_what_such_a_race_gives_up_it_never_wants_again(
    table: Table, width: int, keep: int, worst: bool, rng: random.Random
) -> None:
    """Bits arrive in any order, and after each one those that cannot be needed are given up."""
    texts = [candidate.normal.strip() for candidate in table.candidates]
    masks = [[(c, level) for level in range(len(row))] for c, row in enumerate(table.bits)]
    lengths = [candidate.length for candidate in table.candidates]
    least = rng.choice((0, sum(table.weights) // 3))

    def race() -> Race[tuple[int, int]]:
        return Race(table.weights, lengths, masks, least, keep=keep, texts=texts if keep > 1 else None, worst=worst)

    whole, raced = race(), race()
    while wanted := whole.wanted():
        whole.learn(wanted[0], table.bits[wanted[0][0]][wanted[0][1]])
    in_flight, given_up = set[tuple[int, int]](), set[tuple[int, int]]()
    while wanted := raced.wanted(width):
        in_flight |= set(wanted)
        assert not in_flight & given_up
        c, level = rng.choice(sorted(in_flight))
        in_flight.remove((c, level))
        raced.learn((c, level), table.bits[c][level])
        given_up |= in_flight - raced.may_need()
        in_flight -= given_up
    assert raced.needed() == whole.needed()
    assert [raced.s_list(c) for c in range(len(masks))] == [whole.s_list(c) for c in range(len(masks))]


def candidate(sample: int, text: str, model: str = "m") -> Candidate:
    return Candidate(m_strong=model, sample=sample, step_reasoning="", step_list=(), normal=text, normal_is_own=True)


def record(*values: tuple[str, float]) -> Scored:
    return Scored(
        question=QUESTION,
        candidates=tuple(candidate(at, text) for at, (text, _) in enumerate(values)),
        scores=tuple(Score(score=value, evidence={}) for _, value in values),
    )


def select_with(keep: object) -> Select:
    scorer = scorer_named("longest")(context(Params()))
    prompts = scorer.context.prompts
    return Select(Truncate(prompts=prompts, mode="rule"), scorer, 0, keep)  # type: ignore[arg-type]


VALUES = (("So 2. Then 4.", 2.0), ("It is 4. Or so.", 9.0), ("It is 4. Or so.", 8.0), ("x is 4.", 1.0), ("", 5.0))


@pytest.mark.parametrize(
    ("keep", "samples"), [(1, [1]), (2, [1, 0]), (3, [1, 0, 3]), (9, [1, 0, 3]), ("pairs", [1, 3])]
)
async def test_what_is_kept_is_cut_and_becomes_rows(keep: object, samples: list[int]) -> None:
    golden = await select_with(keep)(record(*VALUES))
    assert isinstance(golden, Golden)
    assert [kept.candidate.sample for kept in golden.kept] == samples
    assert golden.kept[0].truncated == "It is 4."
    row = await Sft(Response.parse("reference", ""), keep == "pairs")(golden)
    lines = list(output_lines.finetune(row))
    responses = [f"<think> {kept.truncated} </think> 4" for kept in golden.kept]
    if keep == "pairs":
        assert lines == [{"prompt": "How many?", "chosen": responses[0], "rejected": responses[1]}]
    else:
        assert lines == [{"prompt": "How many?", "response": response} for response in responses]
    shown = [line["sample"] for line in output_lines.selected_truncated(golden)]
    assert shown == samples


@pytest.mark.parametrize("values", [(("a 4", 1.0),), (("a 4", 1.0), ("b 4", 1.0)), (("a 4", 1.0), ("", 0.0))])
async def test_without_a_worse_trace_there_is_no_pair(values: tuple[tuple[str, float], ...]) -> None:
    """One trace, equal scores, or a worse one without reasoning."""
    assert await select_with("pairs")(record(*values)) == Drop(NO_PAIR)


async def test_a_bound_is_never_kept_nor_rejected() -> None:
    whole = record(("a 4", 3.0), ("b 4", 2.0), ("c 4", 1.0))
    scores = (whole.scores[0], replace_bound(whole.scores[1]), whole.scores[2])
    held = Scored(question=QUESTION, candidates=whole.candidates, scores=scores)
    scorer = scorer_named("grape")(context(Params()))
    select = replace(select_with(3), scorer=scorer)
    golden = await select(held)
    assert isinstance(golden, Golden)
    assert [kept.candidate.sample for kept in golden.kept] == [0, 2]


def replace_bound(value: Score) -> Score:
    return Score(score=value.score, is_bound=True, evidence={"not_measured": "context_overflow"})


async def test_a_winner_without_reasoning_still_fails() -> None:
    with pytest.raises(RecordError, match="no reasoning"):
        await select_with(3)(record(("", 9.0), ("a 4", 1.0)))
