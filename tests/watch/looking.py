"""Looks at the page of a run, as a script would."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.engine_runs import ROOT


def get(url: str, **headers: str) -> tuple[int, Any, str]:
    """Status, header fields and text of what is there."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def followed(folder: Path, *, stop: int = 0) -> list[dict[str, Any]]:
    """Run the engine to its end and return every board that the page was sent; ``stop``: interrupt after so many."""
    words = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml"), "--page", "0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as engine:
        assert engine.stderr
        url = engine.stderr.readline().removeprefix("The page: ").strip()
        boards = []
        with urllib.request.urlopen(f"{url}events", timeout=30) as stream:
            for line in stream:
                if line.startswith(b"data: ") and (board := json.loads(line[6:])["board"]):
                    boards.append(board)
                    if len(boards) == stop:
                        engine.send_signal(signal.SIGINT)
        engine.communicate(timeout=60)
    return boards
