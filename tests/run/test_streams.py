"""What a run does when nobody can hear it: standard streams that are closed, full, or a terminal that has gone."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, config_for, lines, write_run
from tests.loopback import LoopbackProcess

QUESTIONS = 12


def run(*words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
    """A command in a process of its own."""
    full = [sys.executable, "-m", "weak2wise.engine", *words]
    return subprocess.run(full, cwd=ROOT, text=True, check=False, timeout=120, **options)


def ended(folder: Path) -> list[str]:
    """The events of the run's log, which has to be there whatever else could not be written."""
    return [line["event"] for line in lines(folder / "work" / "run.log")]


@pytest.mark.slow
def test_a_run_goes_on_where_its_warnings_cannot_be_written(tmp_path: Path) -> None:
    with LoopbackProcess() as server, Path("/dev/full").open("w") as full:
        write_run(tmp_path, config_for(tmp_path, server.base_url), QUESTIONS)
        done = run("--config", str(tmp_path / "config.yaml"), "--verbose", stdout=subprocess.PIPE, stderr=full)
    assert done.returncode == 0
    assert "emitted (sft)" in done.stdout
    assert ended(tmp_path)[-1] == "run.finished"


@pytest.mark.slow
def test_a_summary_that_cannot_be_printed_makes_no_failure_of_the_run(tmp_path: Path) -> None:
    with LoopbackProcess() as server, Path("/dev/full").open("w") as full:
        write_run(tmp_path, config_for(tmp_path, server.base_url), QUESTIONS)
        done = run("--config", str(tmp_path / "config.yaml"), stdout=full, stderr=subprocess.PIPE)
    said = f"Standard output: No space left on device. The result is in {tmp_path / 'work' / 'summary.json'}.\n"
    assert (done.returncode, done.stderr) == (0, said)


@pytest.mark.slow
def test_streams_that_are_closed_are_nobodys_file(tmp_path: Path) -> None:
    """Their numbers would go to the next files opened, and what is written to standard error into a ledger."""
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), QUESTIONS)
        engine = f"{sys.executable} -m weak2wise.engine --config {tmp_path / 'config.yaml'} --verbose"
        done = subprocess.run(["sh", "-c", f"exec {engine} <&- >&- 2>&-"], cwd=ROOT, check=False, timeout=120)
    assert done.returncode == 0
    assert ended(tmp_path)[-1] == "run.finished"


@pytest.mark.slow
def test_a_terminal_that_is_gone_costs_no_run(tmp_path: Path) -> None:
    """As under ``nohup``: the terminal closes in the middle, and what is drawn there is an error from then on."""
    with LoopbackProcess(latency=0.3) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), QUESTIONS)
        ours, theirs = pty.openpty()
        engine = f"{sys.executable} -m weak2wise.engine --config {tmp_path / 'config.yaml'}"
        words = ["sh", "-c", f"trap '' HUP; exec {engine}"]
        with subprocess.Popen(words, cwd=ROOT, env=os.environ | {"TERM": "xterm"}, stdout=theirs, stderr=theirs) as run:
            os.close(theirs)
            shown = b""
            while b"questions ended" not in shown:
                shown += os.read(ours, 4096)
            os.close(ours)
            assert run.wait(60) == 0
    assert ended(tmp_path)[-1] == "run.finished"


@pytest.mark.slow
def test_a_terminal_that_draws_nothing_is_told_in_lines(tmp_path: Path) -> None:
    """``TERM=dumb``: an editor's shell, a log of a machine that gives everybody a terminal."""
    with LoopbackProcess(latency=0.5) as server:
        config = config_for(tmp_path, server.base_url)
        config["model_endpoints"]["weak"]["max_concurrent_requests"] = 4
        write_run(tmp_path, config, 60)
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "weak2wise.engine", "--config", str(tmp_path / "config.yaml")]
        with subprocess.Popen(words, cwd=ROOT, env=os.environ | {"TERM": "dumb"}, stdout=theirs, stderr=theirs) as run:
            os.close(theirs)
            shown = b""
            while b" of 60 questions done, 0 failed, " not in shown:
                shown += os.read(ours, 4096)
            run.kill()
        os.close(ours)
    assert b"\x1b[" not in shown


@pytest.mark.slow
def test_a_dropped_connection_stops_a_run_as_ctrl_c_does(tmp_path: Path) -> None:
    """The hangup may come twice, from the kernel and from the shell: that is no second Ctrl-C."""
    with LoopbackProcess(latency=0.05) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), 200)
        words = [sys.executable, "-m", "weak2wise.engine", "--config", str(tmp_path / "config.yaml")]
        with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as engine:
            while not list((tmp_path / "work").glob("ledger/journal/*.jsonl")):
                time.sleep(0.05)
            time.sleep(0.5)
            engine.send_signal(signal.SIGHUP)
            engine.send_signal(signal.SIGHUP)
            _, said = engine.communicate(timeout=30)
        assert engine.returncode == 130
        assert said.splitlines()[-1].startswith("Interrupted; everything that had arrived is kept.")
        assert ended(tmp_path)[-1] == "run.interrupted"
        assert run("--config", str(tmp_path / "config.yaml"), capture_output=True).returncode == 0


@pytest.mark.slow
def test_characters_that_a_stream_does_not_know_are_replaced(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), 2)
        ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
        done = run("check", "--config", str(tmp_path / "config.yaml"), env=ascii_only, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "? endpoint judge: " in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("words", [["status", "{}/work"], ["status", "{}/work", "--json"], ["--help"]])
def test_what_is_asked_for_and_cannot_be_printed_is_an_error_in_a_line(tmp_path: Path, words: list[str]) -> None:
    with LoopbackProcess() as server, Path("/dev/full").open("w") as full:
        write_run(tmp_path, config_for(tmp_path, server.base_url), 2)
        run("--config", str(tmp_path / "config.yaml"), capture_output=True)
        done = run(*(word.format(tmp_path) for word in words), stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 3
    assert done.stderr.endswith("put: No space left on device\n")
    assert "Traceback" not in done.stderr
