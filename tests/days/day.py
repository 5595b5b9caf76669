"""A day of somebody who works with weak2wise: the commands of the documentation, in a folder of their own."""

import json
import os
import re
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.engine_runs import ROOT
from tests.loopback import LoopbackProcess, make_question
from weak2wise.ledger.files import write_atomic

_BLOCK = re.compile(r"^```(?:console|bash)\n(.*?)^```", re.MULTILINE | re.DOTALL)
KEY = "sk-0123456789abcdef"
SECONDS = 240


@cache
def documented() -> dict[str, str]:
    """Every command that README and docs show, and the page that shows it."""
    found: dict[str, str] = {}
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in _BLOCK.findall(page.read_text()):
            for line in block.replace("\\\n", " ").splitlines():
                command = " ".join(line.removeprefix("$ ").split(" #")[0].split())
                found.setdefault(command, str(page.relative_to(ROOT)))
    return found


class Day:
    """A folder, the providers (a server of the tests' own), and what the user types.

    ``types`` and ``starts`` take only what a page of the documentation shows.
    """

    def __init__(self, folder: Path, server: LoopbackProcess, **env: str) -> None:
        self.folder = folder
        self.server = server
        self.port = unused_port()
        """Of the page, in place of 8000, which may be taken where the tests run."""
        self.env = os.environ | {"DEEPSEEK_API_KEY": KEY, "COLUMNS": "100", "PYTHONPATH": str(ROOT)} | env

    def types(self, command: str, *, code: int = 0) -> str:
        """What the command prints, both streams."""
        process = self.starts(command)
        said, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == code, f"{command}: exit code {process.returncode}\n{said}"
        return said

    def starts(self, command: str) -> "subprocess.Popen[str]":
        """The command's process, in a session of its own."""
        assert command in documented(), f"no page shows {command!r}"
        program, *arguments = command.replace("--page 8000", f"--page {self.port}").split()
        assert program == "weak2wise"
        return subprocess.Popen(
            [sys.executable, "-m", "weak2wise", *arguments],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def writes_questions(self, count: int, path: str = "data/questions.jsonl") -> list[tuple[str, str]]:
        """Write the input file; returns the questions and their answers."""
        pairs = [make_question(number) for number in range(count)]
        lines = (json_line({"id": f"q{n}", "question": q, "answer": a}) for n, (q, a) in enumerate(pairs))
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / path, lines)
        return pairs

    def edits(self, config: str = "run.yaml", **sections: dict[str, Any]) -> None:
        """Point the config's endpoints to the server, and set keys of its sections, as a user does in an editor."""
        path = self.folder / config
        settings = yaml.safe_load(path.read_text())
        for name, endpoint in settings["model_endpoints"].items():
            kept = {k: v for k, v in endpoint.items() if k in {"api_key_env", "prices", "max_concurrent_requests"}}
            model = {"weak": "weak", "helper": "judge"}.get(name, "strong-a")
            settings["model_endpoints"][name] = kept | {
                "type": "openai",
                "base_url": self.server.base_url,
                "model_id": model,
            }
        for name, values in sections.items():
            settings[name] = settings.get(name, {}) | values
        path.write_text(yaml.safe_dump(settings))


def unused_port() -> int:
    """A port that nobody listens at now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def json_line(row: dict[str, str]) -> bytes:
    """A row as a line of JSON."""
    return json.dumps(row).encode() + b"\n"
