"""A checkpoint counts only if all of it was on the disk."""

from pathlib import Path

import pytest

from weak2wise.proof.checkpoints import Checkpoint, last_complete, mark


def checkpoint(folder: Path, step: int, *, complete: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "shards").mkdir(parents=True)
    (path / "weights").write_bytes(b"w" * 100)
    (path / "shards" / "optimizer").write_bytes(b"o" * 50)
    if complete:
        mark(path, step * 10.0)
    return path


def test_the_latest_complete_one_counts_by_number_and_not_by_name(tmp_path: Path) -> None:
    checkpoint(tmp_path, 9)
    latest = checkpoint(tmp_path, 10)
    assert last_complete(tmp_path) == Checkpoint(latest, 10, 100.0)


@pytest.mark.parametrize("torn", ["no mark", "half a mark", "a file cut", "a file missing"])
def test_a_torn_one_is_passed_over_and_removed(tmp_path: Path, torn: str) -> None:
    before = checkpoint(tmp_path, 2)
    late = checkpoint(tmp_path, 4, complete=torn != "no mark")
    match torn:
        case "half a mark":
            (late / "complete.json").write_bytes((late / "complete.json").read_bytes()[:-5])
        case "a file cut":
            (late / "shards" / "optimizer").write_bytes(b"o" * 49)
        case "a file missing":
            (late / "weights").unlink()
    assert last_complete(tmp_path) == Checkpoint(before, 2, 20.0)
    assert not late.exists()
    assert before.exists()


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert last_complete(tmp_path / "not there") is None
    checkpoint(tmp_path, 2, complete=False)
    (tmp_path / "README.md").touch()
    assert last_complete(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
