"""Why questions were dropped, in words for people. Files and ``--json`` have the reason itself, for tools."""

_WORDS = {
    "weak_solves": "solved by the weak LLM",
    "near_duplicate": "nearly the same as an earlier question",
    "too_hard": "too hard for the weak LLM",
    "unfaithful": "no trace ends with the reference answer",
    "below_min_score": "no trace reaches params.min_score",
    "no_pair": "no trace is worse than the best one",
}


def in_words(reason: str) -> str:
    """The reason in words; itself where it says enough."""
    kind, _, name = reason.partition("/")
    return f"in the evaluation set {name}" if kind == "contaminated" else _WORDS.get(reason, reason)
