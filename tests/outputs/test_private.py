"""What a run and an export write is the owner's alone: questions, answers and traces may be a lab's secret."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.finished_run import FinishedRun, command


def others_may_read(folder: Path) -> list[str]:
    """Files and folders in it that others may read, write or enter."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.stat().st_mode & 0o077]


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    """What is written is not private by chance."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def test_what_a_run_writes_is_the_owners_alone(finished: FinishedRun) -> None:
    assert set(others_may_read(finished.folder)) <= {"in.jsonl", "config.yaml"}
    assert (finished.work.stat().st_mode & 0o777) == 0o700
    assert sum(path.is_file() for path in finished.work.rglob("*")) > 10


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_what_an_export_writes_is_the_owners_alone(finished: FinishedRun, tmp_path: Path, kind: str) -> None:
    """Also where it takes the place of a file that others could read."""
    out = tmp_path / "new" / f"golden.{kind}"
    for _ in range(2):
        assert command("export", finished.work, "--out", out, "--provenance", "--format", "messages") == 0
        assert others_may_read(tmp_path) == []
        assert {path.name for path in out.parent.iterdir()} == {out.name, "golden.md", "dataset_info.json"}
        for path in out.parent.iterdir():
            path.chmod(0o644)


def test_a_report_is_the_owners_alone(finished: FinishedRun, tmp_path: Path) -> None:
    assert command("report", finished.work, "--out", tmp_path / "new" / "report.html") == 0
    assert others_may_read(tmp_path) == []


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_export_has_the_modes_of_the_umask_where_that_is_asked_for(
    finished: FinishedRun, tmp_path: Path, kind: str
) -> None:
    """Data, card and dataset_info.json, and the folders that were missing; the umask itself is as before."""
    out = tmp_path / "new" / "deep" / f"golden.{kind}"
    os.umask(0o027)
    assert command("export", finished.work, "--out", out, "--format", "messages", "--umask") == 0
    assert {path.name for path in out.parent.iterdir()} == {out.name, "golden.md", "dataset_info.json"}
    assert {path.stat().st_mode & 0o777 for path in out.parent.iterdir()} == {0o640}
    assert [folder.stat().st_mode & 0o777 for folder in (out.parent, out.parent.parent)] == [0o750, 0o750]
    assert os.umask(0o027) == 0o027
