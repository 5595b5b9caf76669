"""What a reply says about asking again: how long to wait, and how much is left until when.

Nothing here is believed beyond reason: what is no finite number of seconds counts as not said.
"""

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:([\d.]+)s)?(?:([\d.]+)ms)?")
_WAIT = re.compile(
    r"\b(?:retry|try again) (?:in|after) (?:((?:[\d.]*\d(?:ms|[dhms]))+)\b|([\d.]*\d) ?sec)", re.IGNORECASE
)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that ``Retry-After`` asks for: a number or an HTTP date (RFC 9110, 10.2.3).

    A date is compared with the reply's own ``Date`` where it has one, so that our clock and its jumps do not count.
    """
    value = headers.get("Retry-After")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is None:
        at = _date(value)
        if at is None:
            return None
        seconds = at - (_date(headers.get("Date", "")) or time.time())
    return max(0.0, seconds)


def wait_in(error: Mapping[str, Any], said: str) -> float | None:
    """Seconds that an error's body asks for: Google's ``RetryInfo``, or the words "try again in 1m20s"."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and isinstance(delay := detail.get("retryDelay"), str):
            return _duration(delay)
    found = _WAIT.search(said)
    return _duration(found[1] or found[2]) if found else None


def remaining(headers: Mapping[str, str], what: str) -> tuple[float, float] | None:
    """How many of ``what`` ("requests", "tokens") may still be used, and in how many seconds that is over."""
    left = headers.get(f"x-ratelimit-remaining-{what}")
    if left is None:
        return None
    count, reset = _number(left), _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
    return None if count is None or count < 0 or reset is None else (count, reset)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _date(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _duration(text: str) -> float | None:
    """Seconds in ``1m30.5s``, ``120ms`` or ``2.5``; ``None`` for a point in time, which needs a common clock."""
    found = _DURATION.fullmatch(text) if text else None
    if found is None:
        number = _number(text)
        return number if number is not None and 0 <= number < 1e8 else None
    days, hours, minutes, seconds, milliseconds = (_number(part or "0") or 0.0 for part in found.groups())
    return 86400 * days + 3600 * hours + 60 * minutes + seconds + milliseconds / 1000
