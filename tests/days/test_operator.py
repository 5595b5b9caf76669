"""An operator keeps runs alive for others: watches, is woken, finds a damaged line, a spent budget, a full disk."""

import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.days.day import Day
from tests.loopback import LoopbackProcess

pytestmark = pytest.mark.slow
CAP = 0.06
TOKEN = "a-word-that-nobody-guesses"


def test_an_operators_day(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.05) as server:
        day = Day(tmp_path, server, W2W_PAGE_TOKEN=TOKEN)
        day.types("weak2wise init deepseek --out run.yaml")
        day.writes_questions(60)
        day.edits(engine={"max_cost_usd": CAP}, notify={"command": ["tee", "cap.json"]})
        _watches_until_the_money_is_spent(day)
        day.edits(engine={"max_cost_usd": 5}, notify={"command": ["tee", "finish.json"]})
        _repairs_a_damaged_line(day)
        day.types("weak2wise --config run.yaml --page 8000")
        assert "data/work: finished" in day.types("weak2wise status data/work")
        assert json.loads((tmp_path / "finish.json").read_text())["event"] == "finish"
        _makes_room(day)


def _watches_until_the_money_is_spent(day: Day) -> None:
    with day.starts("weak2wise --config run.yaml --page 8000") as run:
        metrics, states = "", set()
        while run.poll() is None:
            try:
                metrics = _fetched(day, "/metrics") or metrics
                states.add(json.loads(_fetched(day, "/healthz"))["state"])
            except OSError:
                time.sleep(0.05)
        said, _ = run.communicate()
    assert run.returncode == 3, said
    assert "engine.max_cost_usd" in said
    assert 'run="data/work"' in metrics
    assert states >= {"running"}
    assert json.loads((day.folder / "cap.json").read_text())["event"] == "cap"
    status = day.types("weak2wise status data/work")
    spent = float(re.search(r"spent: ([\d.]+) US dollars", status)[1])  # type: ignore[index]
    assert 0 < spent <= CAP


def _repairs_a_damaged_line(day: Day) -> None:
    shard = min((day.folder / "data" / "work" / "ledger" / "filter").glob("*.jsonl"))
    lines = shard.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"1", b"7", 1)
    shard.write_bytes(b"".join(lines))
    said = day.types("weak2wise --config run.yaml --page 8000", code=2)
    assert f"{shard.name}" in said
    assert "weak2wise repair" in said
    assert "Traceback" not in said
    assert "1 damaged line set aside" in day.types("weak2wise repair data/work")


def _makes_room(day: Day) -> None:
    """The run that is over can do without the texts of its answers; its next start asks nothing again."""
    journal = day.folder / "data" / "work" / "ledger" / "journal"
    before = sum(path.stat().st_size for path in journal.iterdir())
    assert "texts of answers" in day.types("weak2wise gc data/work --dry-run")
    assert sum(path.stat().st_size for path in journal.iterdir()) == before
    day.types("weak2wise gc data/work --yes")
    assert sum(path.stat().st_size for path in journal.iterdir()) < before
    asked = day.server.requests()
    day.types("weak2wise --config run.yaml --page 8000")
    assert day.server.requests() == asked


def _fetched(day: Day, path: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{day.port}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=5) as reply:
        return str(reply.read().decode())
