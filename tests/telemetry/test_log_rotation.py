"""``run.log`` never grows beyond a bound, loses no line that is within it, and is still read as one log."""

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.api.runs import config_at, questions
from tests.loopback import serve
from weak2wise import asynthesize
from weak2wise.outputs.history import read_history
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.telemetry import log as log_module
from weak2wise.telemetry.log import OLDER_LOGS, RunLog, older_log


def opened(folder: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int) -> RunLog:
    monkeypatch.setattr(log_module, "MAX_BYTES", max_bytes)
    return RunLog(folder / "run.log", str)


def events(folder: Path) -> list[dict[str, Any]]:
    """Of all files, the oldest first."""
    files = [older_log(folder / "run.log", number) for number in range(OLDER_LOGS, -1, -1)]
    return [json.loads(line) for path in files if path.exists() for line in path.read_text().splitlines()]


def test_lines_of_many_threads_are_all_there_in_the_order_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path, monkeypatch, 200_000)

    def write(thread: int) -> None:
        for number in range(1000):
            log.write({"event": "x", "level": "info", "thread": thread, "number": number, "text": "ö" * 60})

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    found = events(tmp_path)
    assert len(list(tmp_path.iterdir())) >= 2, "it was renamed"
    for thread_number in range(4):
        assert [e["number"] for e in found if e["thread"] == thread_number] == list(range(1000))
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_only_so_many_files_of_so_many_bytes_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for start in range(30):  # a start goes on with the file that is there
        log = opened(tmp_path, monkeypatch, 2000)
        for number in range(40):
            log.write({"event": "x", "level": "info", "number": start * 40 + number})
        log.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) <= 1 + OLDER_LOGS
    assert events(tmp_path)[-1]["number"] == 1199


def test_a_disk_that_refuses_the_new_file_keeps_the_old_one_going(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = opened(tmp_path, monkeypatch, 1000)

    def refuse(_path: Path) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(log_module, "_opened", refuse)
    for number in range(100):
        log.write({"event": "x", "level": "info", "number": number})
    log.close()
    assert [event["number"] for event in events(tmp_path)] == list(range(100))


async def test_a_run_is_known_from_its_newest_files_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as server:
        await asynthesize(questions(3), config_at(server.base_url), work_dir=tmp_path / "whole")
        monkeypatch.setattr(log_module, "MAX_BYTES", 300)
        await asynthesize(questions(12), config_at(server.base_url), work_dir=tmp_path / "w")
    logs = sorted((tmp_path / "w").glob("run.log*"))
    assert len(logs) > 2
    for path in logs:
        if path.name not in ("run.log", "run.log.1"):
            path.unlink()
    history = WorkDir(tmp_path / "w").history
    assert history.input
    assert history.steps == read_history(tmp_path / "whole" / "run.log").steps
    assert history.finished


def test_progress_of_one_start_is_read_over_all_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = opened(tmp_path, monkeypatch, 1500)
    started = {"event": "run.started", "level": "info", "timestamp": "2026-01-01T00:00:00Z", "steps": ["filter"]}
    log.write(started | {"input": "in.jsonl"})
    for second in range(20):
        at = f"2026-01-01T00:00:{second:02}Z"
        log.write({"event": "progress", "level": "info", "timestamp": at, "filter": f"{second}+1", "dropped": 0})
        if log._rotating:
            log._rotating.join()
    log.close()
    history = read_history(tmp_path / "run.log")
    assert len(list(tmp_path.glob("run.log*"))) > 1
    assert [progress.outcomes["filter"] for progress in history.progress] == list(range(20))
