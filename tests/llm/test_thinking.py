"""Thinking is separated from the answer in every form in which a model or its server marks it."""

import time
from typing import Any

import msgspec
import pytest

from weak2wise.llm.http.responses import parse_reply
from weak2wise.llm.http.stream import Stream
from weak2wise.llm.model import Completion
from weak2wise.llm.thinking import split_thinking, without_tags, without_thinking

HARMONY = (
    "<|channel|>analysis<|message|>2 + 2<|end|><|start|>assistant<|channel|>commentary<|message|>is<|end|>"
    "<|start|>assistant<|channel|>final<|message|>4<|return|>"
)


@pytest.mark.parametrize(
    ("text", "thinking", "answer"),
    [
        ("[THINK]2 + 2[/THINK]4", "2 + 2", "4"),
        ("<thought>\n2 + 2\n</thought>\n4", "2 + 2", "4"),
        ("<thinking>2 + 2</thinking>4", "2 + 2", "4"),
        ("<seed:think>2 + 2</seed:think>4", "2 + 2", "4"),
        ("2 + 2[/THINK]4", "2 + 2", "4"),
        ("<thought>cut off", "cut off", ""),
        ("<think>2</think>\n<think>+ 2</think>\n4", "2\n\n+ 2", "4"),
        (HARMONY, "2 + 2\n\nis", "4"),
        ("<|channel|>analysis<|message|>cut off", "cut off", ""),
        ("<|channel|>final<|message|>4", None, "4"),
        ("analysis2 + 2assistantfinal4", "2 + 2", "4"),
        ("analysis of the sum: 4", None, "analysis of the sum: 4"),
        ("so assistantfinal4", None, "so assistantfinal4"),
        ("<|start|>assistant" + HARMONY, "2 + 2\n\nis", "4"),
        ("<|start|>assistant<|channel|>final<|message|>4<|end|>more<|end|>", None, "4"),
        ("<|channel|> final <|message|> 4 ", None, "4"),
        ("<|channel|>final<|message|>4<|end|><|channel|>final<|message|>5", None, "4\n\n5"),
        ("2 + 2</think> [/THINK] 4", "2 + 2", "[/THINK] 4"),
        ("2 [/THINK] + 2</think> 4", "2", "+ 2</think> 4"),
        ("</think>4", "", "4"),
        ("<think></think>4", "", "4"),
        ("  <think> 2 + 2 </think>  4  ", "2 + 2", "4  "),
        ("<think>2 + 2</think>4<think>no</think>", "2 + 2", "4<think>no</think>"),
        ("<thinking>2</thinking><think>+ 2</think>4", "2\n\n+ 2", "4"),
        ("<think>2 + 2</thinking>4", "2 + 2</thinking>4", ""),
        ("◁think▷2 + 2◁/think▷4", "2 + 2", "4"),
        ("2 + 2◁/think▷4", "2 + 2", "4"),
        ("<longcat_think>2 + 2</longcat_think>4", "2 + 2", "4"),
        (" 4 / 2 </b> [/x] ", None, " 4 / 2 </b> [/x] "),
        ("Write <thought>x</thought> here.", None, "Write <thought>x</thought> here."),
        ("The [THINK] tag ends in [/THINK].", None, "The [THINK] tag ends in [/THINK]."),
    ],
)
def test_each_markup_is_split(text: str, thinking: str | None, answer: str) -> None:
    assert split_thinking(text) == (thinking, answer)


@pytest.mark.parametrize(
    "shape",
    [
        "<think>",
        "<think></think>",
        "</think>",
        "<|channel|>",
        "<|channel|>analysis<|message|>",
        "analysis",
        "<",
        "[THINK",
        " ",
        "<|start|><|end|>",
    ],
)
def test_splitting_takes_time_in_proportion_to_the_text(shape: str) -> None:
    def seconds(size: int) -> float:
        text = shape * (size // len(shape))
        began = time.process_time()
        for start in ("", "<|channel|>", "<think>", "analysis"):
            split_thinking(start + text)
        return time.process_time() - began

    assert seconds(300_000) < 10 * max(seconds(30_000), 0.01) + 0.5


MESSAGES: list[tuple[dict[str, Any], str | None]] = [
    ({"content": "<think>2 + 2</think>4", "reasoning": ""}, "2 + 2"),
    ({"content": "<think>2 + 2</think>4", "reasoning_content": "\n"}, "2 + 2"),
    ({"content": "4", "reasoning": "<think>\n2 + 2\n</think>"}, "2 + 2"),
    ({"content": "4", "reasoning": "2 + 2</think>"}, "2 + 2"),
    ({"content": "<think>2 + 2</think>\n4", "reasoning": "2 + 2"}, "2 + 2"),
    ({"content": "</think>\n4", "reasoning": "2 + 2"}, "2 + 2"),
    ({"content": "4", "reasoning_content": "", "reasoning": "2 + 2"}, "2 + 2"),
    ({"content": "4", "reasoning_details": [{"type": "reasoning.text", "text": "2 + "}, {"text": "2"}]}, "2 + 2"),
    ({"content": "4", "reasoning_details": [{"type": "reasoning.summary", "summary": "2 + 2"}]}, "2 + 2"),
    ({"content": "4", "reasoning_details": [{"type": "reasoning.encrypted", "data": "xyz"}]}, None),
    ({"content": "4", "thinking_blocks": [{"type": "thinking", "thinking": "2 + 2", "signature": "x"}]}, "2 + 2"),
    ({"content": "4", "thinking": "2 + 2"}, "2 + 2"),
    (
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "2 + 2"}]},
                {"type": "text", "text": "4"},
            ]
        },
        "2 + 2",
    ),
    ({"content": [{"type": "thinking", "thinking": "2 + 2"}, {"type": "text", "text": "4"}]}, "2 + 2"),
    ({"content": [{"type": "reasoning", "text": "2 + 2"}, {"type": "output_text", "text": "4"}]}, "2 + 2"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize(("message", "thinking"), MESSAGES)
def test_thinking_is_found_in_each_field_and_never_twice(
    message: dict[str, Any], thinking: str | None, stream: bool
) -> None:
    completion = streamed(message) if stream else whole(message)
    assert (completion.text, completion.reasoning) == ("4", thinking)


def test_an_answer_that_speaks_of_tags_is_left_as_it_is_beside_thinking_of_its_own() -> None:
    said = "<think> is a tag."
    assert whole({"content": said, "reasoning": "what is it"}).text == said


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        (" <think> 2 + 2 </think> ", "2 + 2"),
        ("<think>2 + 2", "2 + 2"),
        ("2 + 2 </think>\n", "2 + 2"),
        ("<think> is a tag </think> so 2", "is a tag </think> so 2"),
        ("a <think> b </think>", "a <think> b </think>"),
        (" 2 + 2 ", " 2 + 2 "),
    ],
)
def test_thinking_that_is_given_apart_loses_the_tags_around_it_and_nothing_else(given: str, clean: str) -> None:
    assert without_tags(given) == clean


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("<think>2 + 2</think> 4", "4"),
        (" </think> 4", "4"),
        (HARMONY, "4"),
        ("so 2 + 2 </think> 4", "so 2 + 2 </think> 4"),
        ("<think>only this", "<think>only this"),
        (" 4 ", " 4 "),
    ],
)
def test_an_answer_beside_thinking_of_its_own_loses_only_thinking_at_its_beginning(content: str, answer: str) -> None:
    assert without_thinking(content) == answer


def whole(message: dict[str, Any]) -> Completion:
    return parse_reply(msgspec.json.encode({"choices": [{"message": message, "finish_reason": "stop"}]}), "e")


def streamed(message: dict[str, Any]) -> Completion:
    stream = Stream("e")
    for choice in ({"delta": message}, {"delta": {}, "finish_reason": "stop"}):
        stream.feed(b"data: " + msgspec.json.encode({"choices": [choice]}) + b"\n\n")
    return stream.completion()
