"""The model is trained on what the embedded engine would show it, then on the response as it is, to its end."""

import re
from collections.abc import Sequence
from typing import Any

import pytest

from weak2wise.errors import ConfigError
from weak2wise.proof.encoding import Encoder

CHATML = "<|im_start|>{role}\n{content}<|im_end|>\n"
RESPONSE = "<think> 2 + 2 = 4. </think> 4"


class Tokenizer:
    """One token for each marker, word or white space; ``template`` turns turns into text, as a model's own does."""

    def __init__(self, template: Any = None, eos: str | None = "<|im_end|>") -> None:
        self.chat_template = template
        self.known: list[str] = []
        self.eos_token_id = None if eos is None else self.id(eos)

    def id(self, text: str) -> int:
        if text not in self.known:
            self.known.append(text)
        return self.known.index(text)

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        pieces = re.findall(r"<\|\w+\|>|\s|[^\s<]+|<", text)
        return {"input_ids": [self.id(piece) for piece in ["<|bos|>"] * add_special_tokens + pieces]}

    def apply_chat_template(self, turns: list[dict[str, str]], *, add_generation_prompt: bool, tokenize: bool) -> str:
        assert not tokenize
        return str(self.chat_template(turns, add_generation_prompt))

    def text(self, tokens: Sequence[int]) -> str:
        return "".join(self.known[token] for token in tokens)


def chatml(turns: list[dict[str, str]], more: bool) -> str:
    return "".join(CHATML.format(**turn) for turn in turns) + "<|im_start|>assistant\n" * more


def dropping(turns: list[dict[str, str]], more: bool) -> str:
    """A template that removes the thinking of earlier answers, as those of reasoning models do."""
    return chatml([turn | {"content": turn["content"].split("</think>")[-1].strip()} for turn in turns], more)


def encoded(tokenizer: Tokenizer, *, bare: bool = False, stops: tuple[str, ...] = ()) -> tuple[str, str]:
    """The text that is shown, and the text that is learned."""
    encode = Encoder(tokenizer, bare=bare, stops=[tokenizer.id(stop) for stop in stops])
    found = encode(7, "What is 2 + 2?", RESPONSE)
    assert found.row == 7
    return tokenizer.text(found.tokens[: found.prompt]), tokenizer.text(found.tokens[found.prompt :])


@pytest.mark.parametrize("template", [chatml, dropping])
def test_the_response_is_learned_as_it_is_whatever_the_template_does_to_answers(template: Any) -> None:
    shown, learned = encoded(Tokenizer(template))
    assert shown == "<|im_start|>user\nWhat is 2 + 2?<|im_end|>\n<|im_start|>assistant\n"
    assert learned == f"{RESPONSE}<|im_end|>"


def test_a_base_models_answer_ends_with_the_token_at_which_the_model_stops() -> None:
    """Its template ends a turn with another one, after which it would go on."""
    assert encoded(Tokenizer(chatml, eos="<|endoftext|>"))[1] == f"{RESPONSE}<|endoftext|>"


def test_a_model_that_stops_at_its_templates_token_learns_that_one() -> None:
    tokenizer = Tokenizer(chatml, eos="<|endoftext|>")
    assert encoded(tokenizer, stops=("<|im_end|>",))[1] == f"{RESPONSE}<|im_end|>"


@pytest.mark.parametrize("template", [chatml, None])
def test_without_a_template_the_response_follows_after_a_blank_line(template: Any) -> None:
    shown, learned = encoded(Tokenizer(template), bare=template is not None)
    assert shown == "<|bos|>What is 2 + 2?"
    assert learned == f"\n\n{RESPONSE}<|im_end|>"


def test_a_model_without_an_end_is_refused() -> None:
    with pytest.raises(ConfigError, match="no eos_token"):
        Encoder(Tokenizer(None, eos=None), bare=False, stops=())
