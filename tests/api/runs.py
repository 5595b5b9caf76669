"""Configs and questions made in code, for tests of the Python API."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import weak2wise
from tests.loopback import LoopbackProcess, LoopbackServer, make_question
from tests.loopback.counts import RequestCount


def endpoint(base_url: str, model: str, **keys: Any) -> weak2wise.OpenAIEndpoint:
    """One of the loopback server's models."""
    return weak2wise.OpenAIEndpoint(model_id=model, base_url=base_url, **keys)


def config_at(base_url: str, *, shared: dict[str, Any] | None = None, **sections: Any) -> weak2wise.Config:
    """A small run over HTTP: two mask levels, one strong model, no judge.

    Args:
        base_url: the loopback server's.
        shared: keys of every endpoint.
        **sections: sections of the config in place of these.
    """
    small: dict[str, Any] = {
        "models": weak2wise.Models(mweak="weak", mstrong=("strong-a",)),
        "endpoints": {name: endpoint(base_url, name, **shared or {}) for name in ("weak", "strong-a")},
        "params": weak2wise.Params(samples_per_model=1, n_mask=2, judge_mode="rule"),
    }
    return weak2wise.Config(**small | sections)


def questions(count: int, first: int = 0) -> list[dict[str, Any]]:
    """Questions that the loopback models know, with ids of their own."""
    pairs = [make_question(number) for number in range(first, first + count)]
    return [{"id": f"q{first + at}", "question": q, "answer": a} for at, (q, a) in enumerate(pairs)]


def events(work_dir: Path) -> list[dict[str, Any]]:
    """All of a run's log."""
    return [json.loads(line) for line in (work_dir / "run.log").read_text().splitlines()]


def names(work_dir: Path) -> Counter[str]:
    """How often each event is in a run's log."""
    return Counter(event["event"] for event in events(work_dir))


def asked(server: LoopbackServer | LoopbackProcess) -> dict[str, RequestCount]:
    """Each request the server has had, and how often; a copy."""
    found = server.stats.requests if isinstance(server, LoopbackServer) else server.requests()
    return {digest: RequestCount(count.asked, count.answered) for digest, count in found.items()}


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below a folder: when it was written (nanoseconds), and the digest of its bytes."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
