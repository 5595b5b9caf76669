"""What a reply says about later requests: how long to wait, and what remains of a quota until when.

Invalid values are ignored: a wait or a count that is not a finite number counts as absent.
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

    A date is compared with the reply's own ``Date`` if it has one, so that errors of our clock do not matter.
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
