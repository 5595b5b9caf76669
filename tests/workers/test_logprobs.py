"""Scorers that ask how likely a text is: their formulas, what they ask, and traces that cannot be measured."""

import math
import random
from fractions import Fraction
from itertools import pairwise, permutations, product

import pytest
from hypothesis import given, strategies as st
from msgspec import UNSET

from tests.contexts import context
from weak2wise.config import Params
from weak2wise.errors import RecordError, RunStopped, single_errors
from weak2wise.llm.errors import Rejected, Transient
from weak2wise.llm.model import Completion, Continuation, Logprobs, Prompt
from workers.records import Candidate, Question, Traced
from workers.scorers import Scorer, scorer_named
from workers.scorers.likelihood import log_of_sum
from workers.scorers.logprobs import WINDOW, graded_ifd, mean, rank_surprisal_ratio, windows
from workers.scorers.masking import averages, exact_weights, hint, score
from workers.select import select

RNG = random.Random(16)
QUESTION = "How many?"
NAMES = ("grape", "rsr", "local_naturalness", "ifd", "likelihood")


def candidate(sample: int, text: str, *, steps: tuple[str, ...] = ()) -> Candidate:
    return Candidate(m_strong="m", sample=sample, step_reasoning="", step_list=steps, normal=text, normal_is_own=True)


def traced(*candidates: Candidate) -> Traced:
    return Traced(question=Question(row=1, id=None, text=QUESTION, answer=" 4\n"), candidates=candidates)


class Bigrams:
    """A weak LLM of words: how likely one is depends on the last word before it alone; it tells what it was asked.

    Texts with the word "huge" do not fit.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, Continuation]] = []

    @staticmethod
    def of(before: str, text: str) -> Logprobs:
        words = [*before.split()[-1:], *text.split()] if before.split() else ["?", *text.split()]
        drawn = [random.Random(f"{a} {b}") for a, b in pairwise(words)]
        return Logprobs([-10 * one.random() for one in drawn], [one.choice((1, 2, 30, 5000)) for one in drawn])

    async def complete(self, prompt: Prompt, /) -> Completion:
        assert prompt.continuation is not UNSET
        question = prompt.messages[0].content
        self.asked.append((question, prompt.continuation))
        text = prompt.continuation
        if "huge" in question + text.text + text.after:
            raise Rejected("context_overflow", "the prompt has 9 tokens", endpoint="weak")
        return Completion(text="", logprobs=self.of(f"{question} {text.after}", text.text))


def scorer_on(name: str, weak: object, **params: object) -> Scorer:
    return scorer_named(name)(context(Params(**params), weak))  # type: ignore[arg-type]


LOGPROB = st.floats(-9999, -1e-6)
TOKENS = st.lists(st.tuples(LOGPROB, st.integers(1, 50_000)), min_size=1)


@given(TOKENS)
def test_the_rank_surprisal_ratio_is_that_of_its_definition(tokens: list[tuple[float, int]]) -> None:
    """The average clipped rank by the average surprisal, each taken on its own, in exact arithmetic."""
    ranks = sum(Fraction(min(100, rank)) for _, rank in tokens) / len(tokens)
    surprisal = sum(-Fraction(value) for value, _ in tokens) / len(tokens)
    found = Logprobs([value for value, _ in tokens], [rank for _, rank in tokens])
    assert math.isclose(rank_surprisal_ratio(found), float(ranks / surprisal), rel_tol=1e-12)


def test_a_text_that_is_certain_has_a_finite_ratio() -> None:
    assert math.isfinite(rank_surprisal_ratio(Logprobs([0.0, 0.0], [1, 1])))
    assert math.isfinite(graded_ifd([-1.0], [0.0])[1])


def test_ifd_prefers_the_highest_up_to_one_and_then_the_lowest_above() -> None:
    alone = [-2.0, -2.0]
    best_first = [[-1.9, -2.1], [-1.0, -2.0], [-0.1, -0.1], [-2.2, -2.0], [-4.0, -4.0]]
    graded = [graded_ifd(with_question, alone) for with_question in best_first]
    assert [round(ifd, 9) for ifd, _ in graded] == [1.0, 0.75, 0.05, 1.05, 2.0]
    scores = [value for _, value in graded]
    assert scores == sorted(scores, reverse=True)
    assert max(scores) <= 1.0


@given(st.lists(st.tuples(LOGPROB, LOGPROB), min_size=1))
def test_ifd_is_the_ratio_of_the_mean_losses(tokens: list[tuple[float, float]]) -> None:
    with_question, alone = ([pair[at] for pair in tokens] for at in (0, 1))
    expected = sum(map(Fraction, with_question)) / sum(map(Fraction, alone))
    ifd, value = graded_ifd(with_question, alone)
    assert math.isclose(ifd, float(expected), rel_tol=1e-12)
    assert value == (ifd if ifd <= 1 else 1 - ifd)


@given(st.lists(st.tuples(LOGPROB, LOGPROB), min_size=2))
def test_of_two_ifd_scores_the_higher_is_better_by_the_papers_rule(pairs: list[tuple[float, float]]) -> None:
    """At most 1 before above 1; then the nearer to 1."""
    graded = [graded_ifd([a], [b]) for a, b in pairs]
    by_score = [ifd for ifd, _ in sorted(graded, key=lambda one: -one[1])]
    by_rule = [ifd for ifd, _ in sorted(graded, key=lambda one: (one[0] > 1, abs(one[0] - 1)))]
    assert by_score == by_rule


@pytest.mark.parametrize("n", [1, 2, 6])
def test_the_log_of_a_sum_is_the_log_of_the_sum(n: int) -> None:
    for _ in range(100):
        weights = [RNG.randrange(0, 5) for _ in range(n)]
        values = [RNG.choice((None, -3 * RNG.random())) for _ in range(n)]
        total = sum(w * math.exp(v) for w, v in zip(weights, values, strict=True) if v is not None)
        found = log_of_sum(weights, values)
        assert math.isclose(math.exp(found), total, rel_tol=1e-12, abs_tol=1e-300)


@pytest.mark.parametrize("normalization", ["reference", "unit"])
@pytest.mark.parametrize("n", [1, 2, 6])
def test_likelihood_of_certain_levels_is_step_masks_score(n: int, normalization: str) -> None:
    """Probabilities that are 0 or 1 are bits: the same score, and the same order."""
    weights = exact_weights(n, beta=0.5, normalization=normalization)  # type: ignore[arg-type]
    for bits in product((0, 1), repeat=n):
        savg, sew = averages([float(bit) for bit in bits], normalization)  # type: ignore[arg-type]
        plain = score(bits, beta=0.5, normalization=normalization)  # type: ignore[arg-type]
        assert (savg, sew) == (plain.savg, plain.sew)
        exact = sum(weight for weight, bit in zip(weights, bits, strict=True) if bit)
        found = log_of_sum(weights, [0.0 if bit else None for bit in bits])
        assert math.isclose(math.exp(found), exact, rel_tol=1e-12)


def test_windows_cover_a_text_and_show_the_four_sentences_before() -> None:
    text = "One is 1.5 here. Two follows!\n\nThree? " + " ".join(f"More of {n}." for n in range(9)) + " end"
    found = list(windows(text))
    assert "".join(window.text for window in found) == text
    assert [window.text.strip() for window in found][:4] == ["One is 1.5 here.", "Two follows!", "Three?", "More of 0."]
    for at, window in enumerate(found):
        assert window.after == "".join(w.text for w in found[max(0, at - WINDOW) : at]).lstrip()
    assert list(windows("  lone  ")) == [Continuation("lone", "")]


async def test_grape_and_rsr_measure_the_reasoning_as_the_answer_to_the_bare_question() -> None:
    texts = ["first we add", " we  add then\nwe stop "]
    for name in ("grape", "rsr"):
        weak = Bigrams()
        scores = await scorer_on(name, weak)(traced(*(candidate(at, text) for at, text in enumerate(texts))))
        assert weak.asked == [(QUESTION, Continuation(text.strip())) for text in texts]
        for found, text in zip(scores, texts, strict=True):
            expected = Bigrams.of(QUESTION, text)
            of = mean(expected.values) if name == "grape" else -rank_surprisal_ratio(expected)
            assert math.isclose(found.score, of)


async def test_ifd_asks_with_the_question_and_with_an_empty_one() -> None:
    weak = Bigrams()
    (found,) = await scorer_on("ifd", weak)(traced(candidate(0, "we add")))
    assert weak.asked == [(QUESTION, Continuation("we add")), ("", Continuation("we add"))]
    asked, alone = Bigrams.of(QUESTION, "we add").values, Bigrams.of("", "we add").values
    assert math.isclose(found.debug["ifd"], sum(asked) / sum(alone))


async def test_local_naturalness_weighs_each_sentence_alike() -> None:
    weak = Bigrams()
    trace = "We add two numbers here. Good. " + "So it goes on. " * 6 + "Done."
    (found,) = await scorer_on("local_naturalness", weak)(traced(candidate(0, trace)))
    assert weak.asked == [(QUESTION, window) for window in windows(trace)]
    means = [mean(Bigrams.of(f"{QUESTION} {text.after}", text.text).values) for _, text in weak.asked]
    assert math.isclose(found.score, sum(means) / len(means))
    assert found.debug["sentences"] == 9


async def test_likelihood_asks_for_the_boxed_answer_after_each_different_hint() -> None:
    weak = Bigrams()
    steps = ("## Add\n2 + 2 makes four", "## Final Answer\n4")
    record = traced(candidate(0, "a", steps=steps), candidate(1, "b c", steps=steps), candidate(2, "none"))
    scorer = scorer_on("likelihood", weak, n_mask=3)
    scores = await scorer(record)
    hints = [hint(steps, level, 3) for level in range(3)]
    assert weak.asked == [(scorer.context.prompts.guided(QUESTION, h), Continuation("\\boxed{4}")) for h in hints]
    logprobs = [sum(Bigrams.of(asked, text.text).values) for asked, text in weak.asked]
    assert scores[0].debug["logprobs"] == logprobs
    chances = [math.exp(value) for value in logprobs]
    savg, sew = averages(chances, "reference")
    assert math.isclose(scores[0].score, 0.5 * savg + 0.5 * sew)
    assert (scores[2].score, scorer.explain(scores[2])) == (0.0, "no steps")
    assert select(record.candidates, scores, scorer)[0].sample == 0  # equal scores: the shorter reasoning


async def test_likelihood_tells_scores_apart_that_no_float_can_hold() -> None:
    class Unlikely:
        async def complete(self, prompt: Prompt, /) -> Completion:
            low = -900.0 if "better" in prompt.messages[0].content else -1000.0
            return Completion(text="", logprobs=Logprobs([low], [9]))

    record = traced(candidate(0, "a", steps=("## plain",)), candidate(1, "a b c", steps=("## better one of all",)))
    scorer = scorer_on("likelihood", Unlikely())
    scores = await scorer(record)
    assert [found.score for found in scores] == [0.0, 0.0]
    assert select(record.candidates, scores, scorer)[0].sample == 1


@pytest.mark.parametrize("name", ["grape", "rsr", "local_naturalness", "ifd"])
async def test_what_cannot_be_measured_loses_wherever_it_stands_and_says_why(name: str) -> None:
    three = [candidate(0, "we add."), candidate(1, "so huge a text."), candidate(2, "  ")]
    for order in permutations(three):
        scorer = scorer_on(name, Bigrams())
        scores = await scorer(traced(*order))
        chosen, best = select(order, scores, scorer)
        assert (chosen.sample, best.is_bound) == (0, False)
        said = {c.sample: scorer.explain(s) for c, s in zip(order, scores, strict=True)}
        assert (said[1], said[2]) == ("too long for the weak LLM", "no reasoning")
        assert all(found.score >= best.score for found in scores)  # a bound is above what it bounds


@pytest.mark.parametrize("name", NAMES)
async def test_a_question_fails_if_nothing_of_it_can_be_measured(name: str) -> None:
    record = traced(candidate(0, "so huge", steps=("## huge step",)), candidate(1, "huge too", steps=("## huge",)))
    with pytest.raises(RecordError) as caught:
        await scorer_on(name, Bigrams(), n_mask=1)(record)
    assert caught.value.kind == "context_overflow"


async def test_a_hint_without_room_is_a_probability_of_zero() -> None:
    steps = ("## Add\nhuge", "## Final Answer\n4")
    scorer = scorer_on("likelihood", Bigrams(), n_mask=2)
    (found,) = await scorer(traced(candidate(0, "a", steps=steps)))
    assert found.debug["logprobs"][0] is None
    assert found.debug["logprobs"][1] < 0
    assert scorer.explain(found).startswith("P(answer) by mask level: no room, ")


@pytest.mark.parametrize("name", NAMES)
async def test_another_failure_of_the_weak_llm_is_the_questions(name: str) -> None:
    class Broken:
        async def complete(self, _prompt: Prompt, /) -> Completion:
            raise Transient("engine_error", "gone", endpoint="weak")

    with pytest.raises(Transient):
        await scorer_on(name, Broken())(traced(candidate(0, "a", steps=("## s",)), candidate(1, " ", steps=("## t",))))


@pytest.mark.parametrize("name", NAMES)
async def test_an_endpoint_that_answers_with_a_text_instead_stops_the_run(name: str) -> None:
    class Talks:
        async def complete(self, _prompt: Prompt, /) -> Completion:
            return Completion(text="4")

    with pytest.raises((RunStopped, ExceptionGroup)) as caught:
        await scorer_on(name, Talks())(traced(candidate(0, "a", steps=("## s",))))
    for error in single_errors(caught.value):
        assert isinstance(error, RunStopped)
        assert "without the log-probabilities" in str(error)
