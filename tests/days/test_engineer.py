"""An engineer has questions by the thousand and a provider's key: from a config to a file that is trained on.

The day's commands are those of the tutorial and the how-to pages, in the order in which a reader meets them.
"""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.days.day import KEY, Day
from tests.loopback import LoopbackProcess
from weak2wise import open_run

pytestmark = pytest.mark.slow
QUESTIONS = 120


def test_an_engineers_day(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.1) as server:
        day = Day(tmp_path, server)
        _configures(day)
        _knows_what_it_costs(day)
        _loses_the_machine_twice(day)
        _hands_the_data_to_a_trainer(day)


def _configures(day: Day) -> None:
    listed = day.types("weak2wise init --list")
    assert "deepseek" in listed
    assert "openai" in listed
    said = day.types("weak2wise init deepseek --out run.yaml")
    assert "dataset.input_path" in said
    assert "weak2wise check --config run.yaml" in said
    refused = day.types("weak2wise check --config run.yaml", code=2)
    assert "data/questions.jsonl" in refused
    assert "Traceback" not in refused
    day.writes_questions(QUESTIONS)
    day.edits()


def _knows_what_it_costs(day: Day) -> None:
    said = day.types("weak2wise check --config run.yaml")
    assert re.search(rf"Ready to run {QUESTIONS} questions: about [\d.]+ US dollars, at most [\d.]+", said)
    assert "!" not in said.partition("Ready to run")[0]
    said = day.types("weak2wise preview --config run.yaml -n 3")
    assert re.search(r"Cost of 3 questions: [\d.]+ US dollars", said)
    assert not (day.folder / "data" / "work").exists()


def _loses_the_machine_twice(day: Day) -> None:
    """Killed, then stopped with Ctrl-C, then to the end: each model call is paid once but for those that were out."""
    command = "weak2wise --config run.yaml --page 8000"
    ledgers = day.folder / "data" / "work"
    for sent, code in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        with day.starts(command) as run:
            _wait_for_lines(ledgers, 60 if sent == signal.SIGKILL else 400, run)
            os.killpg(run.pid, sent) if sent == signal.SIGKILL else run.send_signal(sent)
            said, _ = run.communicate(timeout=60)
            assert run.returncode == code, said
    assert f"Go on with: python -m weak2wise --config run.yaml --page {day.port}" in said
    stopped = day.types("weak2wise status data/work")
    assert "stopped" in stopped
    said = day.types(command)
    assert f"http://127.0.0.1:{day.port}/" in said
    status = day.types("weak2wise status data/work")
    assert "data/work: finished" in status
    assert re.search(r"spent: [\d.]+ US dollars", status)
    assert "0 failed + 0 unfinished" in status
    totals = open_run(ledgers).summary.totals
    assert totals.rows == QUESTIONS == totals.emitted + sum(totals.dropped.values())


def _hands_the_data_to_a_trainer(day: Day) -> None:
    assert "report.html" in day.types("weak2wise report data/work")
    with day.starts("weak2wise view data/work") as view:
        assert view.stdout
        assert "http://127.0.0.1:" in view.stdout.readline()
        view.send_signal(signal.SIGINT)
        said, _ = view.communicate(timeout=30)
    assert view.returncode in {0, 130}, said
    said = day.types("weak2wise export data/work --out golden")
    assert "trl sft --dataset_name golden" in " ".join(said.split())
    rows = [json.loads(line) for line in (day.folder / "golden" / "train.jsonl").read_text().splitlines()]
    assert rows
    assert all(
        [message["role"] for message in row["prompt"] + row["completion"]] == ["user", "assistant"] for row in rows
    )
    everything = b"".join(path.read_bytes() for path in day.folder.rglob("*") if path.is_file())
    assert KEY.encode() not in everything


def _wait_for_lines(folder: Path, count: int, run: "subprocess.Popen[str]") -> None:
    """Wait until the ledgers in a folder have so many lines."""
    deadline = time.monotonic() + 60
    while sum(path.read_bytes().count(b"\n") for path in folder.rglob("*.jsonl")) < count:
        assert run.poll() is None, run.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)
