"""``weak2wise gc`` frees room, says before what it takes, and a run that goes on afterwards pays nothing again."""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.runs import config_at, questions, tree
from tests.engine_runs import config_for, finish, lines, start, write_run
from tests.loopback import LoopbackProcess, serve
from tests.parts.hosts import HostsHere
from tests.run.test_old_work_dir import EXPECTED, assert_ended_as_then, copied, kept_server, received
from weak2wise import asynthesize, open_run
from weak2wise.config import load_config
from weak2wise.ledger.files import locked
from weak2wise.llm.journal import REMOVED
from weak2wise.run.engine import Engine
from weak2wise.run.garbage import delete, garbage

__all__ = ["kept_server"]


def gc(folder: Path, *arguments: str, code: int = 0) -> str:
    return " ".join(finish(folder, *arguments, command="gc", code=code).split())


def status(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(finish(folder, "--json", command="status"))
    return found


def journal(folder: Path) -> list[dict[str, Any]]:
    return [line for path in sorted(folder.rglob("journal/*.jsonl")) for line in lines(path)]


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has finished three of its six questions; nobody may change it."""
    folder = tmp_path_factory.mktemp("half")
    with LoopbackProcess() as server:
        config = config_for(folder, server.base_url)
        for endpoint in config["model_endpoints"].values():
            endpoint["prices"] = {"input": 2.0, "output": 8.0}
        write_run(folder, config, 6)
        finish(folder, "--limit", "3")
    return folder


@pytest.mark.slow
def test_a_run_in_the_middle_of_everything_goes_on_after_it_and_asks_nothing_again(
    tmp_path: Path, kept_server: LoopbackProcess
) -> None:
    """The run has rows that are finished, dropped, failed, half scored, waiting and not begun."""
    run = copied(tmp_path, kept_server.base_url)
    answers = journal(run)
    before = status(run)
    assert "texts of answers to questions that are finished" in gc(run, "--yes")
    kept = [line for line in journal(run) if line["key"] != REMOVED]
    assert 0 < len(kept) < len(answers) == len(journal(run))
    texts = [line["completion"]["text"] for line in kept if line["row"] in {1, 8, 2, 3, 11}]  # finished and dropped
    assert max(map(len, texts), default=0) < 30, "short ones without a checksum stay"
    assert {9, 5} <= {line["row"] for line in kept}, "half scored and failed ones"
    assert status(run) == before
    finish(run, code=EXPECTED["code"])
    assert received(kept_server) == EXPECTED["requests"]
    assert_ended_as_then(run)


@pytest.mark.slow
def test_costs_caps_and_exports_are_as_before(half: Path, tmp_path: Path) -> None:
    before = status(half)
    assert sum(use["cost_usd"] for use in before["spending"]["roles"]), "a comparison of nothing"
    finish(half, "--out", str(tmp_path / "before.jsonl"), command="export")
    size = sum(path.stat().st_size for path in half.rglob("journal/*.jsonl"))
    said = gc(half, "--yes")
    assert "Freed" in said
    assert sum(path.stat().st_size for path in half.rglob("journal/*.jsonl")) < size / 2
    assert status(half) == before
    finish(half, "--out", str(tmp_path / "after.jsonl"), command="export")
    finish(half, "--out", str(tmp_path / "report.html"), command="report")
    assert (tmp_path / "after.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()
    assert "nothing to delete" in gc(half, "--yes")
    assert "texts of" not in finish(half, command="repair"), "nothing of it is damage"


@pytest.mark.slow
def test_a_dry_run_says_how_much_and_what_follows_and_changes_nothing(tmp_path: Path) -> None:
    run = copied(tmp_path, "http://127.0.0.1:9/v1")
    work = run / "work"
    (work / "ledger.before-20260101T000000").mkdir()
    (work / "ledger.before-20260101T000000" / "x").write_bytes(b"x" * 2000)
    (work / "run.log.1").write_bytes(b"x")
    (work / "run.log.2").write_bytes(b"x" * 3000)
    (work / ".summary.json.abcdefgh.tmp").write_bytes(b"x" * 4000)
    (work / "notes.tmp").write_text("the user's own")
    before = tree(work)
    said = gc(run, "--dry-run")
    for part in (
        "texts of answers to questions that are finished: ",
        "compare, a fork that does a step anew, and repair of a damaged outcome ask for them again",
        "runs that --resume never has set aside: 1, 2.0 kB then: they cannot be put back",
        "older log files: 1, 3.0 kB",
        "unfinished files of writers that were killed: 1, 4.0 kB",
    ):
        assert part in said
    after = tree(work)
    after.pop("lock", None)
    assert after == before

    assert "no terminal to ask at; pass --yes" in gc(run, code=2)
    gc(run, "--yes")
    names = {path.name for path in work.iterdir()}
    assert not names & {"ledger.before-20260101T000000", "run.log.2", ".summary.json.abcdefgh.tmp"}
    assert {"notes.tmp", "run.log", "run.log.1", "manifest.json", "ledger"} <= names


@pytest.mark.slow
def test_it_refuses_while_a_run_holds_the_work_dir_and_where_there_is_none(half: Path, tmp_path: Path) -> None:
    with locked(half / "work"):
        assert "in use by another engine" in gc(half, "--yes", code=2)
    write_run(tmp_path / "new", config_for(tmp_path / "new", "http://127.0.0.1:9/v1"), 1)
    assert "holds no run" in gc(tmp_path / "new", "--yes", code=2)
    assert not (tmp_path / "new" / "work").exists()


@pytest.mark.slow
def test_a_question_at_the_terminal_that_is_not_answered_with_yes_deletes_nothing(tmp_path: Path) -> None:
    run = copied(tmp_path, "http://127.0.0.1:9/v1")
    before = journal(run)
    for word, gone in (("", False), ("y", True)):
        ours, theirs = os.openpty()
        os.write(ours, f"{word}\n".encode())
        process = start(run, command="gc", stdin=theirs)
        said, _ = process.communicate(timeout=60)
        os.close(ours)
        os.close(theirs)
        assert process.returncode == 0, said
        assert ("Nothing was deleted" in said) is not gone
        assert (journal(run) != before) is gone


async def test_an_answer_that_was_removed_is_asked_for_again_and_never_taken_for_an_empty_one(tmp_path: Path) -> None:
    async with serve() as server:
        await asynthesize(questions(4), config_at(server.base_url), work_dir=tmp_path / "w")
        delete(tmp_path / "w", garbage(tmp_path / "w"))
        output = (tmp_path / "w" / "finetune.jsonl").read_bytes()
        (tmp_path / "w" / "ledger" / "sft" / "00000.jsonl").unlink()
        for step in ("stepmask", "select"):
            (tmp_path / "w" / "ledger" / step / "00000.jsonl").unlink()
        asked = sum(count.asked for count in server.stats.requests.values())
        await asynthesize(questions(4), config_at(server.base_url), work_dir=tmp_path / "w")
        assert sum(count.asked for count in server.stats.requests.values()) > asked
    assert (tmp_path / "w" / "finetune.jsonl").read_bytes() == output


@pytest.mark.slow
def test_a_work_dir_in_parts_is_cleaned_part_by_part_and_goes_on(tmp_path: Path) -> None:
    outputs = {}
    with LoopbackProcess() as server:
        for name in ("cleaned", "not"):
            folder = tmp_path / name
            write_run(folder, config_for(folder, server.base_url) | {"cluster": {"part_rows": 3}}, 12)
            config = load_config(folder / "config.yaml")
            asyncio.run(Engine(config, holders=HostsHere(config, 2), limit=7).run())
            if name == "cleaned":
                answers = len(journal(folder))
                assert "was written to just now" in gc(folder, "--yes", code=2)
                for path in (folder / "work" / "parts").rglob("*"):
                    os.utime(path, times=(time.time() - 600, time.time() - 600))
                gc(folder, "--yes")
                assert {line["key"] for line in journal(folder)} == {REMOVED}
                assert len(journal(folder)) == answers
            before = sum(received(server).values())
            asyncio.run(Engine(config, holders=HostsHere(config, 2)).run())
            asked = sum(received(server).values()) - before
            outputs[name] = asked, (folder / "out.jsonl").read_bytes(), open_run(folder / "work").totals
    assert outputs["cleaned"] == outputs["not"]
