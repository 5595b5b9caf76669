"""The codes of a run in words for people: why questions were dropped or failed, a trace's marks, what cut it.

Files, logs and ``--json`` have the code itself, for tools. So has ``retry-failed --kind``: a failure is said with it.
"""

from weak2wise.errors import Kind
from weak2wise.ledger.account import INPUT
from workers.method import METHOD

_DROPPED = {
    "weak_solves": "solved by the weak LLM",
    "near_duplicate": "nearly the same as an earlier question",
    "too_hard": "too hard for the weak LLM",
    "unfaithful": "no trace ends with the reference answer",
    "below_min_score": "no trace reaches params.min_score",
    "no_pair": "no trace is worse than the best one",
}
FAILED: dict[Kind, str] = {
    "too_long": "the input line is too long",
    "not_utf8": "the input line is not UTF-8 text",
    "not_json": "the input line is not a JSON object",
    "bad_field": "a field of the input line is missing or not valid",
    "timeout": "no answer came in time",
    "connection": "the connection was lost",
    "truncated": "an answer broke off on its way",
    "oversized": "an answer was too large",
    "malformed": "an answer could not be read",
    "empty": "an answer was empty",
    "server_error": "the provider's server had an error",
    "rate_limited": "the provider asked to wait for too long",
    "endpoint_down": "the endpoint was down",
    "engine_error": "the embedded engine had an error",
    "context_overflow": "the prompt is too long for the model",
    "content_filter": "the provider's content filter refused it",
    "bad_request": "the provider refused the request",
    "bad_prompt": "the model cannot take this prompt",
    "length": "an answer reached its token limit",
    "no_final_answer": "a trace has no final answer",
    "no_reasoning": "a trace has no reasoning",
    "no_steps": "no trace has steps",
}
_MARKS = {
    "length": "reached its token limit",
    "empty": "no text, only thinking",
    "content_filter": "withheld by a content filter",
    "no_final_answer": "no step “Final Answer”",
    "unfaithful": "ends with another answer",
}
_CUT = {
    "anchor": "a sentence that a model quoted",
    "rewrite": "a model's copy of the beginning",
    "rule": "the rule",
    "whole": "no place was found",
}
_STEPS = {"filter": "filter", "generate": "writing traces", "stepmask": "scoring", "select": "cutting", "sft": "output"}
assert list(_STEPS) == [step.name for step in METHOD]


def in_words(reason: str) -> str:
    """Why a question was dropped; the reason itself if it is not known."""
    kind, _, name = reason.partition("/")
    return f"in the evaluation set {name}" if kind == "contaminated" else _DROPPED.get(reason, reason)


def failed_in_words(where: str) -> str:
    """Where and why a question failed, of a ``stage/kind``: words, then the kind in brackets."""
    stage, _, kind = where.partition("/")
    words = FAILED.get(kind)  # type: ignore[call-overload]
    said = f"{words} ({kind})" if words else kind or where
    return said if stage == INPUT or not kind else f"{_STEPS.get(stage, stage)}: {said}"


def mark_in_words(mark: str) -> str:
    """A flaw that a trace was accepted with."""
    return _MARKS.get(mark, mark)


def cut_in_words(cut_by: str) -> str:
    """What cut a trace."""
    return _CUT.get(cut_by, cut_by)
