"""Nothing in a run holds up the event loop: a file read there would hold up every answer that arrives meanwhile."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.engine_runs import ROOT, run_in, save
from tests.loopback import Fault, LoopbackProcess, Match
from tests.watch.looking import below, page_of

ENGINE = """
import sys
from blockbuster import blockbuster_ctx
from weak2wise.commands import run_command_line
with blockbuster_ctx(["weak2wise", "workers"]) as found:
    for function in found.functions.values():
        function.can_block_in("weak2wise/telemetry/log.py", {"write", "flush"})
        function.can_block_in("weak2wise/ledger/files.py", {"locked"})
        function.can_block_in("weak2wise/outputs/claim.py", {"on"})
        function.can_block_in("weak2wise/run/engine.py", {"_logged"})
    run_command_line()
"""
"""The engine, with blocking calls on the event loop made errors. Lines for the log are few and short; before the run
begins there is nothing to hold up."""


@pytest.mark.slow
def test_a_run_with_failures_that_is_watched_and_resumed_blocks_nowhere(tmp_path: Path) -> None:
    refused = Fault("400", Match(model="strong", contains="(item 1)"), times=1)
    hang = Fault("hang_before_headers", Match(model="weak", contains="(item 3)"), times=1, seconds=3.0)
    with LoopbackProcess(latency=0.1, faults=(refused, Fault("500", Match(model="trunc"), times=1), hang)) as server:
        config = run_in(tmp_path, server.base_url, 8, skip_filter=True)
        (tmp_path / "set.jsonl").write_text((tmp_path / "in.jsonl").read_text().splitlines()[5] + "\n")
        config["dataset"]["decontaminate"] = [str(tmp_path / "set.jsonl")]
        with (tmp_path / "in.jsonl").open("a") as file:
            file.write("no JSON\n")
        words = [sys.executable, "-c", ENGINE, "run", "--config", str(save(tmp_path, config)), "--page", "0"]
        for _ in range(2):
            with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as engine:
                url = page_of(engine)
                for path in ("", "run.js", "style.css", "healthz", "metrics"):
                    assert urllib.request.urlopen(below(url, path), timeout=10).status == 200
                with urllib.request.urlopen(below(url, "events"), timeout=30) as stream:
                    events = stream.read().decode()
                said = engine.communicate(timeout=60)[1]
            assert engine.returncode == 1, said
            assert '"ending":"finished"' in events
            log = (tmp_path / "work" / "run.log").read_text()
            assert "Blocking call" not in said + log
