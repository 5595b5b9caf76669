"""Step-Mask arithmetic: the published vectors, and laws that hold for every trace."""

import math

import pytest
from hypothesis import given, strategies as st

from workers.scorers.masking import CONTINUED, HIDDEN_ANSWER, Normalization, hint, mask_step, score
from workers.trace_steps import split_steps

VECTORS = [
    ((1, 1, 1, 1, 1, 1), 0.600000, 1.000000),
    ((0, 0, 0, 0, 0, 0), 0.000000, 0.000000),
    ((1, 0, 0, 0, 0, 0), 0.086458, 0.098958),
    ((0, 0, 0, 0, 0, 1), 0.133333, 0.333333),
    ((1, 1, 1, 0, 0, 0), 0.262500, 0.312500),
    ((0, 0, 0, 1, 1, 1), 0.337500, 0.687500),
    ((1, 1, 1, 1, 1, 0), 0.466667, 0.666667),
    ((1, 0, 1, 0, 1, 0), 0.284375, 0.421875),
]
STEP = "## Step 1: add\n2 + 2 = 4"
bits = st.lists(st.integers(0, 1), min_size=1, max_size=12)
modes: st.SearchStrategy[Normalization] = st.sampled_from(["reference", "unit"])


@pytest.mark.parametrize(("s_list", "reference", "unit"), VECTORS)
def test_scores_agree_with_the_published_vectors(s_list: tuple[int, ...], reference: float, unit: float) -> None:
    assert score(s_list, beta=0.5, normalization="reference").score == pytest.approx(reference, abs=5e-7)
    assert score(s_list, beta=0.5, normalization="unit").score == pytest.approx(unit, abs=5e-7)


@pytest.mark.parametrize(("level", "kept"), [(1, "## Step 1: add\n2 + 2"), (5, "## S")])
def test_a_masked_step_keeps_its_published_beginning(level: int, kept: str) -> None:
    assert mask_step(STEP, level, 6) == kept + CONTINUED


def test_level_0_leaves_a_step_whole() -> None:
    assert mask_step(STEP, 0, 6) == STEP


@pytest.mark.parametrize("title", ["## Final Answer\n4", "## FINAL ANSWER: 4", "  ## final answer is 4"])
def test_the_final_answer_is_hidden_at_every_level(title: str) -> None:
    assert {mask_step(title, level, 6) for level in range(6)} == {HIDDEN_ANSWER}


@given(st.text(max_size=200), st.integers(1, 12), st.data())
def test_a_mask_keeps_a_beginning_of_the_published_length(step: str, n: int, data: st.DataObject) -> None:
    level = data.draw(st.integers(0, n - 1))
    step = "# " + step  # never a final answer
    masked = mask_step(step, level, n)
    kept = masked if level == 0 else masked.removesuffix(CONTINUED)
    assert step.startswith(kept)
    assert len(kept) == len(step) - math.ceil((level / n) * len(step))


@pytest.mark.slow
@given(st.text(), st.integers(2, 12))
def test_a_heavier_mask_never_shows_more(step: str, n: int) -> None:
    shown = [len(mask_step("# " + step, level, n).removesuffix(CONTINUED)) for level in range(n)]
    assert shown == sorted(shown, reverse=True)


@given(bits, st.floats(0, 1), modes)
def test_a_score_lies_between_those_of_no_bit_and_of_every_bit(
    s_list: list[int], beta: float, mode: Normalization
) -> None:
    lowest = score([0] * len(s_list), beta=beta, normalization=mode).score
    highest = score([1] * len(s_list), beta=beta, normalization=mode).score
    assert lowest - 1e-12 <= score(s_list, beta=beta, normalization=mode).score <= highest + 1e-12


@given(bits, st.floats(0, 1), modes, st.data())
def test_surviving_one_more_level_never_lowers_a_score(
    s_list: list[int], beta: float, mode: Normalization, data: st.DataObject
) -> None:
    level = data.draw(st.integers(0, len(s_list) - 1))
    more = [*s_list[:level], 1, *s_list[level + 1 :]]
    assert (
        score(more, beta=beta, normalization=mode).score >= score(s_list, beta=beta, normalization=mode).score - 1e-12
    )


@pytest.mark.slow
@given(st.integers(2, 12), modes, st.data())
def test_of_two_levels_the_heavier_mask_counts_more(n: int, mode: Normalization, data: st.DataObject) -> None:
    light = data.draw(st.integers(1, n - 1))
    heavy = data.draw(st.integers(light, n - 1))

    def only(level: int) -> float:
        return score([int(i == level) for i in range(n)], beta=0.5, normalization=mode).score

    assert only(light) <= only(heavy)


@given(st.integers(2, 12))
def test_a_perfect_trace_scores_1_in_unit_normalisation(n: int) -> None:
    assert score([1] * n, beta=0.5, normalization="unit").score == pytest.approx(1.0)


def test_a_trace_without_steps_scores_0() -> None:
    empty = score([], beta=0.5, normalization="reference")
    assert (empty.score, empty.s_list, empty.savg, empty.sew) == (0.0, (), 0.0, 0.0)


def test_steps_start_at_subtitles_and_what_precedes_the_first_is_none() -> None:
    text = "Sure!\n## Step 1\nadd\n### detail\n## Step 2 \n\nmultiply\n\n## Final Answer\n12\n"
    assert split_steps(text) == ("## Step 1\nadd\n### detail", "## Step 2 \n\nmultiply", "## Final Answer\n12")


@pytest.mark.parametrize("text", ["", "no steps at all", "##no space", " ## indented", "a\r## b"])
def test_text_without_a_subtitle_at_the_start_of_a_line_has_no_steps(text: str) -> None:
    assert split_steps(text) == ()


def test_a_hint_joins_masked_steps_with_a_blank_line() -> None:
    assert hint((STEP, "## Final Answer\n4"), 1, 6) == f"## Step 1: add\n2 + 2{CONTINUED}\n\n{HIDDEN_ANSWER}"


@pytest.mark.parametrize(
    "title",
    [
        "## **Final Answer**",
        "##  Final Answer",
        "## Step 5: Final Answer",
        "## 最终答案",
        "## **最终答案：42**",
        "## Step 12 - **Final Answer:** 42",
        "## 5. Final Answer",
        "## The Final Answer",
        "## _FINAL ANSWER_",
        "## ✅ Final Answer",
        "## 步骤5：最终答案",
        "## Conclusion: Final Answer",
    ],
)
def test_the_final_answer_is_hidden_in_any_dress(title: str) -> None:
    step = f"{title}\n42"
    assert {mask_step(step, level, 6) for level in range(6)} == {HIDDEN_ANSWER}
    assert mask_step(step, 0, 6, rules=1) == step
    assert hint(split_steps(f"## Step 1\nadd\n{step}"), 0, 6) == f"## Step 1\nadd\n\n{HIDDEN_ANSWER}"


@pytest.mark.parametrize(
    "title",
    ["## Step 3: Check the final answer", "## Finally", "### Final Answer", "## Step 5", "##Final Answer"],
)
def test_a_title_that_does_not_state_the_answer_is_masked_as_any_other(title: str) -> None:
    assert mask_step(f"{title}\n42", 0, 6) == f"{title}\n42"


FENCED = "## Step 1\n```python\n## a comment\nx = 1\n```\nso x\n## Final Answer\n1"


def test_a_heading_in_a_code_fence_is_no_step() -> None:
    assert split_steps(FENCED) == (FENCED[: FENCED.index("\n## Final")], "## Final Answer\n1")
    assert len(split_steps(FENCED, rules=1)) == 3
    tildes = FENCED.replace("```", "~~~~")
    assert len(split_steps(tildes)) == 2


def test_a_fence_that_never_closes_hides_no_step() -> None:
    assert len(split_steps(FENCED.replace("\n```\nso", "\nso"))) == 3


@pytest.mark.parametrize(
    ("level", "n", "length", "kept"), [(11, 20, 100, 44), (11, 20, 200, 89), (9, 11, 77, 13), (7, 12, 108, 44)]
)
def test_a_mask_cuts_one_character_more_where_the_reference_s_floating_point_does(
    level: int, n: int, length: int, kept: int
) -> None:
    """11 / 20 * 100 is 55.00000000000001 there, and 56 characters are cut."""
    step = "# " + "x" * (length - 2)
    assert mask_step(step, level, n) == step[:kept] + CONTINUED


@pytest.mark.slow
@given(st.lists(st.sampled_from([0, 1, None]), min_size=1, max_size=12), st.floats(0, 1), modes)
def test_an_open_bit_counts_as_reached_so_the_score_is_an_upper_bound(
    s_list: list[int | None], beta: float, mode: Normalization
) -> None:
    found = score(s_list, beta=beta, normalization=mode)
    at_most = score([1 if bit is None else bit for bit in s_list], beta=beta, normalization=mode)
    assert (found.score, found.savg, found.sew) == (at_most.score, at_most.savg, at_most.sew)
    assert found.s_list == tuple(s_list), "what is not known stays so"
    assert (found.is_bound, at_most.is_bound) == (None in s_list, False)


def test_an_open_bit_is_worth_its_published_share() -> None:
    found = score((None, 0, 0, 0, 0, None), beta=0.5, normalization="reference")
    assert found.score == pytest.approx(0.086458 + 0.133333, abs=1e-6)
    assert found.is_bound
