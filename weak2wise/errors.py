"""The error model: who is harmed by a fault decides its type.

Three groups, and nothing in between:

``ConfigError``
    The run cannot start: a config key, an input path, a missing extra. Exit 2, one line.
``RecordError``
    One record's trouble. It condemns that record, which ends as *failed* and is owed again on the next run;
    every other record goes on. ``weak2wise.llm.errors`` has the kinds that come from endpoints.
``StopRun``
    Something only the user can mend: a rejected key, spent credit, a full disk. The whole run stops at once,
    resumably. Exit 3.

Anything else that escapes is a bug; it stops the run too, with its traceback in ``run.log``.
"""


class ConfigError(Exception):
    """The run cannot start; the message names the file, the key and what was expected."""


class RecordError(Exception):
    """One record cannot be finished.

    ``kind`` is a short stable word for tools (``context_overflow``, ``timeout``, …); ``endpoint`` names the
    endpoint that failed, where one did; ``attempts`` counts the requests made for the call that failed.
    """

    def __init__(self, kind: str, message: str, *, endpoint: str | None = None, attempts: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.endpoint = endpoint
        self.attempts = attempts


class StopRun(Exception):
    """The whole run must stop; ``hint`` tells the user what to do before starting it again."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint
