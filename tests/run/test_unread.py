"""A terminal or a pipe that nobody reads holds up neither a run nor its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, config_for, lines, write_run
from tests.loopback import LoopbackProcess
from tests.unread import unread


@contextmanager
def running(folder: Path, place: str, *words: str, command: str = "run") -> Iterator["subprocess.Popen[bytes]"]:
    """A command whose output nobody reads."""
    full = [sys.executable, "-m", "weak2wise.engine", command, "--config", str(folder / "config.yaml"), *words]
    environment = os.environ | {"TERM": "dumb" if place == "dumb terminal" else "xterm"}
    with unread(place) as stream:
        process = subprocess.Popen(full, cwd=ROOT, stdout=stream, stderr=stream, env=environment)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def health(port: int) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as reply:
        return json.load(reply)


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + 60
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < end, path
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "number"),
    [("terminal", signal.SIGINT), ("dumb terminal", signal.SIGTERM), ("pipe", signal.SIGTERM)],
)
def test_a_run_that_nobody_reads_goes_on_and_hears_signals(tmp_path: Path, place: str, number: signal.Signals) -> None:
    port = free_port()
    log = tmp_path / "work" / "run.log"
    with LoopbackProcess(latency=0.2) as server:
        config = config_for(tmp_path, server.base_url, skip_filter=True)
        config["model_endpoints"]["strong-a"]["max_concurrent_requests"] = 4
        write_run(tmp_path, config, 400)
        with running(tmp_path, place, "--verbose", "--page", str(port)) as engine:
            wait_for(log, "run.started")
            time.sleep(3)  # longer than until the second frame
            before = server.stats().models["strong-a"].answered
            assert health(port)["ok"]
            time.sleep(1)
            assert server.stats().models["strong-a"].answered > before
            engine.send_signal(number)
            assert engine.wait(20) == 130
    assert lines(log)[-1]["event"] == "run.interrupted"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["terminal", "pipe"])
def test_a_run_ends_although_nobody_reads_its_summary(tmp_path: Path, place: str) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), 5)
        with running(tmp_path, place, "--verbose") as engine:
            assert engine.wait(60) == 0
    assert lines(tmp_path / "work" / "run.log")[-1]["event"] == "run.finished"
    assert len(lines(tmp_path / "out.jsonl")) > 0


@pytest.mark.slow
def test_a_command_that_is_wrong_ends_although_nobody_reads_why(tmp_path: Path) -> None:
    with running(tmp_path, "pipe") as engine:
        assert engine.wait(30) == 2


@pytest.mark.slow
def test_ctrl_c_ends_a_check_whose_findings_nobody_reads(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), 5)
        with running(tmp_path, "pipe", command="check") as engine:
            end = time.monotonic() + 30
            while sum(model.answered for model in server.stats().models.values()) < 5:
                assert time.monotonic() < end, "an answer waits for a finding to be read"
                time.sleep(0.05)
            time.sleep(1)
            assert engine.poll() is None, "what was asked for is not thrown away while somebody may read it"
            engine.send_signal(signal.SIGINT)
            assert engine.wait(15) == 130
    assert not (tmp_path / "work").exists()


def test_lines_that_nobody_read_are_counted_once_somebody_does() -> None:
    """Memory stays bounded: what does not fit is left out, and that is said."""
    program = """
import sys, time
from weak2wise.telemetry.terminal import MOST_WAITING, QueuedStream
stream = QueuedStream(sys.stderr)
began = time.monotonic()
for number in range(20_000):
    stream.write(f"line {number:06} " + "x" * 80 + "\\n")
assert time.monotonic() - began < 5
print("written", flush=True)
sys.stdin.readline()
assert stream.drained(10)
stream.write("the last line\\n")
assert stream.drained(10)
"""
    words = [sys.executable, "-c", program]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(words, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, **pipes) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdin
        assert process.stdout.readline() == b"written\n"
        first = process.stderr.read1(1 << 16)  # type: ignore[attr-defined]
        process.stdin.write(b"\n")
        rest = process.communicate(timeout=30)[1]
    said = (first + rest).decode().splitlines()
    shown = [line for line in said if line.startswith("line ")]
    assert shown[0].startswith("line 000000")
    left_out = next(line for line in said if "left out" in line)
    assert left_out == f"… {20_000 - len(shown):,} lines are left out here: nobody was reading."
    assert said[-1] == "the last line"
    assert process.returncode == 0
