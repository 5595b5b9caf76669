"""What providers mean by a refusal: no credit is left, or it was too much at once.

A code counts more than the message, which is written for people: one about a rate limit may mention billing. After the
code, a time to wait shows that it passes. The codes are from the providers' documentation and users' reports.
"""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

NO_CREDIT_CODES = frozenset(
    {
        # OpenAI and what follows its names
        *("billing_hard_limit_reached", "billing_not_active", "credit_balance_exhausted", "insufficient_balance"),
        *("organization_spend_limit_exceeded", "project_spend_limit_exceeded", "organization_usage_limit_exceeded"),
        "exceeded_current_quota_error",  # Moonshot
        "billing_error",  # Anthropic
        # Alibaba
        *("arrearage", "allocationquota.freetieronly", "accessdenied.unpurchased"),
        *("prepaidbilloverdue", "postpaidbilloverdue", "budgetlimitexceeded"),
        *("1110", "1111", "1112", "1113", "1121", "1309"),  # Zhipu
        *("accountoverdueerror", "serviceoverdue"),  # Volcengine
        "30001",  # SiliconFlow
    }
)
WAIT_CODES = frozenset(
    {
        *("rate_limit_exceeded", "rate_limit_error", "resource_exhausted", "resource_unavailable"),
        *("rate_limit_reached_error", "engine_overloaded_error"),  # Moonshot
        *("throttling", "throttling.ratequota", "throttling.allocationquota", "limit_burst_rate", "limit_requests"),
        *("1302", "1303", "1304", "1305", "1308", "1310", "1312"),  # Zhipu
        "in_flight_budget_exhausted",  # OpenRouter: a 402 for too many at once
    }
)
AMBIGUOUS_CODE = "insufficient_quota"
"""OpenAI: no credit. Alibaba: too many tokens a minute."""
_OF_ALIBABA = re.compile(r"aliyun|alibaba|dashscope|model-studio|#token-limit|allocated quota", re.IGNORECASE)
_PER_TIME = re.compile(r"\bper (second|minute|hour)\b|\b[RT]P[MS]\b|\brate limit", re.IGNORECASE)
_BILLING_WORDS = {
    # A whole account is meant even by a 400 with these words: Anthropic, Google
    400: re.compile(
        r"credit balance is too low|\bbilling\b[^.]{0,60}\b(enable|disabled|inactive)|\benable billing\b", re.IGNORECASE
    ),
    429: re.compile(
        r"insufficient[_ ]balance|exceeded your current quota|余额不足|credit balance is too low", re.IGNORECASE
    ),
}
_MINIMAX_STATUS = {1002: 429, 1004: 401, 1008: 402, 1039: 429, 2013: 400, 2049: 401, 1026: 400, 1027: 400}
_MINIMAX_FILTERED = {1026, 1027}


def codes_of(error: dict[str, Any]) -> set[str]:
    """The codes by which an error's body names what it is, in lower case."""
    codes = {str(error.get(key)).casefold() for key in ("code", "type", "status")}
    return codes | (_relayed(error) - {AMBIGUOUS_CODE})


def credit_is_spent(status: int, codes: set[str], said: str, *, waits: bool, of_alibaba: bool) -> bool:
    """Whether a refusal means that no credit is left.

    Args:
        status: of HTTP.
        codes: as ``codes_of`` gives them.
        said: the provider's message.
        waits: the provider says how long to wait.
        of_alibaba: it comes from Alibaba's service, as far as is known.
    """
    if codes & NO_CREDIT_CODES:
        return True
    if codes & WAIT_CODES:
        return False
    if AMBIGUOUS_CODE in codes:
        return not (waits or of_alibaba or _OF_ALIBABA.search(said) or _PER_TIME.search(said))
    if status == 402:
        return True
    words = _BILLING_WORDS.get(status)
    return words is not None and not waits and words.search(said) is not None


def is_alibaba(host: str, body: dict[str, Any]) -> bool:
    """Whether a host, or the form of an error's body, is that of Alibaba's service."""
    return "request_id" in body or _OF_ALIBABA.search(host) is not None


def minimax_error(base_resp: Any) -> dict[str, Any] | None:
    """MiniMax's report of an error, with the status that it should have had; ``None`` if it reports none."""
    if not isinstance(base_resp, dict) or not isinstance(code := base_resp.get("status_code"), int) or not code:
        return None
    kind = "content_filter" if code in _MINIMAX_FILTERED else f"minimax_{code}"
    return {"message": base_resp.get("status_msg"), "code": _MINIMAX_STATUS.get(code, 500), "type": kind}


def _relayed(error: dict[str, Any]) -> set[str]:
    """The codes of the error that OpenRouter relays from another provider."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, str):
        try:
            raw = msgspec.json.decode(raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return set()
    inner = raw.get("error", raw) if isinstance(raw, dict) else None
    if not isinstance(inner, dict):
        return set()
    found: Iterable[Any] = (inner.get("code"), inner.get("type"))
    return {str(code).casefold() for code in found}
