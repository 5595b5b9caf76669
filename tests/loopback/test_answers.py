"""What the loopback models answer: repeatable, each in its role, and fit for the method's own prompts."""

import math

import pytest

from tests.loopback import Answer, answer_to, make_question
from tests.loopback.asking import chat
from weak2wise.config import PromptTexts
from workers.prompts import Prompts

PROMPTS = Prompts.of(PromptTexts())
QUESTION, ANSWER = make_question(12)


def traced(model: str, i: int = 12, seed: int = 1) -> Answer:
    question, answer = make_question(i)
    return answer_to(chat(model, question, answer, PROMPTS.cgen, seed=seed))


def test_questions_differ_and_hold_what_their_answer_follows_from() -> None:
    made = [make_question(i) for i in range(500)]
    assert len({question for question, _ in made}) == 500
    question, answer = made[7]
    left, right = (int(word.strip("?")) for word in question.split() if word.strip("?").isdigit())
    assert str(left + right) == answer
    assert made == [make_question(i) for i in range(500)]


def test_the_weak_model_solves_the_share_it_is_told_to() -> None:
    for solve in (0.0, 0.3, 1.0):
        solved = 0
        for question, answer in map(make_question, range(1000)):
            solved += f"\\boxed{{{answer}}}" in answer_to(chat("weak", question), solve=solve).content
        assert math.isclose(solved / 1000, solve, abs_tol=0.06)


def test_more_of_a_hint_helps_the_weak_model_more() -> None:
    """The share solved rises with the hint left, at every mask level but for noise."""
    shares = []
    for left in (20, 200, 800, 3000):
        hint = "## Step 1: think\n" + "word " * (left // 5) + "(to be continued...)"
        solved = 0
        for i, (question, answer) in enumerate(map(make_question, range(400))):
            solved += f"\\boxed{{{answer}}}" in answer_to(chat("weak", PROMPTS.guided(question, hint), seed=i)).content
        shares.append(solved / 400)
    assert shares == sorted(shares)
    assert shares[0] < 0.5 < shares[-1] < 1


def test_draws_of_one_chat_differ_by_seed_and_greedy_ones_do_not() -> None:
    turns = (QUESTION, ANSWER, PROMPTS.cgen)
    warm = {answer_to(chat("strong-a", *turns, seed=seed)).content for seed in range(5)}
    greedy = {answer_to(chat("strong-a", *turns, seed=seed, temperature=0)).content for seed in range(5)}
    assert (len(warm), len(greedy)) == (5, 1)


@pytest.mark.parametrize("model", ["strong", "strong-a", "strong-b", "strong-c", "strong-d"])
def test_strong_models_write_steps_and_show_their_thinking_each_in_its_own_way(model: str) -> None:
    for i in range(50):
        said = traced(model, i)
        thinking, content = said.reasoning, said.content
        if model == "strong-c":
            assert thinking is None
            assert content.startswith("<think>\n")
            thinking, _, content = content.removeprefix("<think>\n").partition("\n</think>\n\n")
        subtitles = [line for line in content.splitlines() if line.startswith("## ")]
        assert len(subtitles) >= 3
        assert subtitles[-1] == "## Final Answer"
        assert said.reasoning_key == ("reasoning" if model == "strong-b" else "reasoning_content")
        if model == "strong-d":
            assert thinking is None
        else:
            assert thinking is not None
            assert 200 < len(thinking) < 1700
            before, _, after = thinking.partition("Wait, let me check")
            assert make_question(i)[1] in before
            assert make_question(i)[1] in after


def test_traces_grow_with_the_length_asked_for() -> None:
    request = chat("strong-a", QUESTION, ANSWER, PROMPTS.cgen, seed=3)
    short, long = (answer_to(request, trace_chars=chars) for chars in (1500, 30_000))
    for a, b in ((short.reasoning, long.reasoning), (short.content, long.content)):
        assert a is not None
        assert b is not None
        assert 10 < len(b) / len(a) < 30


@pytest.mark.parametrize(
    ("attempt", "correct", "verdict"),
    [
        ("Say 12. The answer is \\boxed{1,905}.", "1905", "Yes"),
        ("The answer is \\boxed{1906}, not 1905", "1905", "No"),
        ("It comes to 1905.0", "1905", "Yes"),
        ("## Attempt\nno box, 7 or 8\n## Correct Answer\n8", "8", "Yes"),
        ("Paris", "paris", "Yes"),
        ("", "8", "No"),
    ],
)
def test_the_judge_compares_what_an_attempt_ends_with(attempt: str, correct: str, verdict: str) -> None:
    said = answer_to(chat("judge", PROMPTS.judge("A question?", attempt, correct))).content
    assert said.splitlines()[-1] == verdict


def test_the_truncation_model_copies_up_to_the_answer_or_quotes_that_sentence() -> None:
    for i in range(50):
        said, answer = traced("strong-a", i), make_question(i)[1]
        assert said.reasoning is not None
        kept = answer_to(chat("trunc", PROMPTS.rewrite(said.reasoning, answer))).content
        quoted = answer_to(chat("trunc", PROMPTS.anchor(said.reasoning, answer))).content
        assert said.reasoning.startswith(kept)
        assert kept.endswith(f" = {answer}.")
        assert kept.count(answer) == 1
        assert kept.endswith(quoted)
        assert len(quoted) < 40


def test_truncation_without_the_answer_in_the_text_gives_the_whole_text() -> None:
    prompt = PROMPTS.rewrite("One thing. Then 1234 or 123.4 or a123.", "123")
    assert answer_to(chat("trunc", prompt)).content == "One thing. Then 1234 or 123.4 or a123."
