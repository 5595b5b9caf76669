"""``status`` reads a run's files alone: one that goes on, was stopped or has finished."""

import json
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import run_in, start
from tests.finished_run import FinishedRun, command
from tests.loopback import LoopbackProcess
from weak2wise.outputs.history import read_history


def test_status_of_a_finished_run_is_its_summary(finished: FinishedRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("status", finished.work, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((finished.work / "summary.json").read_text())
    assert (found["state"], found["process"], found["whole"]) == ("finished", None, True)
    assert found["totals"] == summary["totals"]
    assert found["steps"]["sft"] == {"done": len(finished.emitted), "dropped": 0, "failed": 0}
    assert command("status", "--config", finished.folder / "config.yaml") == 0
    assert f"{len(finished.emitted):,} emitted" in capsys.readouterr().out


@pytest.mark.slow
def test_status_follows_a_run_while_it_goes_on_and_after_it_was_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files are only read: the run under the eyes of ``status`` ends as any other."""
    with LoopbackProcess(latency=0.05) as server:
        run_in(tmp_path, server.base_url, 300)
        process = start(tmp_path)
        try:
            while not any(shard.stat().st_size for shard in (tmp_path / "work").glob("ledger/filter/*.jsonl")):
                time.sleep(0.02)
            assert command("status", tmp_path / "work", "--json") == 0
            found = json.loads(capsys.readouterr().out)
            assert (found["state"], found["process"]) == ("running", process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=30)
        assert process.returncode == 130, said
    assert command("status", tmp_path / "work", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    totals = found["totals"]
    assert (found["state"], found["process"], totals["rows"]) == ("stopped", None, 300)
    assert totals["unfinished"] > 0
    assert totals["rows"] == totals["emitted"] + sum(totals["dropped"].values()) + totals["unfinished"]
    monkeypatch.setattr("sys.argv", ["/somewhere/bin/weak2wise", "status"])
    assert command("status", tmp_path / "work") == 0
    assert f"Go on with: weak2wise --config {tmp_path / 'work' / 'config.yaml'}" in capsys.readouterr().err
    (tmp_path / "work" / "config.yaml").unlink()  # as an earlier version left it
    assert command("status", tmp_path / "work") == 0
    assert "Go on with the command that started it: weak2wise --config FILE" in capsys.readouterr().err


def test_the_rate_is_that_of_the_last_start_and_damaged_log_lines_are_passed_over(tmp_path: Path) -> None:
    began = datetime(2026, 1, 1, tzinfo=UTC)

    def event(name: str, seconds: int, **fields: Any) -> str:
        return json.dumps({"event": name, "timestamp": (began + timedelta(seconds=seconds)).isoformat(), **fields})

    log = [
        event("run.started", 0, steps=["filter", "sft"], input="in.jsonl"),
        event("progress", 10, filter="500+1", sft="400+1", dropped=90, failed=0),
        event("run.stopped", 15, reason="HTTP 401"),
        event("run.started", 100, steps=["filter", "sft"], input="in.jsonl"),
        event("progress", 110, filter="9+1", sft="5+1", dropped=1, failed=0),
        '{"event": "progress", "timestamp": "2026-01-01T00:0',
        event("progress", 115, filter="odd"),
        event("progress", 130, filter="99+1", sft="20+1", dropped=5, failed=1, seconds_left=60),
    ]
    (tmp_path / "run.log").write_text("\n".join(log) + "\n")
    history = read_history(tmp_path / "run.log")
    assert history.per_minute() == pytest.approx({"filter": 60 * (104 - 10) / 20, "sft": 60 * (20 - 5) / 20})
    assert history.seconds_left(began + timedelta(seconds=150)) == pytest.approx(40)
    assert (history.stopped, history.finished, history.last) == (None, False, began + timedelta(seconds=130))
