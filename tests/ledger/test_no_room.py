"""No file descriptor, inode or space for the next shard: a stop that can be resumed, and no other file is closed."""

import asyncio
import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ledger.test_ledger import LAYOUT, ignore, line_of, numbered, read_back
from weak2wise.ledger.shards import DiskError, Shards

SMALL = 300


def small_shards(folder: Path) -> Shards:
    shards = Shards(folder, LAYOUT, max_bytes=SMALL, fsync_seconds=3600)
    shards.open(ignore)
    return shards


def open_files() -> list[int]:
    """The numbers of this process's file descriptors, and of the one that lists them."""
    return sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())


@contextmanager
def no_file_descriptor(free: int) -> Iterator[None]:
    """All that this process may have are taken, but for ``free``."""
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files()[-1] + 2, old[1]))
    try:
        while True:
            try:
                taken.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                break
        for fd in [taken.pop() for _ in range(free)]:
            os.close(fd)
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, old)


async def refusals(shards: Shards) -> list[DiskError]:
    """Append until the next shard is wanted, and once more; returns what was refused."""
    refused = []
    for number in range(100, 120):
        try:
            await shards.append(*numbered(number))
        except DiskError as error:
            refused.append(error)
    return refused


@pytest.mark.parametrize("free", [0, 1], ids=["for the shard", "for its folder"])
async def test_no_file_descriptor_for_the_next_shard_is_a_stop_that_closes_nobody_s_file(
    tmp_path: Path, free: int
) -> None:
    shards = small_shards(tmp_path / "a")
    await shards.append(*numbered(1))
    before = len(open_files())
    with no_file_descriptor(free):
        refused = await refusals(shards)
    assert len(open_files()) == before
    assert "Too many open files" in str(refused[0])
    assert "Allow more open files" in refused[0].hint
    (tmp_path / "other").write_bytes(b"somebody else's")
    others = [os.open(tmp_path / "other", os.O_RDONLY) for _ in range(20)]  # every free number, too
    with pytest.raises(DiskError, match="Too many open files"):
        await shards.close()
    assert [os.read(fd, 99) for fd in others] == [b"somebody else's"] * 20
    for fd in others:
        os.close(fd)
    found = await asyncio.to_thread(read_back, tmp_path / "a", SMALL)
    assert found[0] == line_of(1)
    assert len(found) >= 1 + 20 - len(refused)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
async def test_a_next_shard_that_cannot_be_made_is_a_stop_that_leaves_no_file_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """``ENOSPC`` is also what a file system without inodes says."""
    shards = small_shards(tmp_path)
    before = len(open_files())
    real = os.open

    def refusing(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number))
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refusing)
    refused = await refusals(shards)
    assert {os.strerror(number) in str(error) for error in refused} == {True}
    with pytest.raises(DiskError):
        await shards.close()
    monkeypatch.undo()
    assert len(open_files()) == before - 1
    found = await asyncio.to_thread(read_back, tmp_path, SMALL)
    assert found[: 20 - len(refused)] == [line_of(n) for n in range(100, 120 - len(refused))]


async def test_rotation_leaves_one_file_open(tmp_path: Path) -> None:
    shards = small_shards(tmp_path)
    before = len(open_files())
    for number in range(40):
        await shards.append(*numbered(number))
    assert len(list(tmp_path.iterdir())) > 5
    assert len(open_files()) == before
    await shards.close()
    assert len(open_files()) == before - 1


async def test_a_line_that_cannot_be_read_for_want_of_a_file_descriptor_is_a_stop_too(tmp_path: Path) -> None:
    shards = small_shards(tmp_path)
    location = await shards.append(*numbered(1))
    with no_file_descriptor(0), pytest.raises(DiskError, match="Too many open files"):
        shards.read(location, bytes)
    await shards.close()
