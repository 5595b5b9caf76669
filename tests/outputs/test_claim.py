"""A run replaces only what its own work_dir wrote, wherever that is now; two writers of one file never mix."""

import asyncio
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

import weak2wise
from tests.api.runs import config_at, questions
from tests.engine_runs import config_for, finish, lines, save, write_run
from tests.loopback import LoopbackProcess, serve
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import remove_temporary, replacing, write_atomic
from weak2wise.outputs.claim import Claim, check_work_dir


def run_once(output: Path, work_dir: Path, rows: Iterable[bytes] = (b"row\n",)) -> None:
    """What a run does with its output."""
    work_dir.mkdir(exist_ok=True)
    with Claim.on(output, work_dir) as claim:
        claim.check()
        claim.write(rows)


def refused(output: Path, work_dir: Path) -> bool:
    """Whether a run in the work_dir is refused, and has changed nothing."""
    before = output.read_bytes()
    try:
        run_once(output, work_dir, [b"other\n"])
    except ConfigError as error:
        assert str(output) in str(error)
        assert "dataset.finetune_out" in str(error)
        assert output.read_bytes() == before
        return True
    return False


@pytest.mark.slow
def test_the_same_config_with_another_work_dir_leaves_the_training_data_alone(tmp_path: Path) -> None:
    with LoopbackProcess(solve=0.0) as server:
        config = config_for(tmp_path, server.base_url, n_mask=2)
        write_run(tmp_path, config, 3)
        finish(tmp_path)
        written = (tmp_path / "out.jsonl").read_bytes()
        asked = sum(request.asked for request in server.requests().values())
        other = config | {"dataset": config["dataset"] | {"work_dir": str(tmp_path / "other")}}
        save(tmp_path, other)
        said = finish(tmp_path, code=2)
        assert f"{tmp_path / 'out.jsonl'}: exists, and no run in {tmp_path / 'other'} wrote it" in said
        assert "exists, and no run in" in finish(tmp_path, command="check", code=1)
        assert "exists, and no run in" in finish(tmp_path, "--resume", "never", code=2)
        assert (tmp_path / "out.jsonl").read_bytes() == written
        assert len(written.splitlines()) == 3
        assert sum(request.asked for request in server.requests().values()) <= asked + 6, "only check's own questions"
        save(tmp_path, config)
        finish(tmp_path, "--set", "params.n_mask=3", "--resume", "never")
        assert len(lines(tmp_path / "out.jsonl")) == 3, "its own work_dir may replace it"


@pytest.mark.slow
async def test_two_runs_of_one_process_do_not_write_one_file(tmp_path: Path) -> None:
    dataset = weak2wise.Dataset(finetune_out=str(tmp_path / "out.jsonl"))
    async with serve(latency=0.05, solve=0.0) as server:
        config = config_at(server.base_url, dataset=dataset)
        ended = await asyncio.gather(
            *(weak2wise.asynthesize(questions(3), config, work_dir=tmp_path / name) for name in ("a", "b")),
            return_exceptions=True,
        )
    assert [type(one) for one in ended] == [weak2wise.Run, ConfigError]
    assert "another run is about to write it" in str(ended[1])
    assert len(lines(tmp_path / "out.jsonl")) == 3


def test_an_output_stays_ones_own_where_it_and_its_work_dir_are_moved(tmp_path: Path) -> None:
    run_once(tmp_path / "out.jsonl", tmp_path / "work")
    (tmp_path / "work").rename(tmp_path / "moved")
    assert not refused(tmp_path / "out.jsonl", tmp_path / "moved")
    (tmp_path / "out.jsonl").rename(tmp_path / "other.jsonl")
    assert not refused(tmp_path / "other.jsonl", tmp_path / "moved")
    (tmp_path / "project").mkdir()
    for name in ("moved", "other.jsonl"):
        (tmp_path / name).rename(tmp_path / "project" / name)
    assert not refused(tmp_path / "project" / "other.jsonl", tmp_path / "project" / "moved")


def test_a_copy_of_a_work_dir_owns_the_copy_of_the_output_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    run_once(first / "out.jsonl", first / "work")
    shutil.copytree(first, second)
    assert refused(first / "out.jsonl", second / "work")
    assert not refused(second / "out.jsonl", second / "work")
    assert refused(first / "out.jsonl", second / "work")
    assert not refused(first / "out.jsonl", first / "work")
    shutil.rmtree(first / "work")
    shutil.copytree(second / "work", first / "work")
    assert not refused(second / "out.jsonl", second / "work"), "the copy of a copy takes nothing from it"


def test_a_file_that_somebody_else_changed_is_not_replaced(tmp_path: Path) -> None:
    output, work = tmp_path / "out.jsonl", tmp_path / "work"
    run_once(output, work)
    output.write_bytes(b"row\nadded by hand\n")
    assert refused(output, work)
    output.write_bytes(b"")
    assert not refused(output, work), "nothing is lost with an empty file"
    with Claim.on(output, work) as claim:
        claim.check()
        write_atomic(output, [b"by an export meanwhile\n"])
        with pytest.raises(ConfigError, match="somebody else has written it since this run started"):
            claim.write([b"row\n"])
    assert output.read_bytes() == b"by an export meanwhile\n"


def test_a_crash_between_the_record_and_the_file_leaves_the_file_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice in a row: the digest of the file that is still there must not be pushed out."""
    output, work = tmp_path / "out.jsonl", tmp_path / "work"
    run_once(output, work)
    replace = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if target == output:
            raise OSError("killed")
        return replace(self, target)

    for attempt in range(2):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", crash)
            with pytest.raises(OSError, match="killed"):
                run_once(output, work, [b"attempt %d\n" % attempt])
    assert output.read_bytes() == b"row\n"
    assert not refused(output, work)


@pytest.mark.slow
def test_a_file_of_an_earlier_version_is_ones_own_if_nobody_wrote_it_since(tmp_path: Path) -> None:
    with LoopbackProcess(solve=0.0) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url, n_mask=2), 2)
        finish(tmp_path)
    output, work = tmp_path / "out.jsonl", tmp_path / "work"
    (work / "output.json").unlink()
    assert not refused(output, work)
    (work / "output.json").unlink()
    later = (work / "summary.json").stat().st_mtime_ns + 10**9
    os.utime(output, ns=(later, later))
    assert refused(output, work)


def test_a_new_work_dir_replaces_no_file_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "candidates.jsonl").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"candidates\.jsonl: exists, and the folder holds no run that wrote it"):
        check_work_dir(tmp_path)
    (tmp_path / "ledger").mkdir()
    check_work_dir(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["failed.jsonl", "candidates.jsonl", "output.json"])
def test_training_data_is_not_put_among_another_run_s_files(tmp_path: Path, name: str) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "manifest.json").touch()
    said = finish(tmp_path, "--set", f"dataset.finetune_out={tmp_path / 'theirs' / name}", code=2)
    assert f"is a file of the run in {tmp_path / 'theirs'}" in said


@pytest.mark.slow
def test_a_device_or_pipe_is_no_place_for_training_data(tmp_path: Path) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    os.mkfifo(tmp_path / "pipe")
    assert "is not a file (dataset.finetune_out)" in finish(
        tmp_path, "--set", f"dataset.finetune_out={tmp_path / 'pipe'}", code=2
    )


def test_two_writers_of_one_file_never_mix(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with replacing(path) as one:
        one.write(b"1" * 1000)
        with replacing(path) as two:
            two.write(b"2" * 500)
        assert path.read_bytes() == b"2" * 500
        one.write(b"1" * 1000)
    assert path.read_bytes() == b"1" * 2000
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_file_is_never_somebody_else_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link put where the temporary file would be is neither followed nor replaced: another name is taken."""
    victim, path = tmp_path / "victim", tmp_path / "out.jsonl"
    victim.write_text("safe")
    names = iter(["taken123", "free1234"])
    monkeypatch.setattr("tempfile._get_candidate_names", lambda: names)
    for name in (".out.jsonl.taken123.tmp", ".out.jsonl.tmp"):
        (tmp_path / name).symlink_to(victim)
    write_atomic(path, [b"rows\n"])
    assert (victim.read_text(), path.read_bytes()) == ("safe", b"rows\n")
    assert (tmp_path / ".out.jsonl.taken123.tmp").is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert next(names, None) is None


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = [".out.jsonl.abcd_123.tmp", ".out.jsonl.tmp"]
    stay = [".out.jsonl.more.abcd_123.tmp", ".out.jsonl.mine.tmp", "out.jsonl.abcd_123.tmp", ".out.jsonl.lock"]
    for name in left + stay:
        (tmp_path / name).touch()
    remove_temporary(tmp_path / "out.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 120 + ".jsonl")
    write_atomic(path, [b"rows\n"])
    assert path.read_bytes() == b"rows\n"
