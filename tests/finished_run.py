"""A run of the real engine that tests of its outputs share, and the commands as a shell would call them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import config_for, finish, lines, write_run
from tests.loopback import LoopbackProcess
from weak2wise.commands import app

QUESTIONS = 20
SUBJECTS = ("sums", "addition")


@dataclass(frozen=True)
class FinishedRun:
    """A folder with ``config.yaml``, ``in.jsonl``, ``work`` and ``out.jsonl``."""

    folder: Path

    @property
    def work(self) -> Path:
        """Its work_dir."""
        return self.folder / "work"

    @property
    def emitted(self) -> list[dict[str, Any]]:
        """Its training data."""
        return lines(self.folder / "out.jsonl")

    @property
    def selected(self) -> list[dict[str, Any]]:
        """Its golden traces, in the same order."""
        return lines(self.work / "selected_truncated.jsonl")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """Twenty questions all the way through and two lines that are none; nobody may change it."""
    folder = tmp_path_factory.mktemp("finished")
    with LoopbackProcess() as server:
        config = config_for(folder, server.base_url)
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 8.0}
        write_run(folder, config, QUESTIONS)
        rows = [line | {"subject": SUBJECTS[number % 2]} for number, line in enumerate(lines(folder / "in.jsonl"))]
        with (folder / "in.jsonl").open("w") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
            file.write('{"question": "no answer"}\nno JSON\n')
        finish(folder, code=1)
    return FinishedRun(folder)


def command(*arguments: object) -> int:
    """Run a command in this process and return its exit code."""
    code: int = app([str(argument) for argument in arguments], exit_on_error=False)
    return code
