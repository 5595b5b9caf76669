"""An answer that goes round in circles ends with the same token as by vLLM's own check, however its tokens arrive."""

import random
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from weak2wise.llm.vllm.repetition import COPIES, LONGEST, SHORTEST, Repetition

DATA = Path(__file__).resolve().parent.parent / "data"
Check = Callable[[list[int]], bool]


def by_the_rule(tokens: list[int]) -> bool:
    """The rule, word for word: the end of the tokens is ``COPIES`` times the same pattern."""
    for size in range(SHORTEST, LONGEST + 1):
        tail = tokens[-COPIES * size :]
        if len(tail) == COPIES * size and tail == tail[:size] * COPIES:
            return True
    return False


@pytest.fixture(scope="module")
def by_vllm() -> Check:
    """The function of vLLM's own."""
    check = import_module("vllm.v1.core.sched.utils").check_sequence_repetition
    repetition = import_module("weak2wise.llm.vllm.engine").REPETITION
    return lambda tokens: bool(check(tokens, repetition))


def first(tokens: list[int], ended: Check) -> int | None:
    """How many tokens there are when a check after every token first says that the answer is over."""
    return next((number for number in range(1, len(tokens) + 1) if ended(tokens[:number])), None)


def found(tokens: list[int], rng: random.Random) -> int | None:
    """The same by our own, with deliveries of any size."""
    repetition, at = Repetition(), 0
    while at < len(tokens):
        size = rng.choice((1, 3, 16, 51, 300))
        if repetition.extend(tokens[at : at + size]):
            break
        at += size
    return repetition.end


@st.composite
def answers(draw: st.DrawFn) -> list[int]:
    """Runs of the same pattern, whole or broken off, with or without one token changed, and other tokens between."""
    tokens: list[int] = []
    for _ in range(draw(st.integers(1, 3))):
        tokens += draw(st.lists(st.integers(0, 2), max_size=90))
        rng = random.Random(draw(st.integers(0, 2**32)))
        size, kinds = draw(st.integers(1, LONGEST + 9)), draw(st.sampled_from((1, 2, 5, 1000)))
        pattern = [rng.randrange(kinds) for _ in range(size)]
        run = (pattern * (COPIES + 1))[: draw(st.integers(0, (COPIES + 1) * size))]
        is_changed = draw(st.booleans())
        if run and is_changed:
            run[draw(st.integers(0, len(run) - 1))] = 7
        tokens += run
    return tokens


@pytest.mark.slow
@settings(max_examples=150)
@given(answers(), st.randoms(use_true_random=False))
def test_an_answer_ends_where_the_rule_says(tokens: list[int], rng: random.Random) -> None:
    assert found(tokens, rng) == first(tokens, by_the_rule)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, deadline=None)
@given(answers(), st.randoms(use_true_random=False))
def test_an_answer_ends_where_vllm_would_end_it(by_vllm: Check, tokens: list[int], rng: random.Random) -> None:
    assert found(tokens, rng) == first(tokens, by_vllm)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.filterwarnings("ignore")
def test_texts_that_were_recorded_end_where_vllm_would_end_them(by_vllm: Check) -> None:
    """Answers of real models, as bytes: as they are, and as they would be had they gone round in circles from there."""
    lines = (DATA / "judge.jsonl").read_text().splitlines() + [
        line
        for file in sorted((DATA / "run-171ecf7/outputs").glob("*.jsonl"))
        for line in file.read_text().splitlines()
    ]
    rng = random.Random(0)
    ended = 0
    for line in rng.sample(lines, 60):
        tokens = list(line.encode()[:500])
        loop = tokens[-rng.randrange(1, LONGEST + 9) :]
        for answer in (tokens, tokens + 5 * loop):
            end = first(answer, by_vllm)
            assert found(answer, rng) == end
            ended += end is not None
    assert ended > 30


def test_a_loop_of_any_length_up_to_a_paragraph_is_ended_and_a_list_is_not() -> None:
    """After four times the pattern, or of a short one as many as make 68 tokens."""
    start = list(range(1000, 1050))
    for period in range(1, LONGEST + 1):
        repetition = Repetition()
        assert repetition.extend(start + 600 * list(range(period)))
        assert repetition.end is not None
        assert 68 <= repetition.end - len(start) <= max(4 * period, 128)
    assert not Repetition().extend([token for number in range(300) for token in (*range(20), 100 + number)])
    assert not Repetition().extend(start + 3 * list(range(100)))
    assert not Repetition().extend(start + 600 * list(range(LONGEST + 1)))


@pytest.mark.parametrize(("finish_reason", "more", "kept"), [
    ("stop", 0, (80, "stop")),
    ("length", 0, (80, "length")),
    ("stop", 1, (80, "repetition")),
    ("length", 9, (80, "repetition")),
    (None, 0, (80, "repetition")),
    (None, 9, (80, "repetition")),
    ("abort", 0, (80, "repetition")),
])  # fmt: skip
def test_an_answer_is_what_it_would_be_if_each_token_were_looked_at(
    finish_reason: str | None, more: int, kept: tuple[int, str]
) -> None:
    """It asks first whether the model or the limit ended it. What came after the loop is not part of the answer."""
    repetition = Repetition()
    assert repetition.extend(4 * list(range(20)) + [5] * more)
    tokens, reason = repetition.kept(finish_reason)
    assert (len(tokens), reason) == kept


@pytest.mark.parametrize("finish_reason", ["stop", "length", "abort", None])
def test_an_answer_without_a_loop_is_kept_as_it_ended(finish_reason: str | None) -> None:
    repetition = Repetition()
    assert not repetition.extend(list(range(100)))
    assert repetition.kept(finish_reason) == (list(range(100)), finish_reason)
