"""What a provider's bytes mean: thinking wherever it is given, whether an answer is whole, one error type a refusal."""

import contextlib
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from weak2wise.llm.errors import ModelError, RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.rate_limit_headers import retry_after
from weak2wise.llm.http.responses import parse_reply
from weak2wise.llm.http.stream import Stream
from weak2wise.llm.model import Completion, Usage
from weak2wise.llm.thinking import split_thinking


def reply(message: dict[str, Any], **more: Any) -> Completion:
    body = {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **more}
    return parse_reply(msgspec.json.encode(body), "e")


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "4", "reasoning_content": "2 + 2"}, "4", "2 + 2"),
        ({"content": "4", "reasoning": "2 + 2"}, "4", "2 + 2"),
        ({"content": "<think>2 + 2</think>\n\n4"}, "4", "2 + 2"),
        ({"content": "2 + 2\n</think>\n4"}, "4", "2 + 2"),
        ({"content": "4"}, "4", None),
        ({"content": "4", "reasoning_content": None, "reasoning": None}, "4", None),
        ({"content": "4", "reasoning": {"tokens": 3}}, "4", None),
        (
            {"content": [{"type": "text", "text": "4"}, {"type": "image_url"}, {"type": "text", "text": "2"}]},
            "42",
            None,
        ),
        ({"content": None, "reasoning_content": "2 + 2"}, "", "2 + 2"),
        ({"content": "<think>cut off in the mid"}, "", "cut off in the mid"),
    ],
)
def test_content_and_thinking_are_found_where_providers_put_them(
    message: dict[str, Any], text: str, reasoning: str | None
) -> None:
    completion = reply(message)
    assert (completion.text, completion.reasoning) == (text, reasoning)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 4}, Usage(9, 4, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}, Usage(9, 4, 5)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 6}, Usage(9, 4, 6)),
        ({"prompt_tokens": 9.0, "completion_tokens": "4", "prompt_tokens_details": []}, Usage(9, 4)),
        ({"prompt_tokens": 9, "completion_tokens": 4, "prompt_cache_hit_tokens": 90}, Usage(9, 4, 9)),
        ({"prompt_tokens": 9, "completion_tokens": -4}, Usage(9, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 1e300}, Usage(9, 0)),
        ("n/a", Usage()),
        (None, Usage()),
    ],
)
def test_usage_is_counted_as_reported_and_never_costs_an_answer(usage: Any, counted: Usage) -> None:
    assert reply({"content": "4"}, usage=usage).usage == counted


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>gateway</html>",
        b'{"choices": [{"message": {"content": "4',
        b'{"choices": []}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": ""}}]}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": "\xff"}}]}',
        b'{"error": {"message": "overloaded"}}',
        b'{"error": {"message": "bad gateway", "code": 502}}',
        b"[]",
        b'{"x":' + b"[" * 100_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b', "choices": [{"message": {"content": "4"}}]}',
    ],
)
def test_a_200_that_is_no_answer_is_asked_again(body: bytes) -> None:
    with pytest.raises(Transient):
        parse_reply(body, "e")


def test_an_error_inside_a_200_counts_as_what_it_says() -> None:
    with pytest.raises(RateLimited):
        parse_reply(b'{"error": {"message": "slow down", "code": 429}}', "e")
    with pytest.raises(Unusable):
        parse_reply(b'{"error": {"message": "no more", "code": "402"}}', "e")


def ended(finish_reason: str | None, content: str | None = "4", **more: Any) -> Completion:
    choice = {"message": {"content": content}, "finish_reason": finish_reason, **more}
    usage = {"prompt_tokens": 9, "completion_tokens": 4}
    return parse_reply(msgspec.json.encode({"choices": [choice], "usage": usage}), "e")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("SAFETY", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("something_new", "something_new"),
        (None, None),
    ],
)
def test_an_answer_that_ended_is_whole_whatever_its_provider_calls_it(said: str | None, meant: str | None) -> None:
    assert (ended(said).text, ended(said).finish_reason) == ("4", meant)


@pytest.mark.parametrize("finish_reason", ["error", "abort", "insufficient_system_resource"])
def test_an_answer_that_its_provider_could_not_finish_is_asked_for_again(finish_reason: str) -> None:
    with pytest.raises(Transient) as caught:
        ended(finish_reason)
    assert (caught.value.kind, caught.value.usage) == ("truncated", Usage(9, 4))
    with pytest.raises(Transient, match="upstream is gone"):
        ended(None, error={"code": 502, "message": "upstream is gone"})


def test_an_empty_answer_is_one_if_it_ended() -> None:
    """It may have been thought out of sight; then it is charged, and the same asked again would be the same."""
    assert ended("length", " ").says_nothing
    assert ended("content_filter", None).usage == Usage(9, 4)
    with pytest.raises(Transient) as caught:
        ended(None, None)
    assert (caught.value.kind, caught.value.usage) == ("empty", Usage(9, 4))


@pytest.mark.parametrize(
    ("status", "error", "expected", "kind"),
    [
        (400, {"message": "bad"}, Rejected, "bad_request"),
        (400, {"message": "too long", "code": "context_length_exceeded"}, Rejected, "context_overflow"),
        (400, {"message": "This model's maximum context length is 8192"}, Rejected, "context_overflow"),
        (400, {"message": "refused", "code": "content_filter"}, Rejected, "content_filter"),
        (422, {"message": "bad"}, Rejected, "bad_request"),
        (400, {"message": "The model x does not exist", "code": "model_not_found"}, Unusable, None),
        (401, {"message": "bad key"}, Unusable, None),
        (402, {"message": "Insufficient Balance"}, Unusable, None),
        (403, {"message": "no"}, Unusable, None),
        (403, {"message": "Your account has been flagged for abuse."}, Unusable, None),
        (403, {"message": "Your input was flagged", "metadata": {"reasons": ["violence"]}}, Rejected, "content_filter"),
        (403, {"message": "blocked", "metadata": {"reasons": ["violence"]}}, Rejected, "content_filter"),
        (403, {"message": "The prompt is against our content policy."}, Rejected, "content_filter"),
        (400, {"message": "the limit as x -> 0 does not exist"}, Rejected, "bad_request"),
        (400, {"message": "Model Not Exist", "code": "invalid_request_error"}, Unusable, None),
        (400, {"message": "Model `a/b-7.1:free` does not exist"}, Unusable, None),
        (404, {"message": "no such model"}, Unusable, None),
        (307, {}, Unusable, None),
        (429, {"message": "slow down"}, RateLimited, "rate_limited"),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, Unusable, None),
        (429, {"message": "no", "type": "billing_hard_limit_reached"}, Unusable, None),
        (
            429,
            {"message": "You exceeded your current quota, please check your plan and billing details."},
            Unusable,
            None,
        ),
        (429, {"message": "You exceeded your current quota. Please retry in 2.5s."}, RateLimited, "rate_limited"),
        (
            429,
            {"message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"},
            RateLimited,
            "rate_limited",
        ),
        (
            429,
            {"message": "Limit: 3 / min. Visit …/account/billing to add one.", "code": None},
            RateLimited,
            "rate_limited",
        ),
        (408, {}, Transient, "timeout"),
        (500, {}, Transient, "server_error"),
        (502, {}, Transient, "server_error"),
        (503, {}, Transient, "server_error"),
        (529, {}, Transient, "server_error"),
    ],
)
def test_each_status_is_one_kind_of_error(
    status: int, error: dict[str, Any], expected: type[Exception], kind: str | None
) -> None:
    found = error_for(status, msgspec.json.encode({"error": error}), "e")
    assert type(found) is expected
    assert getattr(found, "kind", None) == kind


@pytest.mark.parametrize(
    ("body", "header", "seconds"),
    [
        ({"error": {"message": "Rate limit reached. Please try again in 1m20.5s. Visit …"}}, None, 80.5),
        ({"error": {"message": "Please try again in 20ms."}}, None, 0.02),
        ({"error": {"message": "Retry after 3 seconds."}}, None, 3.0),
        ({"error": {"message": "Retry after 3 seconds."}}, 7.0, 7.0),
        ([{"error": {"message": "x", "details": [{"@type": "RetryInfo", "retryDelay": "27s"}]}}], None, 27.0),
        ({"error": {"message": "Try again in a while.", "details": [None, {"retryDelay": 3}]}}, None, None),
    ],
)
def test_when_to_ask_again_may_stand_in_the_body(body: Any, header: float | None, seconds: float | None) -> None:
    found = error_for(429, msgspec.json.encode(body), "e", header)
    assert isinstance(found, RateLimited)
    assert found.retry_after == seconds


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 2025 00:00:00 +9999999999"]
)
def test_an_absurd_date_says_nothing(date: str) -> None:
    assert retry_after({"Retry-After": date}) is None


@pytest.mark.slow
@given(
    st.binary()
    | st.recursive(
        st.none() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "error",
                        "message",
                        "code",
                        "type",
                        "status",
                        "details",
                        "metadata",
                        "choices",
                        "usage",
                        "finish_reason",
                        "delta",
                    ]
                ),
                x,
            )
        ),
    ).map(msgspec.json.encode),
    st.sampled_from([None, 200, 400, 403, 404, 429, 500]),
)
def test_whatever_a_body_holds_is_one_of_our_errors_or_an_answer(body: bytes, status: int | None) -> None:
    assert isinstance(error_for(status, body, "e"), ModelError | Unusable)
    for read in (parse_reply, lambda body, name: Stream(name).feed(b"data: " + body + b"\n\n")):
        with contextlib.suppress(ModelError, Unusable):
            read(body, "e")


def test_a_providers_words_are_shown_on_one_line_and_harmless() -> None:
    page = b"<html>\n<body>\x1b[31mBad\r\nGateway</body>" + b"x" * 100_000
    message = str(error_for(502, page, "e"))
    assert message.startswith("e: HTTP 502: [31mBad Gateway")
    assert message.isprintable()
    assert len(message) < 20_100
    assert str(error_for(500, b'{"error": {"message": "caf\xe9"}}', "e")).startswith("e: HTTP 500: {")
    assert str(error_for(500, b"[" * 100_000, "e")).startswith("e: HTTP 500: [")


@given(st.text(), st.text())
def test_inline_thinking_is_split_off_whatever_it_says(thinking: str, answer: str) -> None:
    thinking, answer = thinking.replace("</think>", ""), f"The answer: {answer}"
    found, text = split_thinking(f"<think>{thinking}</think>{answer}")
    assert found == thinking.strip()
    assert text == answer.lstrip()


@given(st.text())
def test_text_without_tags_is_left_as_it_is(text: str) -> None:
    text = re.sub(r"think>|THINK\]|thought>|thinking>|think▷|<\||assistantfinal", "", text)
    assert split_thinking(text) == (None, text)


def test_tags_quoted_inside_a_text_are_no_thinking() -> None:
    text = "Write it as <think>…</think> and go on."
    assert split_thinking(text) == (None, text)
