"""Replies that no specification allows, but providers and gateways send: each is read for what it is."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from tests.loopback.fixed import saying
from tests.loopback.replies import http
from weak2wise.config import OpenAIEndpoint
from weak2wise.llm.errors import RateLimited, Transient
from weak2wise.llm.http.openai import OpenAIModel
from weak2wise.llm.http.responses import parse_reply
from weak2wise.llm.http.stream import Stream
from weak2wise.llm.model import Completion, Message, Prompt, Usage

PROMPT = Prompt(messages=(Message("user", "What is 2 + 2?"),), temperature=0.6, seed=5)
JSON, SSE = "application/json", "text/event-stream"
EVENT = b'data: {"choices": [{"delta": {"content": "4"}}]}\n\n'
END = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
WHOLE = b'{"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}'


def read(*chunks: bytes) -> Completion:
    stream = Stream("e")
    for chunk in chunks:
        stream.feed(chunk)
    return stream.completion()


def body(content: bytes, finish_reason: bytes = b'"stop"', more: bytes = b"") -> bytes:
    choice = b'{"message": {"content": ' + content + b'}, "finish_reason": ' + finish_reason + b"}"
    return b'{"choices": [' + choice + b"]" + more + b"}"


def test_an_answer_of_300_000_tokens_may_be_odd_json_too() -> None:
    said = "word " * 300_000
    assert parse_reply(body(json.dumps(said).encode(), more=b', "cost": NaN'), "e").text == said


def test_a_stream_with_done_and_no_finish_reason_is_an_answer() -> None:
    completion = read(EVENT, DONE)
    assert (completion.text, completion.finish_reason) == ("4", None)
    assert read(EVENT, b"data: [DONE]").text == "4"


@pytest.mark.parametrize(
    "delta",
    [b'{"reasoning": "2 + 2"}', b'{"content": "<think>2 + 2"}', b'{"content": " "}', b"{}"],
)
def test_a_stream_with_done_but_only_thinking_broke_off(delta: bytes) -> None:
    with pytest.raises(Transient):
        read(b'data: {"choices": [{"delta": ' + delta + b"}]}\n\n", DONE)


@pytest.mark.parametrize("cut", [1, 2])
def test_the_last_event_of_a_stream_may_lack_its_blank_line(cut: int) -> None:
    assert read(EVENT, END[:-cut]).finish_reason == "stop"
    assert read(EVENT + END[:-cut]).text == "4"


@given(st.integers(3, len(END) - 1))
def test_half_an_event_at_the_end_is_no_answer(cut: int) -> None:
    with pytest.raises(Transient, match="broke off"):
        read(EVENT, END[:-cut])


def test_an_error_in_the_last_event_counts_without_its_blank_line() -> None:
    with pytest.raises(RateLimited):
        read(EVENT, b'data: {"error": {"message": "slow down", "code": 429}}\n')


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (rb'"4\ud83d"', "4\ufffd"),
        (rb'"\ude004"', "\ufffd4"),
        (rb'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        (rb'[{"type": "text", "text": "4\ud83d"}]', "4\ufffd"),
        (b'"4\n5"', "4\n5"),
        (b'"4\t\x005"', "4\t\x005"),
        (b'"4\xed\xa0\xbd"', "4\ufffd"),
        (b'"4\xed\xa0\xbd\xed\xb8\x80"', "4\N{GRINNING FACE}"),
    ],
)
def test_halves_of_characters_and_raw_line_breaks_cost_no_answer(content: bytes, text: str) -> None:
    completion = parse_reply(body(content), "e")
    assert completion.text == text
    msgspec.json.encode(completion)


def test_a_character_that_is_split_over_two_chunks_is_put_together() -> None:
    halves = [b'data: {"choices": [{"delta": {"content": "%b"}}]}\n\n' % half for half in (rb"4\ud83d", rb"\ude00")]
    assert read(*halves, END).text == "4\N{GRINNING FACE}"
    thoughts = [half.replace(b"content", b"reasoning") for half in halves]
    assert read(*thoughts, EVENT, END).reasoning == "4\N{GRINNING FACE}"


@given(st.text(st.characters(), max_size=20))  # halves of pairs, too
def test_whatever_text_a_provider_escapes_can_be_written(text: str) -> None:
    completion = parse_reply(body(json.dumps(f"4{text}").encode()), "e")
    msgspec.json.encode(completion)
    assert "4" in f"{completion.reasoning}{completion.text}"


@pytest.mark.parametrize(
    "more",
    [b', "cost": NaN', b', "logprobs": [Infinity, -Infinity]', b', "usage": {"prompt_tokens": 9, "x": NaN}'],
)
def test_nan_costs_no_answer(more: bytes) -> None:
    assert parse_reply(body(b'"NaN, 4"', more=more), "e").text == "NaN, 4"
    assert read(EVENT, END.replace(b"}]}", b"}]" + more + b"}")).text == "4"


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (b"1", "stop"),
        (b"2", "length"),
        (b"3", "content_filter"),
        (b"7", "7"),
        (b"0", None),
        (b"false", None),
        (b'""', None),
    ],
)
def test_a_finish_reason_may_be_a_number(said: bytes, meant: str | None) -> None:
    assert parse_reply(body(b'"4"', said), "e").finish_reason == meant
    assert read(EVENT, END.replace(b'"stop"', said), DONE).finish_reason == meant


EVENTS = [EVENT, END, DONE]


@pytest.mark.parametrize(
    ("parts", "type_"),
    [
        (EVENTS, "text/plain"),
        (EVENTS, JSON),
        ([b"\n\n: keep-alive\n\n", *EVENTS], "application/octet-stream"),
        ([b"da", b"ta" + EVENT[4:], END], "text/plain"),
        ([b"event: message\n" + EVENT, END], JSON),
        ([WHOLE], SSE),
        ([b"\n\n", b" ", WHOLE[:20], WHOLE[20:]], SSE),
        ([WHOLE[:1], WHOLE[1:]], "text/html"),
        ([b"\xef\xbb\xbf", *EVENTS], JSON),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_reply_is_what_its_bytes_are_not_what_its_type_says(
    parts: list[bytes], type_: str, stream: bool
) -> None:
    head = http(b"", type_=type_, length=sum(map(len, parts)))
    async with saying(head, *parts, pause=0.01) as server:
        settings = OpenAIEndpoint(base_url=server.url, model_id="m", stream=stream)
        async with OpenAIModel("e", settings) as model:
            completion = await model.complete(PROMPT)
    assert (completion.text, completion.finish_reason) == ("4", "stop")


async def test_an_error_as_json_where_events_were_promised_is_that_error() -> None:
    error = http(b'{"error": {"message": "slow down", "code": 429}}', type_=SSE)
    async with saying(error) as server:
        settings = OpenAIEndpoint(base_url=server.url, model_id="m", stream=True)
        async with OpenAIModel("e", settings) as model:
            with pytest.raises(RateLimited):
                await model.complete(PROMPT)


@pytest.mark.parametrize(
    ("reported", "counted"),
    [
        # xAI and Gemini: thinking is beside the completion
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 113}, Usage(9, 104)),
        (
            {"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 100}},
            Usage(9, 104),
        ),
        ({"prompt_tokens": 9, "completion_tokens": 4, "reasoning_tokens": 100, "total_tokens": 113}, Usage(9, 104)),
        # everybody else: it is a part of it
        (
            {
                "prompt_tokens": 9,
                "completion_tokens": 104,
                "total_tokens": 113,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            Usage(9, 104),
        ),
        ({"input_tokens": 9, "output_tokens": 4}, Usage(9, 4)),
        ({"input_tokens": 9, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 5}}, Usage(9, 4, 5)),
        (
            {"input_tokens": 9, "output_tokens": 4, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 3},
            Usage(17, 4, 5),
        ),
        ({"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 50}}, Usage(9, 54)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 5}, Usage(9, 4, 5)),
        ({"prompt_tokens": 9, "total_tokens": 13}, Usage(9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": "lots"}, Usage(9, 4)),
    ],
)
def test_all_tokens_that_are_charged_count_whatever_they_are_called(reported: dict[str, Any], counted: Usage) -> None:
    assert parse_reply(body(b'"4"', more=b', "usage": ' + json.dumps(reported).encode()), "e").usage == counted
    last = b'data: {"choices": [], "usage": %b}\n\n' % json.dumps(reported).encode()
    assert read(EVENT, END, last, DONE).usage == counted


USAGE = b'"usage": {"prompt_tokens": 9, "completion_tokens": 4}'


def test_usage_inside_a_choice_or_under_x_groq_counts() -> None:
    assert parse_reply(body(b'"4"', b'"stop", ' + USAGE), "e").usage == Usage(9, 4)
    assert parse_reply(body(b'"4"', more=b', "x_groq": {' + USAGE + b"}"), "e").usage == Usage(9, 4)
    in_choice = END.replace(b'"stop"', b'"stop", ' + USAGE)
    assert read(EVENT, in_choice, DONE).usage == Usage(9, 4)
    beside = END.replace(b"}]}", b'}], "x_groq": {' + USAGE + b"}}")
    assert read(EVENT, beside, DONE).usage == Usage(9, 4)


def test_usage_in_an_error_inside_a_200_counts() -> None:
    with pytest.raises(Transient) as caught:
        parse_reply(b'{"error": {"message": "gone", ' + USAGE + b"}}", "e")
    assert caught.value.usage == Usage(9, 4)
    with pytest.raises(Transient) as caught:
        read(EVENT, b'data: {"error": {"message": "gone"}, ' + USAGE + b"}\n\n")
    assert caught.value.usage == Usage(9, 4)
