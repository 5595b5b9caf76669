"""One engine a work_dir, whatever happens to the folder and its lock meanwhile."""

import errno
import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine_runs import finish, lines, run_in, start
from tests.loopback import LoopbackProcess
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import holder, locked


@contextmanager
def under_way(folder: Path) -> Iterator["tuple[subprocess.Popen[str], LoopbackProcess]"]:
    """An engine that has answers already and will go on for a while."""
    with LoopbackProcess(latency=0.1) as server:
        run_in(folder, server.base_url, 100)
        with start(folder) as engine:
            end = time.monotonic() + 60
            while not list((folder / "work").glob("ledger/journal/*.jsonl")):
                assert time.monotonic() < end
                time.sleep(0.05)
            try:
                yield engine, server
            finally:
                engine.kill()


@pytest.mark.slow
def test_a_work_dir_whose_lock_was_deleted_is_still_in_use(tmp_path: Path) -> None:
    with under_way(tmp_path):
        (tmp_path / "work" / "lock").unlink()
        assert holder(tmp_path / "work") == 0
        assert "in use by another engine" in finish(tmp_path, code=2)


@pytest.mark.slow
def test_a_run_whose_work_dir_is_moved_stops_and_goes_on_once_it_is_back(tmp_path: Path) -> None:
    """Nothing is written to a second folder of the same name, and nothing that had arrived is asked again."""
    work, moved = tmp_path / "work", tmp_path / "moved"
    with under_way(tmp_path) as (engine, server):
        work.rename(moved)
        said, _ = engine.communicate(timeout=60)
        assert engine.returncode == 3, said
        assert f"{work}: was moved or deleted while the run was writing there" in said
        assert "Move the folder back first" in said
        assert not work.exists()
        assert lines(moved / "run.log")[-1]["event"] == "run.stopped"
        moved.rename(work)
        finish(tmp_path)
        assert {request.asked for request in server.requests().values()} == {1}


def test_a_file_system_that_cannot_lock_is_named_as_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(_fd: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with (
        pytest.raises(ConfigError, match=r"its file system cannot lock files \(No locks available\)"),
        locked(tmp_path),
    ):
        pass
