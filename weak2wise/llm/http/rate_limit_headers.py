"""What a reply says about later requests: how long to wait, and what remains of a quota until when.

Invalid values are ignored: a wait or a count that is not a finite number counts as absent.
"""

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

_DURATION = re.compile(
    r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+) ?s(?:ec(?:ond)?s?)?)?(?:([\d.]+) ?ms)?", re.IGNORECASE
)
_WAIT = re.compile(
    r"\b(?:retry|try again) (?:in|after) (?:((?:[\d.]*\d(?:ms|[dhms]))+)\b|([\d.]*\d) ?sec)", re.IGNORECASE
)
_MILLISECONDS = ("retry-after-ms", "x-ms-retry-after-ms")
"""OpenAI's and Azure's headers; more exact than ``Retry-After``."""
_RESETS = ("x-ratelimit-reset", "ratelimit-reset")
"""Headers of a 429 that take the place of ``Retry-After`` (OpenRouter's, IETF's)."""
_EPOCH, _EPOCH_MS = 1e9, 1e11
"""Larger numbers are points in time: seconds or milliseconds since 1970."""
_LONGEST = 366 * 86400.0
"""Seconds. A longer wait is a mistake, and ignored."""


def retry_after(headers: Mapping[str, str], status: int = 429) -> float | None:
    """Seconds that a refusal asks to wait.

    ``Retry-After`` is a number or an HTTP date (RFC 9110, 10.2.3), but some write ``5s``, or a point in time in seconds
    or milliseconds since 1970, or in ISO format. A point in time is compared with the reply's own ``Date`` if it has
    one, so that errors of our clock do not matter.
    """
    for header in _MILLISECONDS:
        milliseconds = _number(headers.get(header, ""))
        if milliseconds is not None and 0 <= milliseconds <= 1000 * _LONGEST:
            return milliseconds / 1000
    names = ("Retry-After", *_RESETS) if status == 429 else ("Retry-After",)
    for header in names:
        if (value := headers.get(header)) and (seconds := _seconds_until(value.strip(), headers)) is not None:
            return seconds
    return None


def _seconds_until(value: str, headers: Mapping[str, str]) -> float | None:
    number = _number(value)
    if number is not None:
        if abs(number) < _EPOCH:
            return max(0.0, number) if number <= _LONGEST else None
        at: float | None = number / 1000 if number >= _EPOCH_MS else number
    elif (duration := _duration(value)) is not None:
        return duration
    else:
        at = _date(value)
    if at is None:
        return None
    seconds = at - (_date(headers.get("Date", "")) or time.time())
    return max(0.0, seconds) if seconds <= _LONGEST else None


def wait_in(error: Mapping[str, Any], said: str) -> float | None:
    """Seconds to wait, from an error's body: Google's ``RetryInfo``, or the words "try again in 1m20s"."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(delay := detail.get("retryDelay"), str):
            return _duration(delay)
    found = _WAIT.search(said)
    return _duration(found[1] or found[2]) if found else None


def remaining(headers: Mapping[str, str], what: str) -> tuple[float, float] | None:
    """How many of ``what`` ("requests", "tokens") remain, and the seconds until that resets."""
    left = headers.get(f"x-ratelimit-remaining-{what}")
    if left is not None:
        reset = _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
    elif (left := headers.get(f"anthropic-ratelimit-{what}-remaining")) is not None:
        at, now = _date(headers.get(f"anthropic-ratelimit-{what}-reset", "")), _date(headers.get("Date", ""))
        reset = None if at is None or now is None else max(0.0, at - now)
    else:
        return None
    count = _number(left)
    return None if count is None or count < 0 or reset is None else (count, reset)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> float | None:
    """An HTTP date, or one in ISO format, as seconds since 1970."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            date = read(text)
            return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            continue
    return None


def _duration(text: str) -> float | None:
    """Seconds in ``1m30.5s``, ``120ms`` or ``2.5``; ``None`` for a point in time, which needs a common clock."""
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        number = _number(text)
        return number if number is not None and 0 <= number < 1e8 else None
    days, hours, minutes, seconds, milliseconds = (_number(part or "0") or 0.0 for part in found.groups())
    return 86400 * days + 3600 * hours + 60 * minutes + seconds + milliseconds / 1000
