"""Held-out questions in files, and what an evaluation has left, for the tests of evaluations."""

import json
from pathlib import Path
from typing import Any

from tests.api.runs import questions
from tests.loopback import LoopbackProcess, LoopbackServer

VARIED = "## Hint\n{question}"
"""A prompt to which the loopback weak model answers differently each time it is asked."""


def write_questions(path: Path, count: int, first: int = 1000) -> Path:
    """A file of questions that the loopback models know."""
    return write_rows(path, questions(count, first))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A file of these rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answers(folder: str | Path) -> list[dict[str, Any]]:
    """The lines of an evaluation's ``answers.jsonl``."""
    return [json.loads(line) for line in (Path(folder) / "answers.jsonl").read_text().splitlines()]


def received(server: LoopbackServer | LoopbackProcess) -> int:
    """How many requests the server has had."""
    stats = server.stats if isinstance(server, LoopbackServer) else server.stats()
    return sum(model.received for model in stats.models.values())
