"""What is said at the end of a run: what it came to, what is left, and what can be done about that."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.engine_runs import ROOT, finish, lines, run_in, start
from tests.finished_run import FinishedRun, command
from tests.loopback import Fault, LoopbackProcess, Match


@pytest.mark.slow
def test_what_one_start_counted_is_labelled_and_the_totals_are_of_all_starts(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        run_in(tmp_path, server.base_url, 8)
        first = finish(tmp_path)
        before = json.loads((tmp_path / "work" / "summary.json").read_text())
        second = finish(tmp_path)
    after = json.loads((tmp_path / "work" / "summary.json").read_text())
    assert before.pop("this_start")["bits"]["asked"] > 0
    assert after.pop("this_start") | {"seconds": 0} == {
        "seconds": 0,
        "replayed": {},
        "endpoints": [
            {"endpoint": name, "sent": 0, "answered": 0, "faults": {}}
            for name in ("weak", "strong-a", "strong-b", "judge", "trunc")
        ],
        "verdicts": {},
        "cuts": {},
        "bits": {},
        "torn": {},
    }
    assert before == after
    assert first.index("this start: ") < first.index("Step-Mask bits: ")
    assert "this start: " in second
    assert "Step-Mask bits: " not in second


@pytest.mark.slow
def test_retry_failed_of_no_run_says_so_and_makes_none(tmp_path: Path) -> None:
    run_in(tmp_path, "http://127.0.0.1:9/v1")
    said = finish(tmp_path, command="retry-failed", code=2)
    assert said.endswith(f"{tmp_path / 'work'}: holds no run, so no question has failed there (dataset.work_dir)\n")
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_retry_failed_advises_what_it_can_do_and_tells_failed_from_unfinished(tmp_path: Path) -> None:
    faults = (
        Fault("400", Match(model="strong", contains="(item 1)"), times=2),
        Fault("hang_before_headers", Match(model="strong-a-two", contains="(item 3)"), times=2),
    )
    with LoopbackProcess(faults=faults) as server:
        run_in(tmp_path, server.base_url, 6, skip_filter=True)
        stopped = start(tmp_path)
        while not list((tmp_path / "work").glob("ledger/sft/*.jsonl")):
            time.sleep(0.02)
        time.sleep(2)
        stopped.send_signal(signal.SIGINT)
        stopped.communicate(timeout=30)
        said = finish(tmp_path, "--set", "params.n_mask=3", command="retry-failed", code=2)
        assert said.endswith("Changed since: params.n_mask. Put them back, or pass --resume force (go on)\n")
        said = finish(tmp_path, command="retry-failed", code=1)
        assert "Some questions failed" not in said
        assert "1 more are unfinished: go on with the command that started the run." in said


@pytest.mark.slow
def test_a_bug_is_told_in_a_line_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    code = (
        "import weak2wise.run.conclusion\n"
        "from weak2wise.commands import run_command_line\n"
        "def broken(*_, **__): raise ZeroDivisionError('as a test')\n"
        "weak2wise.run.conclusion.write_output_files = broken\n"
        "run_command_line()\n"
    )
    with LoopbackProcess() as server:
        run_in(tmp_path, server.base_url, 3)
        words = [sys.executable, "-c", code, "run", "--config", str(tmp_path / "config.yaml")]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == os.EX_SOFTWARE == 70
        said = done.stderr.splitlines()[-2:]
        assert said[0] == "This is a bug in weak2wise: ZeroDivisionError: as a test. The traceback is in run.log."
        assert said[1].startswith("Nothing that had arrived is lost. Go on with: ")
        assert "Traceback" not in done.stderr
        broken = lines(tmp_path / "work" / "run.log")[-1]
        assert broken["event"] == "run.broken"
        assert "Traceback" in broken["exception"]
        finish(tmp_path)


def test_status_does_not_promise_that_unreadable_lines_are_tried_again(
    finished: FinishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("status", finished.work) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"2 input lines cannot be read, see {finished.work / 'failed.jsonl'}.")
    assert "Go on with" not in said


@pytest.mark.slow
@pytest.mark.parametrize("words", [["a.yaml"], ["run", "a.yaml"], ["check", "a.yaml"]])
def test_a_config_without_its_option_is_answered_with_the_option(words: list[str]) -> None:
    full = [sys.executable, "-m", "weak2wise.engine", *words]
    done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "id you mean --config a.yaml?" in done.stderr.splitlines()[-1]
