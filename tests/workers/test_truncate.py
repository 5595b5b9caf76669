"""Truncation: every cut is a prefix that holds the answer, whatever the model says."""

import re

import pytest
from hypothesis import assume, given, settings, strategies as st

from weak2wise.config import PromptTexts
from weak2wise.llm.model import Completion, Prompt
from workers.answers.locate import sentences
from workers.prompts import Prompts
from workers.truncate import Cut, Mode, Truncate, anchor_end

PROMPTS = Prompts.of(PromptTexts(ptrunc="copy {normal_reasoning} until {answer}"))

TEXT = (
    "There are 16 eggs. 16 - 3 = 13 are left.\n\n13 - 4 = 9, and 9 * 2 = 18 dollars. Wait, let me check. Is it 18? Yes."
)
KEPT = "There are 16 eggs. 16 - 3 = 13 are left.\n\n13 - 4 = 9, and 9 * 2 = 18 dollars."


class Scripted:
    """A model that gives one reply and remembers what it was asked."""

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.asked: list[Prompt] = []

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.asked.append(prompt)
        return Completion(text=self.reply)


async def cut(reply: str | None, mode: Mode, text: str = TEXT, answer: str = "18") -> Cut:
    model = None if reply is None else Scripted(reply)
    return await Truncate(prompts=PROMPTS, model=model, mode=mode, temperature=0.1)(text, answer, seed=5)


async def test_rule_cuts_behind_the_first_derivation() -> None:
    assert await cut("not asked", "rule") == Cut(KEPT, "rule")


@pytest.mark.parametrize("mode", ["rewrite", "anchor", "rule"])
async def test_without_a_model_the_rule_cuts(mode: Mode) -> None:
    assert await cut(None, mode) == Cut(KEPT, "rule")


async def test_a_text_without_the_answer_stays_whole() -> None:
    assert await cut(None, "rule", answer="77") == Cut(TEXT, "whole")
    assert await cut("There are 16 eggs.", "anchor", answer="77") == Cut(TEXT, "whole")


@pytest.mark.parametrize(
    "quoted",
    [
        "13 - 4 = 9, and 9 * 2 = 18 dollars.",
        '"13 - 4 = 9, and 9 * 2 = 18 dollars."',
        "“13 – 4 = 9, and 9 * 2 = 18 dollars.”",
        "```\n13 - 4 = 9, and 9 * 2 = 18 dollars.\n```",
        "**13 - 4 = 9, and 9 * 2 = 18 dollars.**",
        "  13 - 4 = 9,\nand 9*2 = 18 dollars  ",
        "The last sentence is:\n\n13 - 4 = 9, and 9 * 2 = 18 dollars.",
        "１３ - 4 = 9, and 9 * 2 = 18 dollars.",
        "And 9 * 2 = 18 dollars.",
        "- 13 - 4 = 9, and $9 * 2 = 18$ dollars.",
        "2. 13 - 4 = 9, and \\(9 * 2 = 18\\) dollars.",
        "16 - 3 = 13 are left.\n\n13 - 4 = 9, and 9 * 2 = 18 dollars.",
    ],
)
async def test_the_quoted_sentence_is_found_however_it_is_dressed(quoted: str) -> None:
    assert await cut(quoted, "anchor") == Cut(KEPT, "anchor")


@pytest.mark.parametrize(
    "reply", ["", "Something else entirely.", "There are 16 eggs.", "8", "18", "= 18", "dollars.", "```\n```"]
)
async def test_a_useless_quote_falls_back_on_the_rule(reply: str) -> None:
    """Not in the text, before the answer, the middle of a number, or no more than a word or two of a sentence."""
    assert await cut(reply, "anchor") == Cut(KEPT, "rule")


async def test_a_sentence_that_only_mentions_the_number_is_no_derivation() -> None:
    text = "The farm starts with 18 hens. 9 * 2 = 18 dollars. Done."
    assert await cut("The farm starts with 18 hens.", "anchor", text=text) == Cut(text[:-6], "rule")
    assert await cut("9 * 2 = 18 dollars.", "anchor", text=text) == Cut(text[:-6], "anchor")


@pytest.mark.parametrize("quoted", ["so x² = 4.", "So x^2 = 4.", "So \\(x^2 = 4\\)."])
def test_exponents_capitals_and_dollar_signs_do_not_matter_to_a_quote(quoted: str) -> None:
    text = "Thus $x$ it is, and\nSo $x^2 = 4$. Done."
    assert anchor_end(text, quoted) == len(text) - len(" Done.")


async def test_a_true_copy_is_kept_as_the_model_wrote_it() -> None:
    copied = KEPT.replace("\n\n", " ")
    assert await cut(f"\n{copied}\n", "rewrite") == Cut(copied, "rewrite")


@pytest.mark.parametrize(
    "reply", ["", KEPT.replace("eggs", "ducks"), "There are 16 eggs.", KEPT + " And more.", "Here it is: " + KEPT]
)
async def test_a_false_copy_falls_back_on_the_rule(reply: str) -> None:
    assert await cut(reply, "rewrite") == Cut(KEPT, "rule")


@pytest.mark.parametrize(("mode", "begins"), [("rewrite", "copy There are"), ("anchor", "Below are")])
async def test_the_model_is_asked_once_in_one_message(mode: Mode, begins: str) -> None:
    model = Scripted("")
    await Truncate(prompts=PROMPTS, model=model, mode=mode, temperature=0.3)(TEXT, "18", seed=5)
    (prompt,) = model.asked
    (message,) = prompt.messages
    assert message.content.startswith(begins)
    assert (message.role, prompt.temperature, prompt.seed) == ("user", 0.3, 5)


def test_a_quote_ends_where_its_sentence_ends() -> None:
    """The full stop comes along; a longer number or word is another sentence's business."""
    assert anchor_end("It is 3. Then", "It is 3") == len("It is 3.")
    assert anchor_end("It is 3.14 now. It is 3.", "It is 3") == len("It is 3.14 now. It is 3.")
    assert anchor_end("So 180. So 18.", "So 18") == len("So 180. So 18.")
    assert anchor_end("So 18. So 18.", "So 18.") == len("So 18.")


texts = st.text("ab 1.8=\n'é“-–ﬁ*$", min_size=1, max_size=120)


@settings(deadline=None)
@given(text=texts, reply=texts, answer=st.sampled_from(["18", "8", "ab"]), mode=st.sampled_from(["anchor", "rewrite"]))
async def test_every_cut_is_a_prefix(text: str, reply: str, answer: str, mode: Mode) -> None:
    result = await cut(reply, mode, text=text, answer=answer)
    assert "".join(text.split()).startswith("".join(result.text.split()))
    assert result.text == result.text.strip()


@settings(deadline=None)
@given(
    data=st.data(),
    words=st.lists(st.sampled_from(["so", "x", "is", "18", "it's", "“ok”", "a–b", "=", "."]), min_size=3),
)
def test_white_space_does_not_matter_to_a_quote(data: st.DataObject, words: list[str]) -> None:
    """A quote with other white space is found as the quote itself is, and the cut is a sentence's end."""
    start = data.draw(st.integers(0, len(words) - 2))
    end = data.draw(st.integers(start + 1, len(words)))
    text = " ".join(words)
    quote = "  ".join(words[start:end])
    assume(re.search(r"\w", quote))
    found = anchor_end(text, quote)
    assert found == anchor_end(text, " ".join(words[start:end]))
    assert found in {None, *(end for _, end in sentences(text))}
    assert found is not None or end - start < len(words)


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_quote_is_searched_quickly_in_a_long_text() -> None:
    assert anchor_end("ab 18. " * 20_000, "ab  19.") is None
    assert anchor_end("a" * 100_000, "a" * 50_000 + " ") is None


OPTIONS = "The options are (A) 4, (B) 5. Let me add: 2 + 3 = 5. So the answer is (B). Wait, (A) again? No."
CHOSEN = OPTIONS[: OPTIONS.index(" Wait")]


@pytest.mark.parametrize("answer", ["B", "(B)", r"\text{(B)}", "(B) 5"])
@pytest.mark.parametrize(
    ("mode", "reply", "by"),
    [
        ("rule", None, "rule"),
        ("anchor", "The options are (A) 4, (B) 5.", "rule"),
        ("anchor", "So the answer is (B).", "anchor"),
        ("rewrite", "The options are (A) 4, (B) 5.", "rule"),
        ("rewrite", CHOSEN, "rewrite"),
    ],
)
async def test_a_list_of_options_derives_no_answer(mode: Mode, reply: str | None, by: str, answer: str) -> None:
    result = await cut(reply, mode, text=OPTIONS, answer=answer)
    assert (result.text, result.by) == (CHOSEN, by)


CODE = "First, a program.\n```python\nx = 9 * 2  # = 18\nprint(x)\n```\nIt prints 18. Wait."


@pytest.mark.parametrize(
    ("mode", "reply", "by"),
    [
        (None, None, "rule"),
        ("anchor", "x = 9 * 2  # = 18", "anchor"),
        ("rewrite", "First, a program. ```python x = 9 * 2  # = 18", "rewrite"),
    ],
)
async def test_a_cut_leaves_no_code_fence_open(mode: Mode | None, reply: str | None, by: str) -> None:
    result = await cut(reply, mode or "rule", text=CODE)
    assert (result.text, result.by) == (CODE[: CODE.index("\nIt prints")], by)


async def test_by_the_first_rules_options_and_fences_are_cut_as_before() -> None:
    first = Truncate(prompts=PROMPTS, mode="rule", rules=1)
    assert (await first(OPTIONS, "B", seed=5)).text == "The options are (A) 4, (B) 5."
    assert (await first(CODE, "18", seed=5)).text.endswith("# = 18")
