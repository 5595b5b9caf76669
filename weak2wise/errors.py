"""The error model: the type of an error says what it affects.

There are exactly three groups:

``ConfigError``
    The run cannot start: a config key, an input path, a missing extra. Exit 2, one line.
``RecordError``
    One record cannot be finished. It ends as *failed*, and the next run tries it again;
    every other record goes on. ``weak2wise.llm.errors`` has the kinds that come from endpoints.
``RunStopped``
    Something that only the user can fix: a rejected key, spent credit, a full disk. The whole run stops at once
    and can be resumed. Exit 3.

Anything else that escapes is a bug; it stops the run too, with its traceback in ``run.log``. ``Parked`` is no error: it
ends the work on a row whose calls wait in a batch, until their answers are there.

``Kind`` is the one list of what a record can fail for: the words in ``failed.jsonl``, in the totals and behind
``retry-failed --kind``.
"""

from typing import ClassVar, Literal

FORMATS = "pip install '.[formats]' in weak2wise's folder"
"""The command that installs the packages for Parquet, the Hub and ``.zst``; a plain install lacks them."""
TRAINING = "pip install '.[train]' in weak2wise's folder"
"""The command that installs the packages that train a model."""

Kind = Literal[
    # The input line is not a valid question.
    "too_long",
    "not_utf8",
    "not_json",
    "bad_field",
    # No complete answer arrived; another try may help.
    "timeout",
    "connection",
    "truncated",
    "oversized",
    "malformed",
    "empty",
    "server_error",
    "rate_limited",
    "endpoint_down",
    "engine_error",
    # The endpoint refused this prompt.
    "context_overflow",
    "content_filter",
    "bad_request",
    "bad_prompt",
    # The answer cannot be used (``params.outcomes``), or none of several.
    "length",
    "no_final_answer",
    "no_reasoning",
    # Nothing in the traces can be masked; the question is not failed, it counts for ``engine.max_error_rate``.
    "no_steps",
]


class ConfigError(Exception):
    """The run cannot start; the message names the file, the key and what was expected."""


class RecordError(Exception):
    """One record cannot be finished.

    ``endpoint`` names the endpoint that failed, where one did; ``attempts`` counts the requests made for the call that
    failed. ``may_pass``: the fault is temporary, so the same may succeed later.
    """

    may_pass: ClassVar[bool] = False

    def __init__(self, kind: Kind, message: str, *, endpoint: str | None = None, attempts: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.endpoint = endpoint
        self.attempts = attempts


class Parked(Exception):
    """The row waits for a batch that is out. It is taken up again, from this step on, when its answers are there."""


Cause = Literal["fault", "cap", "failure_rate"]
"""What stops a run: a fault, ``engine.max_cost_usd``, or ``engine.max_error_rate``."""


class RunStopped(Exception):
    """The whole run must stop; ``hint`` says what the user has to do before starting it again.

    ``same_command``: whether the same command goes on after that. It does not if an option of it may have to change.
    """

    def __init__(self, message: str, *, hint: str, same_command: bool = True, cause: Cause = "fault") -> None:
        super().__init__(message)
        self.hint = hint
        self.same_command = same_command
        self.cause = cause


def single_errors(error: BaseException) -> list[BaseException]:
    """The error, or the single ones inside the groups that TaskGroups make, however deep, in order."""
    if isinstance(error, BaseExceptionGroup):
        return [single for inner in error.exceptions for single in single_errors(inner)]
    return [error]
