"""Each refusal by its status and by its words: which error it is, and what the user reads and is advised to do."""

import json
from typing import Any

import aiohttp
import msgspec
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from weak2wise.llm.errors import ModelError, NoCapacity, RateLimited, Rejected, Transient, Unusable
from weak2wise.llm.http.error_mapping import error_for
from weak2wise.llm.http.proxy import proxy_refusal
from weak2wise.llm.http.responses import parse_reply

OVERFLOW = {"message": "This model's maximum context length is 8192"}
FILTERED = {"message": "The prompt is against our content policy."}


def refused(status: int | None, error: Any, **more: Any) -> ModelError | Unusable:
    return error_for(status, msgspec.json.encode({"error": error, **more}), "e")


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        *[(status, Unusable, None) for status in (300, 301, 399, 401, 402, 403, 404, 407, 412)],
        *[(status, Rejected, "bad_request") for status in (400, 405, 406, 411, 413, 422, 424, 426, 499)],
        *[(status, Transient, "server_error") for status in (409, 425, 500, 501, 503, 505, 529, 599)],
        *[(status, Transient, "timeout") for status in (408, 504)],
        (429, RateLimited, "rate_limited"),
        (498, NoCapacity, "rate_limited"),
    ],
)
def test_a_status_without_a_word(status: int, expected: type, kind: str | None) -> None:
    found = error_for(status, b"", "e")
    assert (type(found), getattr(found, "kind", None)) == (expected, kind)
    assert str(found).startswith(f"e: HTTP {status}")


@pytest.mark.parametrize("error", [OVERFLOW, FILTERED])
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *[(status, Rejected) for status in (400, 403, 405, 409, 413, 422, 425, 499)],
        *[(401, Unusable), (404, Unusable), (408, Transient), (500, Transient), (399, Unusable)],
    ],
)
def test_what_concerns_one_prompt_fails_it_alone_except_where_every_prompt_is_meant(
    error: dict[str, Any], status: int, expected: type
) -> None:
    found = refused(status, error)
    assert type(found) is expected
    if isinstance(found, Rejected):
        assert found.kind == ("context_overflow" if error is OVERFLOW else "content_filter")


@pytest.mark.parametrize(
    ("status", "error", "expected"),
    [
        (503, {"message": "x", "code": "capacity_exceeded"}, NoCapacity),
        (429, {"message": "x", "code": "capacity_exceeded"}, NoCapacity),
        (500, {"message": "x", "code": "capacity_exceeded"}, Transient),
        (400, {"message": "x", "code": "Throttling"}, RateLimited),
        (422, {"message": "x", "code": "Throttling"}, Rejected),
        (400, {"message": "x", "metadata": {"reasons": ["violence"]}}, Rejected),
        (403, {"message": "x", "metadata": {"flagged_input": "violence"}}, Rejected),
        (403, {"message": "x", "metadata": {"reasons": []}}, Unusable),
        (403, {"message": "x", "metadata": "reasons"}, Unusable),
        (404, {"message": "credit balance is too low"}, Unusable),
        (400, {"message": "credit balance is too low", "code": "rate_limit_exceeded"}, RateLimited),
        (429, {"message": "credit balance is too low"}, Unusable),
        (422, {"message": "credit balance is too low"}, Rejected),
        (400, {"message": "insufficient balance"}, Rejected),
    ],
)
def test_a_code_and_a_status_together(status: int, error: dict[str, Any], expected: type) -> None:
    assert type(refused(status, error)) is expected


@pytest.mark.parametrize(
    ("status", "error", "advice"),
    [
        (401, {"message": "x"}, "Check the key that model_endpoints.e.api_key_env names, then start again."),
        (403, {"message": "x"}, "Check the key that model_endpoints.e.api_key_env names, then start again."),
        (400, {"message": "API key expired"}, "Check the key that model_endpoints.e.api_key_env names, then"),
        (403, {"message": "no credits left"}, "Add credit with the provider, or check the key, then start again."),
        (412, {"message": "payment overdue"}, "Add credit with the provider, or check the key, then start again."),
        (402, {"message": "x"}, "Add credit with the provider, then start again."),
        (407, {"message": "x"}, "Check the user and password in HTTPS_PROXY or HTTP_PROXY, then start again."),
        (404, {"message": "x"}, "Check model_id and base_url of model_endpoints.e, then start again."),
        (400, {"message": "no such model"}, "Check model_id and base_url of model_endpoints.e, then start again."),
        (400, {"message": "x", "code": "1211"}, "Check model_id and base_url of model_endpoints.e, then start again."),
    ],
)
def test_what_stops_the_run_says_what_to_do(status: int, error: dict[str, Any], advice: str) -> None:
    found = refused(status, error)
    assert isinstance(found, Unusable)
    assert found.hint.startswith(advice)


def test_a_redirect_says_where_to() -> None:
    found = error_for(308, b"", "e", location="https://new.example/v1")
    assert isinstance(found, Unusable)
    assert str(found) == "e: HTTP 308; it redirects to https://new.example/v1"
    assert found.hint == "Set model_endpoints.e.base_url to that address."


@pytest.mark.parametrize(
    ("code", "expected", "says"),
    [
        (1002, RateLimited, "HTTP 429"),
        (1004, Unusable, "HTTP 401"),
        (1008, Unusable, "HTTP 402"),
        (1026, Rejected, "HTTP 400"),
        (1027, Rejected, "HTTP 400"),
        (1039, RateLimited, "HTTP 429"),
        (2013, Rejected, "HTTP 400"),
        (2049, Unusable, "HTTP 401"),
        (1000, Transient, "HTTP 500"),
    ],
)
def test_minimax_s_codes_are_read_as_the_status_that_they_mean(code: int, expected: type, says: str) -> None:
    body = msgspec.json.encode({"choices": None, "base_resp": {"status_code": code, "status_msg": "why"}})
    with pytest.raises(expected, match=f"e: {says}: why") as caught:
        parse_reply(body, "e")
    filtered = code in {1026, 1027}
    assert getattr(caught.value, "kind", None) == "content_filter" or not filtered


@pytest.mark.parametrize("base_resp", [{"status_code": 0, "status_msg": "success"}, {}, {"status_code": "1002"}, None])
def test_minimax_s_success_is_none_of_them(base_resp: Any) -> None:
    choices = [{"message": {"content": "4"}, "finish_reason": "stop"}]
    whole = msgspec.json.encode({"choices": choices, "base_resp": base_resp})
    assert parse_reply(whole, "e").text == "4"
    assert "why" in str(refused(500, {"message": "why"}, base_resp=base_resp))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ({"code": 503}, "HTTP 503"),
        ({"code": "418"}, "HTTP 418"),
        ({"code": 399}, "HTTP 500"),
        ({"code": 600}, "HTTP 500"),
        ({"code": "4290"}, "HTTP 500"),
        ({"code": "rate_limit_exceeded"}, "HTTP 429"),
        ({"code": "insufficient_quota"}, "HTTP 429"),
        ({"code": "insufficient_balance"}, "HTTP 402"),
        ({"code": "whatever"}, "HTTP 500"),
    ],
)
def test_within_a_200_the_status_is_the_one_that_the_error_has_or_means(error: dict[str, Any], says: str) -> None:
    assert str(refused(None, error)).startswith(f"e: {says}")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "why", "code": "x1"}}, "why (x1)"),
        ({"error": {"message": "why", "type": "x2"}}, "why (x2)"),
        ({"error": {"detail": "why"}}, "why"),
        ({"error": {"code": "x1"}}, "(x1)"),
        ({"error": "why"}, "why"),
        ({"error": ["why", 1]}, "['why', 1]"),
        ({"detail": "why"}, "why"),
        ({"message": "why"}, "why"),
        ({"x_groq": {"error": {"message": "why"}}}, "why"),
        ([{"error": {"message": "why"}}], "why"),
        ("why", "why"),
        ([], "[]"),
        ({}, ""),
    ],
)
def test_the_provider_s_words_are_found_wherever_they_stand(body: Any, said: str) -> None:
    assert str(error_for(500, msgspec.json.encode(body), "e")) == f"e: HTTP 500: {said}".removesuffix(": ")


def test_of_a_long_page_the_first_20_000_characters_are_read() -> None:
    page = "".join(f"{number} " for number in range(10_000))
    for body in (page.encode(), msgspec.json.encode({"error": page})):
        assert str(error_for(502, body, "e")) == f"e: HTTP 502: {page[:20_000].strip()}"


@pytest.mark.parametrize(("size", "read"), [(1 << 18, True), ((1 << 18) + 1, False)])
def test_a_body_of_more_than_a_quarter_of_a_mebibyte_is_not_read_as_json(size: int, read: bool) -> None:
    body = json.dumps({"error": {"message": "why"}, "pad": ""})
    body = body[:-2] + "x" * (size - len(body)) + body[-2:]
    assert len(body) == size
    assert (str(error_for(500, body.encode(), "e")) == "e: HTTP 500: why") is read


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *[(status, Unusable) for status in (400, 403, 407, 499)],
        *[(status, Transient) for status in (399, 408, 429, 500)],
    ],
)
def test_what_a_proxy_refuses_for_good_stops_the_run(status: int, expected: type) -> None:
    nowhere = URL("http://e")
    request = aiohttp.RequestInfo(nowhere, "CONNECT", CIMultiDictProxy(CIMultiDict()), nowhere)
    found = proxy_refusal(aiohttp.ClientHttpProxyError(request, (), status=status, message="no"), "e")
    assert type(found) is expected
    assert str(found) == f"e: the proxy answers HTTP {status}: no"
