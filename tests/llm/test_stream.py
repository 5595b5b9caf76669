"""A streamed answer is put together exactly, however its bytes were cut, and a part of one is never taken for it."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from weak2wise.llm.errors import RateLimited, Transient, Unusable
from weak2wise.llm.http.responses import BOM
from weak2wise.llm.http.stream import Stream
from weak2wise.llm.model import Completion, Usage


def event(delta: dict[str, Any] | None, finish_reason: str | None = None, **more: Any) -> bytes:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    return b"data: " + msgspec.json.encode({"id": "x", "choices": choices, **more}) + b"\n\n"


DONE = b"data: [DONE]\n\n"
END = event({}, "stop")


def read(*chunks: bytes) -> Completion:
    stream = Stream("e")
    for chunk in chunks:
        stream.feed(chunk)
    return stream.completion()


@pytest.mark.slow
@given(
    st.lists(st.text(max_size=8), max_size=6),
    st.lists(st.integers(0, 2000), max_size=12),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.booleans(),
)
def test_any_text_arrives_exactly_wherever_its_bytes_are_cut(
    pieces: list[str], cuts: list[int], line_end: bytes, marked: bool
) -> None:
    sent = (
        (BOM if marked else b"")
        + b": comment\n\n"
        + b"".join(event({"reasoning_content": p}) for p in ["why", *pieces])
    )
    sent += b"".join(event({"content": p}) for p in [*pieces, "."]) + END + DONE
    sent = sent.replace(b"\n", line_end)
    places = [0, *sorted(cut % len(sent) for cut in cuts), len(sent)]
    completion = read(*(sent[a:b] for a, b in pairwise(places)))
    assert completion.text == "".join([*pieces, "."])
    assert completion.reasoning == "".join(["why", *pieces])


def test_a_mark_before_the_first_event_and_an_odd_index_lose_nothing() -> None:
    piece = b'data: {"choices": [{"index": null, "delta": {"content": "4"}}]}\n\n'
    other = b'data: {"choices": [{"index": 1, "delta": {"content": "5"}}]}\n\n'
    assert read(BOM + piece, other, END).text == "4"


def test_usage_comes_from_the_last_chunk_that_has_one() -> None:
    early = event({"content": "4"}, usage={"prompt_tokens": 9, "completion_tokens": 1})
    last = event(
        None, usage={"prompt_tokens": 9, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}
    )
    assert read(early, END, last, DONE).usage == Usage(9, 5, 3)
    assert read(event({"content": "4"}), END, DONE).usage == Usage()


@pytest.mark.parametrize(
    ("delta", "reasoning"),
    [
        ({"reasoning": "because"}, "because"),
        ({"reasoning_content": "because"}, "because"),
        ({"reasoning": "because", "reasoning_content": "because"}, "because"),
        ({"content": "<think>because</think>"}, "because"),
        ({"content": None, "reasoning": {"odd": 1}}, None),
    ],
)
def test_thinking_is_found_where_providers_put_it(delta: dict[str, Any], reasoning: str | None) -> None:
    completion = read(event(delta), event({"content": "4"}), END, DONE)
    assert (completion.text, completion.reasoning) == ("4", reasoning)


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [event({"content": "4"})],
        [event({"reasoning": "4"}), DONE],
        [event({"content": "4"}), END[:-3]],  # a part of the event is missing
        [event({"content": "4"}), b": keep-alive\n\n"],
        [event({"content": "4"}), event({}, "insufficient_system_resource"), DONE],
        [event({"content": "4"}), b'data: {"choices": [{"delta": {}, "error": {"code": 502}}]}\n\n'],
        [event({"content": "4"}), b"event: error\ndata: overloaded\n\n"],
        [b'data: {"x": ' + b"[" * 100_000 + b"\n\n"],
        [b'data: {"choices": [{"delta": {"content": "4\n\n'],
        [b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n'],
        [event({"content": "4"}), b'data: {"error": {"message": "overloaded"}}\n\n'],
    ],
)
def test_a_stream_that_breaks_off_or_goes_wrong_is_asked_again(chunks: list[bytes]) -> None:
    with pytest.raises(Transient):
        read(*chunks)


def test_an_error_in_the_middle_counts_as_what_it_says() -> None:
    with pytest.raises(RateLimited):
        read(event({"content": "4"}), b'data: {"error": {"message": "slow down", "code": 429}}\n\n')
    with pytest.raises(Unusable):
        read(event({"content": "4"}), b'event: error\ndata: {"code": 402, "message": "no credit"}\n\n')


def test_a_stream_that_ended_without_a_word_is_an_answer() -> None:
    assert read(event({"content": ""}, "content_filter"), DONE).says_nothing


def test_an_event_may_take_several_lines_and_other_fields_say_nothing() -> None:
    lines = b'event: message\nid: 7\nretry: 10\ndata: {"choices": [{"delta":\ndata:{"content": "4"}}]}\n\n'
    assert read(lines, END).text == "4"


def test_a_later_chunk_without_usage_does_not_erase_it() -> None:
    counted = event({"content": "4"}, usage={"prompt_tokens": 9, "completion_tokens": 5})
    for later in (event({}, "stop", usage=None), event({}, "stop", x_groq={"id": "x"}), event({}, "stop", usage={})):
        assert read(counted, later, DONE).usage == Usage(9, 5)


def test_a_line_break_that_is_cut_in_two_is_one() -> None:
    """Two would end the event in the middle of its data."""
    lines = b'data: {"choices": [{"delta":\r\ndata:{"content": "4"}}]}\r\n\r\n'
    for place in range(len(lines)):
        assert read(lines[:place], lines[place:], END).text == "4", place


def test_the_name_of_an_event_without_data_does_not_pass_to_the_next_one() -> None:
    assert read(b"event: error\n\n", event({"content": "4"}), END, DONE).text == "4"
