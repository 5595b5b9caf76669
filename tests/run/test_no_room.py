"""A run that can make no more files stops with exit 3 and goes on later; it is never a bug."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_runs import ROOT, config_for, finish, write_run
from tests.loopback import LoopbackProcess
from tests.run.crash import asked_of

pytestmark = pytest.mark.slow

REFUSING = """
import errno, os, sys
from weak2wise.commands import run_command_line
real, number = os.open, getattr(errno, sys.argv.pop(1))
def refusing(path, *args, **options):
    if str(path).endswith("00001.jsonl"):
        raise OSError(number, os.strerror(number))
    return real(path, *args, **options)
os.open = refusing
run_command_line()
"""


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("EMFILE", "Allow more open files (ulimit -n)"),
        ("ENOSPC", "Make room on the disk, also for"),
    ],
)
def test_no_room_for_the_next_shard_is_a_stop_that_can_be_resumed(tmp_path: Path, number: str, says: str) -> None:
    """The journal fills its first megabyte; the second shard cannot be made."""
    with LoopbackProcess(trace_chars=200_000) as server:
        config = config_for(tmp_path, server.base_url, n_mask=2, skip_filter=True)
        write_run(tmp_path, config | {"engine": {"shard_mb": 1}}, 6)
        command = [sys.executable, "-c", REFUSING, number, "run", "--config", str(tmp_path / "config.yaml")]
        stopped = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=240)
        assert stopped.returncode == 3, stopped.stderr
        assert says in stopped.stderr
        assert "Traceback" not in stopped.stderr
        finish(tmp_path)
        assert asked_of(server) > 6
    assert (tmp_path / "work" / "ledger" / "journal" / "00001.jsonl").exists()
    assert (tmp_path / "out.jsonl").read_bytes().count(b"\n") == 6


def test_a_summary_that_cannot_be_written_is_a_stop_too(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 2)
        finish(tmp_path, "--up-to-step", "1")
        (tmp_path / "work" / "summary.json").unlink()
        (tmp_path / "work" / "summary.json").mkdir()
        said = finish(tmp_path, code=3)
        assert "Move what is at that path somewhere else" in said
        assert "Traceback" not in said
        (tmp_path / "work" / "summary.json").rmdir()
        before = asked_of(server)
        finish(tmp_path)
        assert asked_of(server) == before
