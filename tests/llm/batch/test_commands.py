"""What a user sees of batches that are out, and can do about them."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine_runs import ROOT, finish, start
from tests.llm.batch.runs import QUESTIONS, paid_once, write
from tests.loopback import LoopbackProcess
from tests.loopback.batch import BatchSettings
from tests.loopback.batch_faults import BatchFaults, Rule
from tests.loopback.batches import BatchStats
from weak2wise.llm.batch.record import BatchRecord
from weak2wise.llm.batch.requests_file import askers_in, file_of

pytestmark = pytest.mark.slow


def test_the_requests_file_says_what_each_request_is_for(tmp_path: Path) -> None:
    with LoopbackProcess(batches=BatchSettings(seconds=60.0)) as server:
        write(tmp_path, server.base_url, {}, batched=("strong-a",))
        with start(tmp_path) as process:
            wait_for_batches(server, 1)
            process.send_signal(signal.SIGINT)
            said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    (state,) = BatchRecord.seen(tmp_path / "work").states()
    askers = [*askers_in(file_of(tmp_path / "work", state.key))]
    assert sorted(asker.row for asker in askers) == list(range(1, QUESTIONS + 1))
    assert {asker.kind for asker in askers} == {"s"}
    assert "batches=1" in said, "the stop says what is left running"


def wait_for_batches(server: LoopbackProcess, count: int) -> BatchStats:
    """Wait until so many batches have been made."""
    deadline = time.monotonic() + 60
    while len((stats := server.batches()).batches) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)
    return stats


def command(*words: object) -> "subprocess.CompletedProcess[str]":
    """Run another command."""
    full = [sys.executable, "-m", "weak2wise", *map(str, words)]
    return subprocess.run(full, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_batches_are_shown_and_cancelled_and_the_next_start_fetches_what_they_had_answered(tmp_path: Path) -> None:
    stuck = Rule(at="batch", fault="stuck", times=2, share=0.5)
    with LoopbackProcess(batches=BatchSettings(seconds=0.2, faults=BatchFaults(rules=(stuck,)))) as server:
        config = write(tmp_path, server.base_url, {})
        with start(tmp_path) as process:
            wait_for_batches(server, 2)
            assert command("batch", "cancel", "--config", config).returncode == 2, "the run goes on"
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        shown = command("batch", "list", tmp_path / "work")
        assert shown.returncode == 0, shown.stderr
        assert f"{QUESTIONS // 2} of {QUESTIONS}" in shown.stdout
        status = json.loads(command("status", tmp_path / "work", "--json").stdout)
        assert [batch["requests"] for batch in status["batches"]] == [QUESTIONS, QUESTIONS]
        cancelled = command("batch", "cancel", "--config", config)
        assert cancelled.returncode == 0, cancelled.stderr
        assert cancelled.stderr.count("is being cancelled") == 2
        finish(tmp_path)
        stats = server.batches()
    assert sorted({batch.status for batch in stats.batches}) == ["cancelled", "completed"]
    assert paid_once(stats)
    assert command("batch", "list", tmp_path / "work").stderr.endswith("no batch is out.\n")


def test_a_batch_that_is_given_up_is_asked_for_again(tmp_path: Path) -> None:
    with LoopbackProcess(batches=BatchSettings(seconds=1.0)) as server:
        config = write(tmp_path, server.base_url, {}, batched=("strong-a",))
        with start(tmp_path) as process:
            wait_for_batches(server, 1)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        (state,) = BatchRecord.seen(tmp_path / "work").states()
        file_of(tmp_path / "work", state.key).unlink()
        said = finish(tmp_path, code=2)
        assert "--give-up" in said
        assert command("batch", "cancel", "--give-up", "--config", config).returncode == 0
        finish(tmp_path)
        assert len(server.batches().batches) == 2
