"""Runs the commands of docs/how-to/cost.md; as a program, writes their outputs into the page."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.engine_runs import ROOT, config_for, write_run
from tests.loopback import LoopbackProcess

PAGE = ROOT / "docs" / "how-to" / "cost.md"
QUESTIONS = 40
SHOWN = {"check": "Ready to run", "preview": "Cost of", "status": ""}
"""The line from which on a command's output is shown; nothing is of other commands."""
_BLOCK = re.compile(r"```console\n(\$ weak2wise (.*)\n(?:.*\n)*?)```")


def blocks(page: str) -> list[tuple[str, str]]:
    """The page's commands, and what it says that they print."""
    return [(found[2], found[1].split("\n", 1)[1]) for found in _BLOCK.finditer(page)]


def outputs(folder: Path, page: str) -> Iterator[tuple[str, str]]:
    """Run the page's commands in an empty folder, with the providers replaced by the test server."""
    with LoopbackProcess() as server:
        write_run(folder, config_for(folder, server.base_url), QUESTIONS)
        env = os.environ | {"COLUMNS": "100", "DEEPSEEK_API_KEY": "k-0123456789", "PYTHONPATH": str(ROOT)}
        for command, _ in blocks(page):
            full = [sys.executable, "-m", "weak2wise.engine", *command.split()]
            done = subprocess.run(full, cwd=folder, env=env, capture_output=True, text=True, check=False)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            if command.startswith("init"):
                _replace_providers(folder / "run.yaml", server.base_url)
            name = command.split()[0]
            shown = done.stdout[done.stdout.index(SHOWN[name]) :] if name in SHOWN else ""
            lines = [line.rstrip() for line in shown.replace(str(folder), "…").splitlines()]
            yield command, ("\n".join(lines).strip("\n") + "\n" if shown else "")


def _replace_providers(path: Path, base_url: str) -> None:
    text = path.read_text()
    weak = f"  weak:\n    type: openai\n    base_url: {base_url}\n    model_id: weak\n    max_concurrent_requests: 32\n"
    text = re.sub(r"  weak:\n(?:    .*\n)+", weak, text)
    text = text.replace("https://api.deepseek.com", base_url).replace("data/questions.jsonl", "in.jsonl")
    path.write_text(text.replace("deepseek-v4-pro", "strong-a").replace("deepseek-flash", "judge"))


def main() -> None:
    """Write the outputs into the page."""
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        made = dict(outputs(Path(folder), page))
    PAGE.write_text(_BLOCK.sub(lambda found: f"```console\n$ weak2wise {found[2]}\n{made[found[2]]}```", page))


if __name__ == "__main__":
    main()
