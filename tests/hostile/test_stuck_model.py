"""A strong model that is stuck on one character costs its own trace, not the service."""

import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine_runs import ROOT, lines, run_in
from tests.loopback import Fault, LoopbackProcess, Match
from tests.watch.looking import below, page_of

pytestmark = pytest.mark.slow

SLOWEST = 3.0
"""Seconds within which the service answers on a busy machine; the stuck answers held it up for half a minute each."""


@contextmanager
def stuck_run(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", str, LoopbackProcess]]:
    """A run whose every strong answer is stuck; the process, the page's address and the models' server."""
    with LoopbackProcess(solve=0.0, faults=(Fault("stuck", Match(model="strong"), times=None),)) as server:
        run_in(folder, server.base_url, 4)
        words = [sys.executable, "-m", "weak2wise.engine", "--config", str(folder / "config.yaml"), "--page", "0"]
        with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as engine:
            try:
                assert engine.stderr
                yield engine, page_of(engine), server
            finally:
                engine.kill()


def asked(server: LoopbackProcess, model: str) -> int:
    return sum(count.answered for name, count in server.stats().models.items() if name.startswith(model))


def test_the_service_stays_healthy_and_the_run_ends(tmp_path: Path) -> None:
    with stuck_run(tmp_path) as (engine, url, _):
        looks = 0
        while engine.poll() is None:
            try:
                assert urllib.request.urlopen(below(url, "healthz"), timeout=SLOWEST).status == 200
                looks += 1
            except urllib.error.HTTPError as error:
                assert json.load(error)["state"] == "closing"
            except OSError as error:
                assert isinstance(getattr(error, "reason", error), ConnectionError), error  # it is just ending
            time.sleep(0.02)
        assert engine.stderr
        assert engine.returncode == 0, engine.stderr.read()
    assert looks
    traces = lines(tmp_path / "work" / "selected_truncated.jsonl")
    assert len(traces) == 4
    assert all("!" * 60_000 in trace["chosen_normal"] for trace in traces)


def test_a_signal_ends_it_at_once(tmp_path: Path) -> None:
    with stuck_run(tmp_path) as (engine, _, server):
        while not asked(server, "trunc"):
            time.sleep(0.02)
        engine.send_signal(signal.SIGTERM)
        assert engine.wait(timeout=2 * SLOWEST) in {0, 130}
