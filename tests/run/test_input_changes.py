"""An input that changes under a run stops it: no row is lost, none is doubled, and what was paid for is kept."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import weak2wise
from tests.api.runs import asked, config_at, questions
from tests.engine_runs import lines
from tests.loopback import serve
from weak2wise.config import Config, Dataset, Models
from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import digest_input
from weak2wise.run.input import Input
from workers.records import Asked

ROWS = 2500


def write(path: Path, count: int = ROWS) -> list[str]:
    rows = [json.dumps(row) + "\n" for row in questions(count)]
    path.write_text("".join(rows))
    return rows


def input_at(path: Path) -> Input:
    """An input that a run has begun with."""
    found = Input(
        Config(
            models=Models(mweak="weak", mstrong=("weak",)),
            endpoints={"weak": weak2wise.OpenAIEndpoint(model_id="weak", base_url="http://127.0.0.1:9/v1")},
            dataset=Dataset(input_path=str(path), work_dir=str(path.parent / "work")),
        ),
        None,
        None,
    )
    found.note()
    found.expect(digest_input(path)[0])
    return found


def reverse(path: Path) -> None:
    """In place: the same size, another order."""
    rows = path.read_text().splitlines(keepends=True)
    with path.open("r+") as file:
        file.writelines(reversed(rows))


def reverse_and_set_the_time_back(path: Path) -> None:
    before = path.stat()
    reverse(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    other = path.with_suffix(".new")
    write(other, ROWS + 1)
    other.rename(path)


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write(json.dumps(questions(1, ROWS)[0]) + "\n")


@pytest.mark.parametrize("change", [reverse, reverse_and_set_the_time_back, replace, append, Path.unlink])
async def test_no_row_is_read_from_a_file_that_has_changed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "in.jsonl"
    expected = questions(len(write(path)))
    read: list[str] = []
    with pytest.raises(ConfigError, match=r"dataset\.input_path") as raised:
        async for row in input_at(path).questions():
            assert isinstance(row, Asked)
            read.append(row.question.text)
            if len(read) == 500:
                change(path)
    assert str(path) in str(raised.value)
    assert ("--resume force" in str(raised.value)) is (change in {append, replace})
    assert 500 <= len(read) < ROWS
    assert read == [row["question"] for row in expected[: len(read)]]


async def test_a_file_that_only_looks_changed_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    rows = write(path)
    found = input_at(path)
    count = 0
    async for _ in found.questions():
        count += 1
        if count == 500:
            path.write_text("".join(rows))
            path.chmod(0o600)
    assert count == ROWS
    found.check()


@pytest.mark.slow
@pytest.mark.parametrize("given", [False, True], ids=["a file", "objects"])
async def test_a_run_stops_and_the_next_one_ends_as_if_nothing_had_happened(tmp_path: Path, *, given: bool) -> None:
    """Questions given as objects are kept in the work_dir; that file may be changed, too."""
    path, work = tmp_path / "in.jsonl", tmp_path / "work"
    write(path, 40)
    source = questions(40) if given else path
    watched = work / "questions.jsonl" if given else path
    async with serve(latency=0.05) as server:
        config = config_at(server.base_url, shared={"max_concurrent_requests": 4})
        calm = await weak2wise.asynthesize(source, config, work_dir=tmp_path / "calm")
        needed = sum(request.answered for request in asked(server).values())
        running = asyncio.create_task(weak2wise.asynthesize(source, config, work_dir=work))
        while not list(work.glob("ledger/journal/*.jsonl")):
            await asyncio.sleep(0.02)
        before = watched.read_text()
        reverse(watched)
        with pytest.raises(ConfigError, match="has changed since the run started") as raised:
            await running
        assert str(watched) in str(raised.value)
        with pytest.raises(ConfigError):  # still changed
            await weak2wise.asynthesize(source, config, work_dir=work)
        watched.write_text(before)
        run = await weak2wise.asynthesize(source, config, work_dir=work)
        assert sum(request.answered for request in asked(server).values()) == 2 * needed, "nothing is paid twice"
    assert run.totals == calm.totals
    assert lines(work / "finetune.jsonl") == lines(tmp_path / "calm" / "finetune.jsonl")
