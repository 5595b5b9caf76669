"""``params.min_score``: what is kept is what a full run would keep if it were filtered afterwards, for fewer bits."""

import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import weak2wise
from tests.api.runs import config_at, questions
from tests.contexts import context
from tests.loopback import LoopbackProcess
from tests.workers.test_race import Table, tables
from weak2wise.config import Params
from weak2wise.errors import ConfigError
from weak2wise.worker import Drop, Partial
from workers.records import Candidate, Question, Score, Scored, Traced
from workers.score import BELOW, ScoreCandidates
from workers.scorers import NAMES, check_min_score, scorer_named
from workers.scorers.masking import exact_shares, exact_weights, least_worth
from workers.scorers.race import Race
from workers.scorers.stepmask import StepMask

LEASTS = st.one_of(st.just(0.0), st.floats(0, 1), st.sampled_from([0.6, 0.086458, 0.1, 0.5, 0.3, 1.0]))


def raced(table: Table, least: int) -> tuple[Race[tuple[int, int]], list[tuple[int, int]]]:
    """The race, and the bits it asked for, one at a time."""
    lengths = [candidate.length for candidate in table.candidates]
    masks = [[(c, level) for level in range(len(row))] for c, row in enumerate(table.bits)]
    race, asked = Race(table.weights, lengths, masks, least), []
    while wanted := race.wanted():
        asked.append(wanted[0])
        race.learn(wanted[0], table.bits[wanted[0][0]][wanted[0][1]])
    return race, asked


@pytest.mark.slow
@given(tables(), LEASTS)
def test_a_race_keeps_exactly_what_a_filter_after_a_full_run_keeps(table: Table, least: float) -> None:
    params = Params(n_mask=table.n, beta=table.beta, ew_normalization=table.normalization, min_score=least)
    scorer = StepMask(context(params))
    worth = least_worth(least, table.n, beta=table.beta, normalization=table.normalization)
    race, asked = raced(table, worth)
    whole, all_asked = raced(table, 0)
    assert asked == all_asked[: len(asked)], "it asks in the same order, and stops"
    sample, best = table.winner([race.s_list(c) for c in range(len(table.bits))])
    shares = exact_shares(table.n, beta=table.beta, normalization=table.normalization)
    exact = max(sum((s for s, b in zip(shares, row, strict=False) if b), Fraction(0)) for row in table.bits)
    kept = exact >= Fraction(str(least))
    assert scorer.reaches(best) == kept
    if kept:
        assert (sample, best) == table.winner([whole.s_list(c) for c in range(len(table.bits))])


def test_a_score_that_is_exactly_the_least_is_kept() -> None:
    """0.6 is the score of a perfect trace; the sum of its parts in floating point is not 0.6."""
    for least, kept in ((0.6, True), (0.6000000001, False)):
        scorer = StepMask(context(Params(min_score=least)))
        assert scorer.reaches(Score(score=0.6, s_list=(1,) * 6)) == kept
    assert least_worth(0.6, 6, beta=0.5, normalization="reference") == sum(
        exact_weights(6, beta=0.5, normalization="reference")
    )


def test_a_hopeless_question_takes_few_bits() -> None:
    """Without a success: each of three traces is asked until it cannot reach half of the perfect score."""
    table = Table(n=6, beta=0.5, normalization="reference", bits=[[0] * 6] * 3, words=[5, 6, 7])
    worth = least_worth(0.3, 6, beta=0.5, normalization="reference")
    assert len(raced(table, 0)[1]) == 18
    assert len(raced(table, worth)[1]) < 12


def question(*candidates: Candidate) -> Traced:
    return Traced(question=Question(row=1, id=None, text="?", answer="5"), candidates=candidates)


def candidate(words: int) -> Candidate:
    return Candidate(
        m_strong="m", sample=words, step_reasoning="", step_list=(), normal="w " * words, normal_is_own=True
    )


@pytest.mark.parametrize(("least", "kept"), [(-3, True), (-2, True), (-1.5, False)])
async def test_any_scorers_winner_is_held_to_it(least: float, kept: bool) -> None:
    scorer = scorer_named("shortest")(context(Params(min_score=least)))
    found = await ScoreCandidates(scorer, faithful_only=False)(question(candidate(4), candidate(2)))
    assert isinstance(found, Scored) if kept else found == Drop(BELOW)


@pytest.mark.parametrize("least", [0.1, 0.0])
async def test_a_question_without_steps_does_not_pass_as_if_it_had_a_score(least: float) -> None:
    scorer = scorer_named("stepmask")(context(Params(min_score=least)))
    found = await ScoreCandidates(scorer, faithful_only=False)(question(candidate(4)))
    assert isinstance(found, Partial) if least == 0 else found == Drop(BELOW)


@pytest.mark.parametrize("name", NAMES)
def test_what_no_trace_can_reach_is_refused(name: str) -> None:
    """For every scorer that has a highest score; a config that asks for it exactly is fine."""
    scorer = scorer_named(name)
    highest = float(scorer.highest(Params()))
    for least, fine in ((min(highest, 1e9), True), (highest + 0.01, highest > 1e9)):
        config = config_at("http://unused", params=Params(scorer=name, min_score=min(least, 1e12)))
        if fine:
            check_min_score(config, scorer)
        else:
            with pytest.raises(ConfigError, match=rf"params\.min_score: no trace can reach {re.escape(str(least))}"):
                check_min_score(config, scorer)
    assert (highest < 1e9) == (name not in ("first", "shortest", "longest"))


@pytest.mark.slow
def test_a_run_with_it_keeps_the_rows_of_a_full_run_filtered_afterwards(
    tmp_path: Path, server: LoopbackProcess
) -> None:
    def run(folder: str, **params: float) -> weak2wise.Run:
        given = weak2wise.Params(samples_per_model=2, n_mask=4, judge_mode="rule", skip_filter=True, **params)  # type: ignore[arg-type]
        config = config_at(server.base_url, params=given)
        return weak2wise.synthesize(questions(20), config, work_dir=tmp_path / folder)

    whole = list(run("whole").golden())
    least = sorted(golden.score.score for golden in whole)[10]
    expected = [golden for golden in whole if golden.score.score >= least]
    assert 0 < len(expected) < 20
    kept = run("kept", min_score=least)
    assert list(kept.golden()) == expected
    assert kept.totals.dropped == {BELOW: 20 - len(expected)}
    weak = {
        name: next(use.calls for use in weak2wise.open_run(tmp_path / name).summary.roles if use.role == "weak")
        for name in ("whole", "kept")
    }
    assert weak["kept"] < weak["whole"]
    with pytest.raises(ConfigError, match=r"Changed since: params\.min_score\."):
        run("kept", min_score=least / 2)
