"""What providers say in headers about when they want to be asked again, and how often."""

from email.utils import formatdate

import pytest

from weak2wise.llm.http.rate_limit_headers import remaining, retry_after


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "-3"}, 0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({}, None),
        ({"Retry-After": formatdate(1_000_090, usegmt=True), "Date": formatdate(1_000_000, usegmt=True)}, 90),
        ({"Retry-After": formatdate(1_000_000, usegmt=True), "Date": formatdate(1_000_090, usegmt=True)}, 0),
        ({"Retry-After": "Mon, 12 Jan 1970 13:48:10", "Date": formatdate(1_000_000, usegmt=True)}, 90),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_servers_own_clock(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert retry_after(headers) == seconds


@pytest.mark.parametrize(
    ("left", "reset", "expected"),
    [
        ("5", "1s", (5, 1)),
        ("5", "6m0s", (5, 360)),
        ("5", "1h2m3.5s", (5, 3723.5)),
        ("5", "120ms", (5, 0.12)),
        ("5", "12.5", (5, 12.5)),
        ("-1", "1s", None),
        ("many", "1s", None),
        ("5", "", None),
        ("5", "2026-01-01T00:00:00Z", None),
        ("5", "1767225600000", None),
        ("5", "-1", None),
        ("0", "0", (0, 0)),
        ("5", "1d", (5, 86_400)),
        ("5", "99999999", (5, 99_999_999)),
        ("5", "100000000", None),
        ("inf", "1s", None),
    ],
)
def test_what_remains_is_read_in_the_forms_providers_write(
    left: str, reset: str, expected: tuple[float, float] | None
) -> None:
    headers = {"x-ratelimit-remaining-requests": left, "x-ratelimit-reset-requests": reset}
    assert remaining(headers, "requests") == expected
    assert remaining(headers, "tokens") is None
