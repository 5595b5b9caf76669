"""How much of a reply is read, up to which size and length, and what counts as no number or day."""

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from weak2wise.llm.errors import Transient
from weak2wise.llm.http.incoming import Incoming
from weak2wise.llm.http.model_list import parse_models
from weak2wise.llm.http.reported_usage import usage_of
from weak2wise.llm.http.responses import parse_reply
from weak2wise.llm.model import Completion, Usage

MEBIBYTE = 1 << 20
LONG = "".join(f"{number}," for number in range(1000))


def reply(choice: dict[str, Any], **more: Any) -> Completion:
    return parse_reply(msgspec.json.encode({"choices": [choice], **more}), "e")


def padded(before: str, after: str, size: int) -> bytes:
    """So many bytes."""
    return (before + "x" * (size - len(before) - len(after)) + after).encode()


@pytest.mark.parametrize(("size", "read"), [(2 * MEBIBYTE, True), (2 * MEBIBYTE + 1, False)])
def test_odd_json_is_read_up_to_two_mebibytes(size: int, read: bool) -> None:
    body = padded('{"cost": NaN, "choices": [{"message": {"content": "', '"}, "finish_reason": "stop"}]}', size)
    assert len(body) == size
    if read:
        assert set(parse_reply(body, "e").text) == {"x"}
    else:
        with pytest.raises(Transient, match="not valid JSON"):
            parse_reply(body, "e")


@pytest.mark.parametrize("size", [8 * MEBIBYTE, 8 * MEBIBYTE + 1])
def test_an_answer_in_parts_is_read_up_to_eight_mebibytes(size: int) -> None:
    parts = padded('[{"text": "', '"}]', size)
    body = b'{"choices": [{"message": {"content": %b}, "finish_reason": "stop"}]}' % parts
    if size == 8 * MEBIBYTE:
        assert set(parse_reply(body, "e").text) == {"x"}
    else:
        with pytest.raises(Transient, match="e: an answer in more than 8 MiB of parts") as caught:
            parse_reply(body, "e")
        assert caught.value.kind == "oversized"


@pytest.mark.parametrize(("size", "read"), [(1 << 16, True), ((1 << 16) + 1, False)])
def test_a_report_of_usage_is_read_up_to_64_kibibytes(size: int, read: bool) -> None:
    usage = padded('{"prompt_tokens": 9, "completion_tokens": 4, "pad": "', '"}', size)
    body = b'{"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}], "usage": %b}' % usage
    assert parse_reply(body, "e").usage == (Usage(9, 4) if read else Usage())


@pytest.mark.parametrize(
    ("reported", "counted"),
    [
        ({"prompt_tokens": 10**12, "completion_tokens": 4}, Usage(10**12, 4)),
        ({"prompt_tokens": 10**12 + 1, "completion_tokens": 4}, Usage(0, 4)),
        ({"prompt_tokens": 1e12, "completion_tokens": "4.2"}, Usage(10**12, 5)),
        ({"prompt_tokens": 1.0001e12, "completion_tokens": 4}, Usage(0, 4)),
        ({"prompt_tokens": 0, "completion_tokens": 1}, Usage(0, 1)),
        ({"prompt_tokens": 1, "completion_tokens": 0}, Usage(1, 0)),
        ({"prompt_tokens": -1, "completion_tokens": -0.5}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
        ({"prompt_tokens": True, "completion_tokens": [4]}, Usage(1, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 4}}, (9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 5}}, (9, 9)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 14}, (9, 5)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 12}, (9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "cached_tokens": 10}, Usage(9, 4, 9)),
        ({"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 5}, "cached_tokens": 6}, Usage(9, 0, 5)),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 5, "cached_tokens": 6}, Usage(9, 0, 5)),
        ({"prompt_tokens": 9, "input_tokens": 8, "output_tokens": 4}, Usage(9, 4)),
        ({"input_tokens": 9, "cached_tokens": 5, "input_tokens_details": {"cached_tokens": 6}}, Usage(9, 0, 5)),
        ({"usage": {"prompt_tokens": 9}, "prompt_tokens": 8}, Usage(9, 0)),
        ([{"prompt_tokens": 9}], None),
    ],
)
def test_a_token_count_is_a_number_that_can_be_one(reported: Any, counted: Usage | tuple[int, int] | None) -> None:
    assert usage_of(reported) == (Usage(*counted) if isinstance(counted, tuple) else counted)


def test_of_a_long_finish_reason_lane_or_error_the_beginning_is_kept() -> None:
    whole = reply({"message": {"content": "4"}, "finish_reason": LONG}, service_tier=LONG)
    assert whole.finish_reason == LONG[:100]
    assert whole.usage.tier == LONG[:100]
    with pytest.raises(Transient) as caught:
        reply({"message": {"content": "4"}, "error": LONG})
    assert str(caught.value) == f"e: the answer broke off (error: {json.dumps(LONG)[:1000]})"


@pytest.mark.parametrize(
    ("text", "reasoning", "characters"), [("four", None, 4), ("four", "because", 11), (None, "because", 7)]
)
def test_of_an_answer_that_broke_off_all_that_arrived_counts(
    text: str | None, reasoning: str | None, characters: int
) -> None:
    with pytest.raises(Transient) as caught:
        reply({"message": {"content": text, "reasoning": reasoning}, "finish_reason": "abort"})
    assert (caught.value.kind, caught.value.characters) == ("truncated", characters)


@pytest.mark.parametrize(
    ("begins", "events"),
    [
        (b" \n\xef\xbb\xbfretry:", True),
        (b"\xef\xbb\xbf\n retry:", True),
        (b"retry:", True),
        (b"retry;", False),
        (b"event:", True),
        (b": keep-alive", True),
        (b"id:", True),
        (b"{", False),
    ],
)
def test_a_body_is_events_if_it_begins_with_a_field_of_one(begins: bytes, events: bool) -> None:
    """Byte by byte; white space before it says nothing."""
    reply = Incoming("e")
    for at in range(len(begins)):
        reply.feed(begins[at : at + 1])
    event = b'data: {"choices": [{"delta": {"content": "4"}, "finish_reason": "stop"}]}\n\n'
    heard = reply.feed(b"\n\n" + event)
    assert heard is events
    assert reply.whole is events


@pytest.mark.parametrize(("begins", "events"), [(b"x", True), (b"{", False), (b"[", False)])
def test_what_its_type_calls_events_is_unless_it_begins_as_json(begins: bytes, events: bool) -> None:
    reply = Incoming("e")
    reply.named_events = True
    reply.feed(begins + b"\n\n")
    reply.feed(b"data: [DONE]\n\n")
    assert reply.done is events


def test_a_damaged_json_of_an_answer_is_paid_for_and_another_page_is_not() -> None:
    for body, characters in ((b' {"choices": [{"message": {"content": "fo', 41), (b"<html>gateway</html>", 0)):
        reply = Incoming("e")
        for part in (body[:10], body[10:]):
            assert not reply.feed(part)
        assert reply.characters == len(body)
        with pytest.raises(Transient) as caught:
            reply.completion()
        assert (caught.value.kind, caught.value.characters) == ("malformed", characters)


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2026-11-27", date(2026, 11, 27)),
        ("2026-11-27T08:00:00Z", date(2026, 11, 27)),
        (1_795_737_600, date(2026, 11, 27)),
        (1_795_737_599.5, date(2026, 11, 26)),
        ("soon", None),
        (1e300, None),
        (None, None),
        ([], None),
    ],
)
def test_the_day_on_which_a_model_is_switched_off_is_read_as_providers_write_it(written: Any, day: date | None) -> None:
    body = msgspec.json.encode({"data": [{"id": "m", "shutdown_date": written}, {"id": "n"}]})
    assert parse_models(body) == {"m": day, "n": None}


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": {}}', b'{"data": [{"id": 1}]}', b"[" * 100_000])
def test_what_is_no_list_of_models_has_none(body: bytes) -> None:
    assert parse_models(body) == {}


@pytest.mark.parametrize("odd", [rb'"\ud83d"', b"1e999"])
def test_a_report_of_usage_that_cannot_be_read_costs_no_answer_and_the_next_one_counts(odd: bytes) -> None:
    usage = b'{"prompt_tokens": 1, "completion_tokens": 1, "odd": %b}' % odd
    for more, counted in ((b"", Usage()), (b', "x_groq": {"usage": {"prompt_tokens": 9}}', Usage(9, 0))):
        body = b'{"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}], "usage": %b%b}' % (usage, more)
        completion = parse_reply(body, "e")
        assert (completion.text, completion.usage) == ("4", counted)
