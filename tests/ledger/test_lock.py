"""The lock of a folder, and the names of temporary files in it."""

import os
from pathlib import Path

import pytest

from tests.ledger.test_no_room import open_files
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import holder, is_temporary_of, locked, remove_temporary, replacing


def test_a_lock_names_the_process_that_holds_it_and_nobody_else(tmp_path: Path) -> None:
    lock = tmp_path / "w" / "lock"
    assert holder(tmp_path / "w") is None
    lock.parent.mkdir()
    lock.write_text("987654321 and more of an earlier process\n")
    assert holder(tmp_path / "w") is None, "it is over"
    with locked(tmp_path / "w") as fd:
        assert lock.read_text() == f"{os.getpid()}\n"
        assert holder(tmp_path / "w") == os.getpid()
        duplicate = os.dup(fd)
    assert holder(tmp_path / "w") == os.getpid(), "a duplicate keeps the lock"
    os.close(duplicate)
    assert holder(tmp_path / "w") is None


@pytest.mark.parametrize(("said", "process"), [("", "unknown"), ("  \n", "unknown"), ("12\n", "12")])
def test_a_folder_in_use_names_the_process_as_far_as_it_is_known(tmp_path: Path, said: str, process: str) -> None:
    with locked(tmp_path):
        (tmp_path / "lock").write_text(said)
        with pytest.raises(ConfigError, match=f"in use by another engine .process {process}.;"), locked(tmp_path):
            pass
        assert holder(tmp_path) == (int(process) if process.isdigit() else 0)


def test_a_new_lock_is_the_owner_s_alone(tmp_path: Path) -> None:
    with locked(tmp_path / "w"):
        assert (tmp_path / "w" / "lock").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_cannot_be_locked_leaves_no_file_open(tmp_path: Path) -> None:
    with locked(tmp_path):
        before = len(open_files())
        for _ in range(3):
            with pytest.raises(ConfigError), locked(tmp_path):
                pass
        assert len(open_files()) == before
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot be written: .*\(dataset\.work_dir\)"), locked(tmp_path / "file"):
        pass


@pytest.mark.parametrize(
    ("name", "temporary"),
    [
        (".out.jsonl.abc_e012.tmp", True),
        (".out.jsonl.tmp", True),
        (".out.jsonl.abc_e01.tmp", False),
        (".out.jsonl.abc_e0123.tmp", False),
        (".out.jsonl.ABCDEFGH.tmp", False),
        (".out.jsonl.abc_e012", False),
        ("out.jsonl.abc_e012.tmp", False),
        (".other.jsonl.abc_e012.tmp", False),
        (".out.jsonl", False),
    ],
)
def test_temporary_files_are_known_by_their_names_and_nothing_else_is_removed(
    tmp_path: Path, name: str, temporary: bool
) -> None:
    assert is_temporary_of(tmp_path / "out.jsonl", name) is temporary
    (tmp_path / name).touch()
    remove_temporary(tmp_path / "out.jsonl")
    assert (tmp_path / name).exists() is not temporary
    remove_temporary(tmp_path / "nowhere" / "out.jsonl")


def test_a_file_may_have_the_longest_name_there_is(tmp_path: Path) -> None:
    """Of which 200 bytes are in the temporary file's name, whole characters or not."""
    for name in ("x" * 255, "ä" * 127):
        path = tmp_path / name
        with replacing(path) as file:
            file.write(b"content")
            (temporary,) = tmp_path.glob("*.tmp")
            assert is_temporary_of(path, temporary.name)
            assert len(os.fsencode(temporary.name)) == 1 + 200 + 1 + 8 + len(".tmp")
        assert path.read_bytes() == b"content"
        path.unlink()
