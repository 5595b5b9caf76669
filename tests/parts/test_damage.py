"""Damage in a work_dir of parts is refused by file and line, and `repair` makes it one that a run can go on with."""

import json
import os
from pathlib import Path

import pytest

from tests.engine_runs import finish
from tests.loopback import LoopbackProcess
from tests.parts.hosts import HostsHere
from tests.parts.test_parts import asked_of, has_lines, in_parts, outputs, prepared, stop_at
from weak2wise.api import open_run
from weak2wise.errors import ConfigError
from weak2wise.run.repair import repair

pytestmark = pytest.mark.slow


def flip(path: Path, line: int) -> None:
    """Change one byte of a line, as a disk does: the time of the file's last change goes on, too."""
    whole = path.read_bytes().splitlines(keepends=True)
    whole[line - 1] = whole[line - 1][:60] + bytes([whole[line - 1][60] ^ 1]) + whole[line - 1][61:]
    path.write_bytes(b"".join(whole))
    os.utime(path)


def sealed_again(work: Path) -> bool:
    """Whether the second holder of the first part has begun."""
    return (work / "parts/00001/epoch-00002/seal.json").exists()


def test_damage_in_a_sealed_file_is_refused_and_after_repair_the_run_goes_on(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        work = tmp_path / "work"
        stop_at(config, lambda: HostsHere(config, 1), has_lines("parts/00001/epoch-00001/ledger/filter/*.jsonl", 4))
        stop_at(
            config, lambda: HostsHere(config, 1), lambda folder: (folder / "parts/00001/epoch-00002/seal.json").exists()
        )
        shard = work / "parts/00001/epoch-00001/ledger/filter/00000.jsonl"
        flip(shard, 2)
        with pytest.raises(
            ConfigError, match=r"epoch-00001/ledger/filter/00000\.jsonl: line 2 is damaged.*weak2wise repair"
        ) as refused:
            open_run(work)
        assert f"`weak2wise repair {work}`" in str(refused.value)
        said = finish(tmp_path, command="repair")
        assert "parts/00001/epoch-00001/ledger/filter/00000.jsonl: 1 damaged line set aside" in said
        sealed = json.loads((work / "parts/00001/epoch-00002/seal.json").read_text())["ledgers"]["filter"]
        assert sealed[0][1] <= shard.stat().st_size
        before = asked_of(server)
        in_parts(config)
        assert asked_of(server) > before
    assert outputs(tmp_path) == alone
    assert repair(work) is None, "nothing is left to be repaired"


def test_a_sealed_file_that_is_missing_is_refused_and_its_work_done_again(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        work = tmp_path / "work"
        stop_at(config, lambda: HostsHere(config, 1), has_lines("parts/00001/epoch-00001/ledger/filter/*.jsonl", 4))
        stop_at(
            config, lambda: HostsHere(config, 1), lambda folder: (folder / "parts/00001/epoch-00002/seal.json").exists()
        )
        (work / "parts/00001/epoch-00001/ledger/filter/00000.jsonl").unlink()
        with pytest.raises(ConfigError, match="the file is missing"):
            open_run(work)
        assert repair(work)
        in_parts(config)
    assert outputs(tmp_path) == alone


def test_rows_of_a_part_that_are_damaged_are_read_from_the_input_again_once_removed(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        stop_at(config, lambda: HostsHere(config, 1), has_lines("parts/00001/epoch-00001/ledger/filter/*.jsonl", 2))
        rows = tmp_path / "work" / "parts/00001/rows-7.jsonl"
        flip(rows, 3)
        said = finish(tmp_path, code=2)
        assert f"{rows}: not as it was written" in said
        rows.unlink()
        in_parts(config)
    assert outputs(tmp_path) == alone


def test_a_part_that_was_over_is_worked_on_again_after_repair(tmp_path: Path, alone: dict[str, bytes]) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        in_parts(config)
        (shard,) = (tmp_path / "work/parts/00002/epoch-00001/ledger/sft").glob("*.jsonl")
        flip(shard, 1)
        (tmp_path / "out.jsonl").unlink()
        finish(tmp_path, command="repair")
        assert open_run(tmp_path / "work").totals.unfinished == 1
        asked = asked_of(server)
        assert in_parts(config).totals.unfinished == 0
        assert asked_of(server) == asked, "the journal has all answers"
    assert outputs(tmp_path) == alone
