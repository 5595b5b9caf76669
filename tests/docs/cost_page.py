"""Runs the commands of docs/how-to/cost.md; as a program, writes their outputs into the page.

A command whose output begins with ``^C`` is interrupted once its batches are out.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.engine_runs import ROOT, config_for, write_run
from tests.loopback import BatchSettings, LoopbackProcess

PAGE = ROOT / "docs" / "how-to" / "cost.md"
QUESTIONS = 40
SHOWN = {"check": "Ready to run", "preview": "Cost of", "status": "", "batch": ""}
"""The line from which on a command's output is shown; nothing is of other commands."""
BATCH_SECONDS = 4.0
INTERRUPTED = "^C\n"
_BLOCK = re.compile(r"```console\n(\$ weak2wise (.*)\n(?:.*\n)*?)```")


def blocks(page: str) -> list[tuple[str, str]]:
    """The page's commands, and what it says that they print."""
    return [(found[2], found[1].split("\n", 1)[1]) for found in _BLOCK.finditer(page)]


def written(page: str, made: Iterable[tuple[str, str]]) -> str:
    """The page with these outputs below its commands."""
    printed = (f"```console\n$ weak2wise {command}\n{shown}```" for command, shown in made)
    return _BLOCK.sub(lambda _: next(printed), page)


def outputs(folder: Path, page: str) -> Iterator[tuple[str, str]]:
    """Run the page's commands in an empty folder, with the providers replaced by the test server."""
    with LoopbackProcess(batches=BatchSettings(seconds=BATCH_SECONDS)) as server:
        write_run(folder, config_for(folder, server.base_url), QUESTIONS)
        for command, said in blocks(page):
            if said.startswith(INTERRUPTED):
                shown = INTERRUPTED + _interrupted(folder, command, server)
            else:
                with _started(folder, command) as process:
                    printed, complaints = process.communicate(timeout=240)
                assert process.returncode == 0, (command, printed, complaints)
                name = command.split()[0]
                shown = printed[printed.index(SHOWN[name]) :] if name in SHOWN else ""
            if found := re.fullmatch(r"init .* --out (.*)", command):
                _replace_providers(folder / found[1], server.base_url)
            lines = [line.rstrip() for line in shown.replace(str(folder), "…").splitlines()]
            yield command, ("\n".join(lines).strip("\n") + "\n" if shown else "")


def _started(folder: Path, command: str) -> "subprocess.Popen[str]":
    keys = dict.fromkeys(("DEEPSEEK_API_KEY", "OPENAI_API_KEY"), "k-0123456789")
    env = os.environ | keys | {"COLUMNS": "100", "PYTHONPATH": str(ROOT)}
    full = [sys.executable, "-m", "weak2wise.engine", *command.split()]
    return subprocess.Popen(full, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _interrupted(folder: Path, command: str, server: LoopbackProcess) -> str:
    """What the command says when Ctrl-C comes while its batches are out."""
    with _started(folder, command) as process:
        while process.poll() is None and not any(b.status == "in_progress" for b in server.batches().batches):
            time.sleep(0.05)
        time.sleep(1.0)  # the run looks five times a second
        process.send_signal(signal.SIGINT)
        printed, complaints = process.communicate(timeout=60)
    assert process.returncode == 130, (command, printed, complaints)
    return complaints[complaints.index("batch.left") :]


def _replace_providers(path: Path, base_url: str) -> None:
    """Put the test server in place of the providers, and add ``batch`` as the page says, but quicker."""
    text = path.read_text()
    weak = f"  weak:\n    type: openai\n    base_url: {base_url}\n    model_id: weak\n    max_concurrent_requests: 32\n"
    text = re.sub(r"  weak:\n(?:    .*\n)+", weak, text)
    text = re.sub(r"https://api\.(deepseek\.com|openai\.com/v1)", base_url, text)
    text = text.replace("data/questions.jsonl", "in.jsonl")
    for model, name in (("deepseek-v4-pro|gpt-6.1-terra", "strong-a"), ("deepseek-flash|gpt-6-luna", "judge")):
        text = re.sub(f"model_id: ({model})", f"model_id: {name}", text)
    if path.name == "batched.yaml":
        text = text.replace("data/work", "data/batched")
        text = re.sub(r"(  strong:.*\n)", r"\1    batch: { max_wait: 300ms, poll: 200ms }\n", text)
    path.write_text(text)


def main() -> None:
    """Write the outputs into the page."""
    page = PAGE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        PAGE.write_text(written(page, outputs(Path(folder), page)))


if __name__ == "__main__":
    main()
