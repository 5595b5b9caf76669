"""A refusal means what its provider means by it: no credit, too much at once, or a parameter that it does not take."""

from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from weak2wise.llm.errors import ModelError, NoCapacity, RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.rate_limit_headers import remaining, retry_after
from weak2wise.llm.http.responses import parse_reply
from weak2wise.llm.model import Usage

QUOTA = "You exceeded your current quota, please check your plan and billing details."


def refused(status: int | None, error: dict[str, Any], **more: Any) -> ModelError | Unusable:
    return error_for(status, msgspec.json.encode({"error": error, **more}), "e")


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (429, {"message": QUOTA, "type": "insufficient_quota", "code": "insufficient_quota"}),
        (429, {"message": "Out of it.", "code": "credit_balance_exhausted"}),
        (429, {"message": "No.", "code": "project_spend_limit_exceeded"}),
        (429, {"message": "余额不足或无可用资源包,请充值。", "code": "1113"}),
        (400, {"message": "Access denied, please make sure your account is in good standing.", "code": "Arrearage"}),
        (
            400,
            {"message": "Your credit balance is too low to use the API.", "type": "invalid_request_error"},
        ),
        (400, {"message": "Please enable billing on project 1.", "status": "FAILED_PRECONDITION", "code": 400}),
        (402, {"message": "Insufficient Balance"}),
        (429, {"message": "Your account has insufficient balance."}),
        (403, {"message": "Your team has used all available credits or reached its monthly spending limit."}),
        (403, {"message": "Use the paid tier.", "code": "AllocationQuota.FreeTierOnly"}),
        (403, {"message": "The request failed.", "code": "AccountOverdueError"}),
        (429, {"message": "no", "type": "PostpaidBillOverdue"}),
        (429, {"message": "no", "type": "exceeded_current_quota_error"}),
        (
            429,
            {
                "message": "Provider returned error",
                "metadata": {"raw": '{"error":{"code":"credit_balance_exhausted"}}'},
            },
        ),
        (None, {"message": "gone", "code": "insufficient_balance"}),
    ],
)
def test_no_credit_stops_the_run_whatever_its_status(status: int | None, error: dict[str, Any]) -> None:
    found = refused(status, error)
    assert isinstance(found, Unusable)
    assert "credit" in found.hint


@pytest.mark.parametrize(
    ("status", "error", "more"),
    [
        (429, {"message": QUOTA, "type": "insufficient_quota", "code": "insufficient_quota"}, {"request_id": "0-1"}),
        (
            429,
            {"message": f"{QUOTA} See help.aliyun.com/#token-limit", "code": "insufficient_quota"},
            {},
        ),
        (429, {"message": "Too many tokens per minute.", "code": "insufficient_quota"}, {}),
        (429, {"message": "Requests rate limit exceeded", "code": "Throttling.AllocationQuota"}, {}),
        (429, {"message": "您的账户已达到速率限制", "code": "1302"}, {}),
        (429, {"message": "no capacity; check billing", "code": "resource_unavailable"}, {}),
        (402, {"message": "Too many in flight for your balance", "code": "in_flight_budget_exhausted"}, {}),
        (429, {"message": QUOTA, "status": "RESOURCE_EXHAUSTED", "code": 429}, {}),
        (
            429,
            {"message": "Provider returned error", "metadata": {"raw": '{"error":{"code":"insufficient_quota"}}'}},
            {},
        ),
        (None, {"message": "slow down", "code": "rate_limit_exceeded"}, {}),
    ],
)
def test_too_much_at_once_waits_although_it_may_mention_quota(
    status: int | None, error: dict[str, Any], more: dict[str, Any]
) -> None:
    assert isinstance(refused(status, error, **more), RateLimited)


@pytest.mark.parametrize("raw", ["[" * 100_000, "no JSON", '"text"', "1"])
def test_a_relayed_error_that_cannot_be_read_says_nothing(raw: str) -> None:
    assert isinstance(refused(429, {"message": "Provider returned error", "metadata": {"raw": raw}}), RateLimited)


def test_a_host_or_a_time_to_wait_shows_that_a_quota_comes_back() -> None:
    body = msgspec.json.encode({"error": {"message": QUOTA, "code": "insufficient_quota"}})
    assert isinstance(error_for(429, body, "e", host="dashscope.aliyuncs.com"), RateLimited)
    assert isinstance(error_for(429, body, "e", host="api.openai.com"), Unusable)
    assert isinstance(error_for(429, body, "e", 3.0), RateLimited)


@pytest.mark.parametrize(
    ("status", "error", "expected", "kind"),
    [
        (498, {"message": "over capacity", "code": "capacity_exceeded"}, NoCapacity, "rate_limited"),
        (429, {"message": "no capacity", "code": "resource_unavailable"}, NoCapacity, "rate_limited"),
        (403, {"message": "Input too long: context length is 4096"}, Rejected, "context_overflow"),
        (400, {"message": "x", "code": "1261"}, Rejected, "context_overflow"),
        (400, {"message": "x", "code": "1301"}, Rejected, "content_filter"),
        (400, {"message": "x", "code": "1211"}, Unusable, None),
        (400, {"message": "API key not valid. Please pass a valid API key."}, Unusable, None),
        (407, {"message": "Proxy Authentication Required"}, Unusable, None),
        (412, {"message": "Account suspended"}, Unusable, None),
    ],
)
def test_what_else_providers_mean(status: int, error: dict[str, Any], expected: type, kind: str | None) -> None:
    found = refused(status, error)
    assert (type(found), getattr(found, "kind", None)) == (expected, kind)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(1002, RateLimited), (1039, RateLimited), (1008, Unusable), (1004, Unusable), (1026, Rejected), (1000, Transient)],
)
def test_minimax_reports_its_errors_in_a_200(code: int, expected: type[Exception]) -> None:
    body = msgspec.json.encode({"choices": None, "base_resp": {"status_code": code, "status_msg": "no"}})
    with pytest.raises(expected):
        parse_reply(body, "e")


@pytest.mark.parametrize(
    ("error", "parameter"),
    [
        (
            {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                "param": "max_tokens",
                "code": "unsupported_parameter",
            },
            "max_tokens: null, max_completion_tokens: 8192",
        ),
        (
            {
                "message": "Unsupported value: 'temperature' does not support 0.6 with this model. Only the "
                "default (1) value is supported.",
                "param": "temperature",
                "code": "unsupported_value",
            },
            "temperature: null",
        ),
        ({"message": "`temperature` is deprecated for this model."}, "temperature: null"),
        ({"message": "property 'seed' is unsupported"}, "seed: null"),
        ({"message": 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'}, "seed: null"),
        ({"message": "invalid temperature: only 1 is allowed for this model"}, "temperature: null"),
        ({"message": "`temperature` and `top_p` cannot both be specified"}, "temperature: null"),
    ],
)
def test_a_parameter_that_a_model_does_not_take_is_named_with_the_setting_that_drops_it(
    error: dict[str, Any], parameter: str
) -> None:
    found = refused(400, error)
    assert isinstance(found, Rejected)
    assert f"set model_endpoints.e.extra_body: {{{parameter}}}" in str(found)[:200]


def test_a_validation_error_of_fastapi_names_the_setting_too() -> None:
    body = {"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}
    assert "extra_body: {seed: null}" in str(error_for(422, msgspec.json.encode(body), "e"))


def test_a_refusal_of_a_prompt_gets_no_such_advice() -> None:
    assert "extra_body" not in str(refused(400, {"message": "Invalid value for 'temperature'."}))
    assert "extra_body" not in str(refused(400, {"message": "This word is not supported."}))


USAGE = {"prompt_tokens": 9, "completion_tokens": 4}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "no"}, "usage": USAGE}),
        (500, {"error": {"message": "no", "usage": USAGE}}),
        (500, {"error": {"message": "no", "metadata": {"usage": USAGE}}}),
        (402, {"error": {"message": "no"}, "usage": USAGE}),
        (429, {"error": {"message": "no"}, "x_groq": {"usage": USAGE}}),
    ],
)
def test_usage_that_an_error_reports_counts(status: int, body: dict[str, Any]) -> None:
    assert error_for(status, msgspec.json.encode(body), "e").usage == Usage(9, 4)


DATE = formatdate(1_800_000_000, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "5s"}, 5),
        ({"Retry-After": "1m30s"}, 90),
        ({"Retry-After": "1d2h"}, 93_600),
        ({"Retry-After": "31622400"}, 366 * 86_400),
        ({"Retry-After": "31622401"}, None),
        ({"retry-after-ms": "0"}, 0),
        ({"retry-after-ms": "-1", "Retry-After": "7"}, 7),
        ({"retry-after-ms": "31622400000"}, 366 * 86_400),
        ({"retry-after-ms": "31622401000", "Retry-After": "7"}, 7),
        ({"Retry-After": "999999999"}, None),
        ({"Retry-After": "1000000000"}, 0),
        ({"Retry-After": "99999999999"}, None),
        ({"Retry-After": "100000000000"}, 0),
        ({"Retry-After": "2028-01-16T08:00:00Z"}, 366 * 86_400),
        ({"Retry-After": "2028-01-16T08:00:01Z"}, None),
        ({"Retry-After": "  7 "}, 7),
        ({"Retry-After": "soon", "ratelimit-reset": "12"}, 12),
        ({"Retry-After": "500ms"}, 0.5),
        ({"Retry-After": "5 seconds"}, 5),
        ({"Retry-After": "1800000007"}, 7),
        ({"Retry-After": "1800000007000"}, 7),
        ({"Retry-After": "2027-01-15T08:00:09Z"}, 9),
        ({"Retry-After": "1", "retry-after-ms": "250"}, 0.25),
        ({"x-ms-retry-after-ms": "1500"}, 1.5),
        ({"x-ratelimit-reset": "1800000003000"}, 3),
        ({"Retry-After": "7", "x-ratelimit-reset": "1800000003000"}, 7),
        ({"ratelimit-reset": "12"}, 12),
        ({"Retry-After": "1e300"}, None),
        ({"Retry-After": "99999999999999999"}, None),
        ({"Retry-After": "9" * 5000}, None),
        ({"retry-after-ms": "nan"}, None),
    ],
)
def test_a_time_to_wait_is_read_in_every_form_that_providers_write(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after({"Date": DATE, **headers}) == seconds


def test_the_reset_of_a_limit_is_no_reason_to_wait_for_a_broken_server() -> None:
    assert retry_after({"x-ratelimit-reset": "30"}, 503) is None
    assert retry_after({"Retry-After": "30"}, 503) == 30


def test_anthropics_names_for_what_remains() -> None:
    headers = {"anthropic-ratelimit-tokens-remaining": "5", "anthropic-ratelimit-tokens-reset": "2027-01-15T08:00:09Z"}
    assert remaining({**headers, "Date": DATE}, "tokens") == (5, 9)
    assert remaining(headers, "tokens") is None


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 529])
def test_a_server_in_trouble_is_asked_again_when_it_says(status: int) -> None:
    """By its header, or by its body; where it says nothing, nothing is made up."""
    error = {"message": "overloaded", "details": [{"retryDelay": "27s"}]}
    for header, expected in ((7.0, 7.0), (None, 27.0)):
        found = error_for(status, msgspec.json.encode({"error": error}), "e", header)
        assert isinstance(found, Transient)
        assert found.retry_after == expected
    silent = refused(status, {"message": "overloaded"})
    assert isinstance(silent, Transient)
    assert silent.retry_after is None
