"""The strict reading: an answer counts only in a format that could be asked for."""

import pytest
from hypothesis import given, settings, strategies as st

from workers.answers import quick_verdict
from workers.answers.strict import in_strict_format

IN_FORMAT = [
    "The answer is \\boxed{42}.",
    "So it is\n\n\\boxed{42}",
    "42",
    "$42$",
    "**42**",
    "She buys 6 * 7 things.\n#### 42",
    "I add them.\n<answer>42</answer>",
    "<think> six sevens </think> 42",
]
NOT_IN_FORMAT = [
    "",
    "The answer is 42.",
    "So she has 42 apples in the end, and that is what was asked for; nothing else is to be done here, she is happy.",
    "It is \\boxed{41} or \\boxed{42}.",
    "First \\boxed{41}.\n\nThen I see my mistake, and after a long computation it is another one:\n\n\\boxed{42}",
    "It may be \\boxed{42}, but I am not sure.",
    "\\boxed{42",
    "#### 42\nNo, wait.",
    "<think> it is \\boxed{42}",
    "I think\nit is 42",
]


@pytest.mark.parametrize("attempt", IN_FORMAT)
def test_an_answer_in_a_format_that_can_be_asked_for_counts(attempt: str) -> None:
    formatted = in_strict_format(attempt)
    assert formatted is not None
    assert quick_verdict(formatted, "42") is True
    assert quick_verdict(formatted, "43") is False


@pytest.mark.parametrize("attempt", NOT_IN_FORMAT)
def test_any_other_answer_does_not_count_even_if_it_is_right(attempt: str) -> None:
    formatted = in_strict_format(attempt)
    assert formatted is None or quick_verdict(formatted, "42") is not True


@pytest.mark.parametrize("answer", ["Paris", "the mitochondrion", "x = 3", "(B)", "yes", "$\\frac{1}{2}$", "3/4", "5%"])
def test_a_line_with_nothing_but_the_answer_is_understood_whatever_it_is(answer: str) -> None:
    """As a model says it that was trained on our data: ``<think> … </think> Paris``."""
    formatted = in_strict_format(f"<think> {answer} or not? </think> {answer}")
    assert formatted is not None
    assert quick_verdict(formatted, answer) is True


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="\\boxed{}# 42\nansweri<>/think.%", max_size=60))
def test_any_text_has_a_strict_reading_or_none(attempt: str) -> None:
    formatted = in_strict_format(attempt)
    assert formatted is None or formatted == attempt or formatted.startswith("The final answer is \\boxed{")
