"""Runs in folders with odd names, and started over several times in a second."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine_runs import ROOT, config_for, lines, write_run
from tests.loopback import LoopbackProcess
from weak2wise.ledger.manifest import settle


def _command(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    words = [sys.executable, "-m", "weak2wise", *arguments]
    return subprocess.run(
        words, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, check=False
    )


@pytest.mark.slow
def test_a_folder_whose_name_is_no_utf8_is_as_good_as_any(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"nu\xff")
    with LoopbackProcess() as server:
        config = config_for(Path(), server.base_url, n_mask=2, judge_mode="rule", skip_filter=True)
        write_run(folder, config, 2)
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        for words in (
            ["check"],
            ["run"],
            ["status", "work"],
            ["report", "work"],
            ["export", "work", "--out", "t.jsonl"],
        ):
            done = _command(folder, *words)
            assert done.returncode == 0, (words, done.stderr)
            assert b"Traceback" not in done.stderr
    assert len(lines(folder / "t.jsonl")) == 2
    events = [line["event"] for line in lines(folder / "work" / "run.log")]
    assert (events[0], events[-1]) == ("run.started", "run.finished")


def test_a_run_started_over_many_times_in_a_second_keeps_every_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("{}\n")
    shape: dict[str, Any] = {"params.n_mask": 6}
    for number in range(5):
        settle(tmp_path, shape, tmp_path / "in.jsonl", "never", defaults={})
        (tmp_path / "ledger").mkdir()
        (tmp_path / "ledger" / str(number)).touch()
    kept = sorted(path.name for path in tmp_path.glob("ledger*/*"))
    assert kept == ["0", "1", "2", "3", "4"]
    assert len(list(tmp_path.glob("manifest.json.before-*"))) == 4
