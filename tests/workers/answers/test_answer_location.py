"""Where a text derives its answer, sentence by sentence."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from tests.workers.answers.cases import HOSTILE, PIECES
from workers.answers import first_sentence_with
from workers.answers.locate import sentences

LOCATED = [
    # the first sentence that derives the answer, and not one that only mentions the number
    ("She eats 3 eggs. So 9 - 6 = 3 are left. Yes, 3.", "3", "She eats 3 eggs. So 9 - 6 = 3 are left."),
    ("16 minus 3 is 13. Then 13 - 4 = 9 remain. 9 again.", "9", "16 minus 3 is 13. Then 13 - 4 = 9 remain."),
    ("There are 140 or 3.14. Well, 14 it is. Done.", "14", "There are 140 or 3.14. Well, 14 it is."),
    ("x = 18 - 4 = 14. Again 14 + 4 = 18. Yes.", "18", "x = 18 - 4 = 14. Again 14 + 4 = 18."),
    ("We sum up to 1,200. Next.", "1200", "We sum up to 1,200."),
    (
        "It costs $5 now. It was $7 before. So 5 + 7 = $12. ok",
        "12",
        "It costs $5 now. It was $7 before. So 5 + 7 = $12.",
    ),
    ("That is \\frac{1}{2}. Done.", "0.5", "That is \\frac{1}{2}."),
    ("Hence 3√13. Done.", r"3\sqrt{13}", "Hence 3√13."),
    ("Thus $x = \\frac{\\pi}{2}$. Done.", r"\dfrac{\pi}{2}", "Thus $x = \\frac{\\pi}{2}$."),
    ("Is it Eve? No. It is Evelyn. Yes.", r"\text{Evelyn}", "Is it Eve? No. It is Evelyn."),
    ("A cat. Option B fails. So it is (C). Done.", r"\text{(C)}", "A cat. Option B fails. So it is (C)."),
    ("Line one\nthe total = 7\nline three", "7", "Line one\nthe total = 7"),
    ("Half of it, 50% it is. Done.", "0.5", "Half of it, 50% it is."),
    ("That makes 0.5. Done.", r"50\%", "That makes 0.5."),
    ("It is 50 of them. Done.", "0.5", None),
    ("Take one or two. So x equals five. Done.", "5", "Take one or two. So x equals five."),
    ("Take one or two.", "2", None),
    ("Try x = 1. Thus x = 1 and y = 2. Done.", "(1,2)", "Try x = 1. Thus x = 1 and y = 2."),
    ("Thus n = 12.\nTherefore A = {1, 2, 3}. Done.", r"\{1,2,3\}", "Thus n = 12.\nTherefore A = {1, 2, 3}."),
    ("Not {1, 2, 3, 4}. Done.", r"\{1,2,3\}", None),
    ("所以答案是 18。让我再检查一下。", "18", "所以答案是 18。"),
    ("Nothing here.", "7", None),
    ("x^{14} and a_14 and 14x.", "14", None),
]


@pytest.mark.parametrize(("text", "reference", "kept"), LOCATED)
def test_the_answer_is_located_where_it_is_derived(text: str, reference: str, kept: str | None) -> None:
    end = first_sentence_with(text, reference)
    assert (None if end is None else text[:end]) == kept


def test_sentences_end_where_a_reader_would_end_them() -> None:
    text = (
        "It is 3.5, e.g. by hand. Is it? Yes! We have $a. b$ there.\n1. First item.\n"
        "\\[\nx = 1.\n\\]\nIt cost $5. Then $6."
    )
    assert [text[start:end] for start, end in sentences(text)] == [
        "It is 3.5, e.g. by hand.",
        "Is it?",
        "Yes!",
        "We have $a. b$ there.",
        "1. First item.",
        "\\[\nx = 1.\n\\]",
        "It cost $5.",
        "Then $6.",
    ]


@settings(deadline=None)
@given(text=st.text("ab 1.?!$\\[]()\n", max_size=200))
def test_sentences_cover_everything_but_white_space(text: str) -> None:
    spans = list(sentences(text))
    assert all(start < end for start, end in spans)
    assert all(one[1] <= two[0] for one, two in pairwise(spans))
    assert re.sub(r"\s", "", "".join(text[start:end] for start, end in spans)) == re.sub(r"\s", "", text)


@pytest.mark.slow
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_locating_finds_what_is_there_and_is_quick_on_hostile_text(text: str) -> None:
    """A second is the most that it took; a search of each place from each other one takes minutes."""
    derived = "Thus $x = \\frac{\\pi}{2}$. "
    began = time.thread_time()
    for reference in ("7", r"\frac{\pi}{2}", text):
        end = first_sentence_with(text, reference)
        assert end is None or 0 < end <= len(text)
    assert first_sentence_with(derived + text, r"\frac{\pi}{2}") == len(derived.rstrip())
    assert time.thread_time() - began < 15


LATEX = [
    *PIECES,
    "{}",
    "\\frac{}{}",
    "\\frac{",
    "}{",
    "\\sqrt{}",
    "\\(",
    "\\)",
    "\\[",
    "\\]",
    "\\\\",
    "&",
    "½",
    "²",
    "٣",
    "①",
    "π",
]
LATEX += ["so ", ". ", "! ", "? ", " is ", "e.g. ", "1. ", "[[1,2],[3,4]]", "twelve", "\u2028", "\x00"]
latex = st.lists(st.sampled_from(LATEX), max_size=30).map("".join)


@pytest.mark.slow
@settings(max_examples=500, deadline=2000)
@given(latex, st.one_of(st.sampled_from(["5", "0.5", "\\frac{\\pi}{2}", "(1,2)", "B", "yes", "\\frac{}{}"]), latex))
def test_no_text_upsets_the_search_for_the_answer(text: str, reference: str) -> None:
    """Whatever a model writes: an end of a sentence or nothing, at once."""
    for end in (first_sentence_with(text, reference), first_sentence_with(text * 50, reference)):
        assert end is None or 0 < end <= 50 * len(text)


@pytest.mark.parametrize("fraction", [r"\frac{}{}", r"\frac{}{2}", r"\frac{1}{}", r"\frac{}2"])
def test_an_empty_fraction_is_no_accident(fraction: str) -> None:
    assert first_sentence_with(f"So {fraction} it is.", r"\frac{\pi}{2}") is None
    assert first_sentence_with("Nothing here.", fraction) is None


@pytest.mark.parametrize("reference", [r"(\right)", "()", "[]", r"\left(\right)"])
def test_empty_brackets_are_no_accident(reference: str) -> None:
    assert first_sentence_with("Nothing here.", reference) is None
