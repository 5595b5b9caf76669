"""Looks at the page of a run, as a script would."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.engine_runs import ROOT
from weak2wise.ledger.manifest import InputDigest, Manifest
from weak2wise.watch.address import Address, Served


def at(text: str, *names: str) -> Served:
    """A page of no run, to be served at an address."""
    return Served(Address.of(text, names), Path("/nowhere"))


def begun(folder: Path) -> Path:
    """A work_dir with a manifest, in which a run has just started; returns its log."""
    shape: dict[str, Any] = {"models.mweak": "weak", "models.mstrong": ["strong"]}
    shape |= {"models.judge": None, "models.truncation": None}
    shape |= {"model_endpoints.weak.model": "tiny", "model_endpoints.strong.model": "/models/large", "params.n_mask": 6}
    Manifest(created="2026-01-01T00:00:00Z", shape=shape, input=InputDigest(0, "")).write(folder)
    note(folder / "run.log", 0, "run.started", steps=["filter", "generate"])
    return folder / "run.log"


def note(log: Path, seconds: float, event: str, **facts: object) -> None:
    """Add an event to a log, so many seconds after the beginning of the year."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    with log.open("a") as file:
        file.write(json.dumps({**facts, "event": event, "timestamp": at.isoformat().replace("+00:00", "Z")}) + "\n")


def page_of(engine: "subprocess.Popen[str]") -> str:
    """The URL that a run prints for its page, with the token."""
    assert engine.stderr
    return engine.stderr.readline().removeprefix("The page: ").strip()


def below(url: str, path: str = "") -> urllib.request.Request:
    """A request for a path of the page with this URL; the token is sent as a script sends it."""
    base, _, token = url.partition("?token=")
    return urllib.request.Request(base + path, headers={"Authorization": f"Bearer {token}"})


def get(url: str, path: str = "", **headers: str) -> tuple[int, Any, str]:
    """Status, header fields and text of what is there; with a token in the URL, for who knows it."""
    request = below(url, path) if "?token=" in url else urllib.request.Request(url + path)
    for name, value in headers.items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=5) as reply:
            return reply.status, reply.headers, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def followed(folder: Path, *, stop: int = 0) -> list[dict[str, Any]]:
    """Run the engine to its end and return every board that the page was sent; ``stop``: interrupt after so many."""
    words = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml"), "--page", "0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as engine:
        boards = []
        with urllib.request.urlopen(below(page_of(engine), "events"), timeout=30) as stream:
            for line in stream:
                if line.startswith(b"data: ") and (board := json.loads(line[6:]).get("board")):
                    boards.append(board)
                    if len(boards) == stop:
                        engine.send_signal(signal.SIGINT)
        engine.communicate(timeout=60)
    return boards
