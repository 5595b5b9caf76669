"""What the report makes of texts, formulas and numbers."""

import re
import time
from typing import Any

import pytest

from weak2wise.outputs.report.charts import mark
from weak2wise.outputs.report.spread import doubling, even
from weak2wise.outputs.report.text import answer, escape, prose, title
from weak2wise.outputs.report.traces import end_of_prefix


def test_what_is_no_mathematics_stays_text_and_what_is_is_drawn() -> None:
    assert prose("It costs $5 and not $6.") == "It costs $5 and not $6."
    assert prose(r"\(\frac{\)") == r"\(\frac{\)"
    assert "<mfrac>" in prose(r"so \(\frac{1}{2}\)")
    assert '<menclose notation="box">' in prose(r"thus \boxed{42}.")
    assert '<menclose notation="updiagonalstrike">' in prose(r"so \(\cancel{x}\)")
    assert "<msqrt>" in prose(r"thus \boxed{\frac{\sqrt{2}}{2}}.")
    assert prose(r"\(a & b\)") == r"\(a &amp; b\)", "columns, but of what?"
    assert "&" in prose(r"\(a \& b\)")


@pytest.mark.parametrize("lines", ["align*", "aligned", "gathered", "gather", "split", "eqnarray*", "multline"])
@pytest.mark.parametrize("around", ["$$%s$$", r"so \[%s\]", "and\n%s"])
def test_formulas_of_several_lines_are_drawn_as_such(lines: str, around: str) -> None:
    drawn = prose(around % rf"\begin{{{lines}}} x + y &= 3 \\ y &= \frac{{1}}{{2}} \end{{{lines}}}")
    if lines == "split" and "%s" in around[-2:]:
        assert "<math" not in drawn, "no environment of its own"
        return
    assert drawn.count("<mtr>") == 2
    assert "&amp;" not in drawn
    assert 'display="block"' in drawn


def test_spaces_in_formulas_are_as_wide_as_they_are_and_never_negative() -> None:
    drawn = prose(r"\(a \quad b \, c \hspace{1.5em} d \hspace{-30em} e \hspace{9999em} f\)")
    assert re.findall(r"<mspace[^>]*>", drawn) == [
        '<mspace width="1em">',
        '<mspace width="0.167em">',
        '<mspace width="1.5em">',
        *["<mspace>"] * 2,
    ]


def test_an_answer_that_is_a_formula_is_drawn() -> None:
    """The answers of MATH have no delimiters; a whole solution as an answer has words."""
    assert "<mfrac>" in answer(r"\frac{3}{2}")
    assert "<mtext>Evelyn</mtext>" in answer(r"\text{Evelyn}")
    assert "<mtable>" in answer(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}")
    assert answer("C:\\windows") == "C:\\windows"
    assert answer(r"it is \frac{3}{2} then") == r"it is \frac{3}{2} then"
    assert "<b>" not in answer(r"\frac{<b>")
    assert "<mfrac>" in answer(r"So it is $\frac{3}{2}$.")


def test_a_title_draws_its_formulas_and_cuts_through_none() -> None:
    assert "<mfrac>" in title(r"What is $\frac{1}{2}$?", 20)
    assert title(r"Find the root of \[x^2 + 1\] then", 40).count("<math") == 1
    assert "block" not in title(r"Find \[x^2\] now")
    assert title("word " * 30 + r"$\frac{" + "1" * 400 + "}{2}$", 160) == "word " * 30 + "…"
    assert title("<b>" * 100, 10) == "&lt;b&gt;" * 3 + "…"


@pytest.mark.slow
def test_a_text_made_to_take_for_ever_does_not() -> None:
    for piece in (r"\boxed{", r"\boxed{{", r"\begin{align*}", "$x", r"\[", r"\boxed{{{}", r"\boxed{{x}"):
        began = time.process_time()
        prose(piece * 20_000)
        assert time.process_time() - began < 5
    assert escape("<\x1b>") == "&lt;⟨U+001B⟩&gt;"


def test_the_cut_is_found_although_white_space_differs() -> None:
    whole = "First, add.\n\n So  4. Wait, check."
    end = end_of_prefix(whole, "First, add. So 4.")
    assert whole[:end] == "First, add.\n\n So  4."
    assert end_of_prefix(whole, "Another text") is None


@pytest.mark.parametrize("spread", [even, doubling])
def test_every_number_is_in_one_bin(spread: Any) -> None:
    lots = [[1, 2, 3, 700, 100_000], [5, 5]] if spread is doubling else [[0.0, 0.1, 0.6], []]
    counts, edges = spread(lots)
    assert [sum(row) for row in counts] == [len(lot) for lot in lots]
    assert len(edges) == len(counts[0]) + 1


def test_twelve_strong_models_have_marks_of_their_own() -> None:
    assert len({mark(number, 0, 0) for number in range(12)}) == 12
