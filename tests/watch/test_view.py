"""``weak2wise view``: runs are shown from their files, and nothing in them is changed."""

import asyncio
import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import finish, lines
from tests.finished_run import QUESTIONS, FinishedRun, command
from tests.loopback import LoopbackProcess
from tests.parts.test_parts import QUESTIONS as PART_QUESTIONS, in_parts, prepared
from tests.watch.looking import begun, get
from weak2wise.errors import ConfigError
from weak2wise.ledger.files import holder, locked
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.watch import gallery, view
from weak2wise.watch.about import About, next_steps
from weak2wise.watch.address import Address
from weak2wise.watch.board import Board
from weak2wise.watch.gallery import PAGE, Wanted
from weak2wise.watch.view import FileRun, viewed

HERE = Address.of("0")


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below a folder: when it was written, and what is in it."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files}


def copied(run: FinishedRun, folder: Path) -> Path:
    shutil.copytree(run.work, folder / "work")
    return folder / "work"


def _ending(run: FileRun) -> str | None:
    return run.board.ending


async def asked(url: str, path: str) -> Any:
    status, _, text = await asyncio.to_thread(get, url, path)
    assert status == 200, text
    return json.loads(text)


async def test_a_finished_run_is_shown_as_its_files_have_it_and_they_stay_as_they_are(finished: FinishedRun) -> None:
    before = tree(finished.work)
    async with viewed([finished.work], HERE) as url:
        for path in ("", "run.js", "traces?sort=best", "losses/failed", "losses/dropped", "healthz"):
            assert (await asyncio.to_thread(get, url, path))[0] == 200, path
        row = (await asked(url, "traces"))["traces"][0]["row"]
        assert "Candidates" in (await asyncio.to_thread(get, url, f"trace/{row}"))[2]
        event = await FileRun(finished.work).event()
    assert tree(finished.work) == before
    totals, board, about = WorkDir(finished.work).totals()[0], event["board"], event["about"]
    assert isinstance(board, Board)
    assert isinstance(about, About)
    assert (board.ending, board.rows, board.emitted) == ("finished", totals.rows, len(finished.emitted))
    assert board.ended == board.emitted + board.dropped + board.failed == totals.rows == QUESTIONS + 2
    assert board.cost_usd == sum(role.cost_usd for role in WorkDir(finished.work).summary().roles) > 0
    assert about.folder == str(finished.work)
    assert about.config == str(finished.folder / "config.yaml")
    commands = [step.command for step in next_steps(board, about)]
    assert commands[0] == f"weak2wise report {finished.work}"
    assert f"weak2wise retry-failed --config {finished.folder / 'config.yaml'}" in commands


async def test_a_run_that_goes_on_is_followed_and_its_end_is_seen(
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(view, "SHARE", 0)
    work = copied(finished, tmp_path)
    log = (work / "run.log").read_bytes()
    whole = log.splitlines(keepends=True)
    (work / "run.log").write_bytes(b"".join(line for line in whole if b"run.finished" not in line))
    with locked(work):
        run = FileRun(work)
        assert _ending(run) is None
        assert (await run.event())["next"] == []
        (work / "run.log").write_bytes(log)
    event = await run.event()
    assert _ending(run) == "finished"
    assert event["next"]
    assert (await run.event())["board"] is event["board"], "what has not changed is not read again"


async def test_a_run_that_was_killed_is_no_running_one(finished: FinishedRun, tmp_path: Path) -> None:
    work = copied(finished, tmp_path)
    whole = (work / "run.log").read_bytes().splitlines(keepends=True)
    (work / "run.log").write_bytes(b"".join(line for line in whole if b"run.finished" not in line))
    board = FileRun(work).board
    assert board.ending == "stopped: its process ended without a last word; it was killed, or its machine went down"


async def test_a_folder_that_is_deleted_or_damaged_while_it_is_watched_keeps_its_last_state_and_comes_back(
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(view, "LOOK_EVERY", 0.0)
    monkeypatch.setattr(view, "SHARE", 0)
    work = copied(finished, tmp_path)
    run = FileRun(work)
    board = run.board
    work.rename(tmp_path / "elsewhere")
    event = await run.event()
    assert event["gone"] == f"The folder was deleted or moved: {work}"
    assert event["board"] is board
    (tmp_path / "elsewhere").rename(work)
    assert (await run.event())["gone"] == ""
    manifest = (work / "manifest.json").read_text()
    (work / "manifest.json").write_text("{")
    assert "cannot be read as a manifest" in str((await run.event())["gone"])
    (work / "manifest.json").write_text(manifest)
    assert (await run.event())["gone"] == ""


@pytest.mark.parametrize("what", ["nothing", "foreign", "file", "damaged", "no folder at all"])
def test_what_is_no_run_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    folder = tmp_path / "work"
    match what:
        case "foreign":
            folder.mkdir()
            (folder / "notes.txt").write_text("mine")
        case "file":
            folder.write_text("mine")
        case "damaged":
            folder.mkdir()
            (folder / "manifest.json").write_text('{"created": 3}')
    assert command("view", *([] if what == "no folder at all" else [folder])) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert ("expected the work_dir" if what == "no folder at all" else str(folder)) in said


@pytest.mark.slow
async def test_a_run_in_parts_is_one_run(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.02) as server:
        config = prepared(tmp_path, server.base_url)
        summary = await asyncio.to_thread(in_parts, config)
    before = tree(tmp_path / "work")
    run = FileRun(tmp_path / "work")
    assert (run.board.ended, run.board.rows, run.board.ending) == (PART_QUESTIONS, PART_QUESTIONS, "finished")
    found = await run.traces(Wanted(sort="best"))
    assert found.total == summary.totals.emitted > 0
    assert await run.trace(int(str(found.traces[0]["row"])))
    assert sum(r.count for r in (await run.losses("dropped")).reasons) == sum(summary.totals.dropped.values())
    assert tree(tmp_path / "work") == before


async def test_traces_are_sorted_filtered_searched_and_paged(
    finished: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "PAGE", 3)
    run = FileRun(finished.work)
    scores = {line["row"]: line["score"] for line in finished.selected}
    rows: list[int] = []
    after: int | None = 0
    while after is not None:
        page = await run.traces(Wanted(sort="best", after=after))
        rows += [int(str(trace["row"])) for trace in page.traces]
        after = page.after
    assert sorted(rows) == sorted(scores), "each is on one page"
    assert [scores[row] for row in rows] == sorted(scores.values(), reverse=True)
    worst = await run.traces(Wanted(sort="worst"))
    assert [scores[int(str(trace["row"]))] for trace in worst.traces] == sorted(scores.values())[:3]
    newest, oldest = [(await run.traces(Wanted(sort=sort))).traces[0] for sort in ("newest", "oldest")]
    assert newest != oldest
    for model in ("strong-a", "strong-b"):
        monkeypatch.setattr(gallery, "PAGE", PAGE)
        found = await run.traces(Wanted(model=model))
        assert {line["row"] for line in finished.selected if line["m_strong"] == model} == {
            trace["row"] for trace in found.traces
        }
    one = finished.selected[0]
    found = await run.traces(Wanted(search=one["question"].upper()))
    assert [trace["row"] for trace in found.traces] == [one["row"]]
    assert (await run.traces(Wanted(model="nobody"))).traces == []
    assert sum(found.scores.counts) == len(scores)


async def test_a_search_reads_a_bounded_number_of_traces_and_goes_on_where_it_stopped(
    finished: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "SEARCHED", 2)
    run, looked = FileRun(finished.work), 0
    after: int | None = 0
    while after is not None:
        page = await run.traces(Wanted(search="stands in no trace", after=after))
        assert page.traces == []
        looked, after = looked + 1, page.after
    assert looked == -(-len(finished.selected) // 2)


@pytest.mark.parametrize(
    "query", ["sort=score", "after=-1", "after=x", "unknown=1", "sort=best&after=99999999999999999999"]
)
async def test_a_list_that_cannot_be_asked_for_is_refused(finished: FinishedRun, query: str) -> None:
    async with viewed([finished.work], HERE) as url:
        assert (await asyncio.to_thread(get, url, f"traces?{query}"))[0] == 400


@pytest.mark.slow
async def test_several_runs_have_an_overview_and_two_of_them_are_compared(
    finished: FinishedRun, tmp_path: Path
) -> None:
    with LoopbackProcess() as server:
        folder = tmp_path / "other"
        shutil.copytree(finished.folder, folder, ignore=shutil.ignore_patterns("work", "out.*"))
        config = (folder / "config.yaml").read_text().replace(str(finished.folder), str(folder))
        base = next(line for line in config.splitlines() if "base_url" in line).split()[-1]
        (folder / "config.yaml").write_text(config.replace(base, server.base_url).replace("n_mask: 6", "n_mask: 3"))
        finish(folder, code=1)
    mine, others = (
        {r["row"]: r for r in lines(f / "work/selected_truncated.jsonl")} for f in (finished.folder, folder)
    )
    async with viewed([finished.work, folder / "work"], HERE) as url:
        overview = await asked(url, "runs")
        assert [run["about"]["folder"] for run in overview] == [str(finished.work), str(folder / "work")]
        found = await asked(url, "two/0/1")
        for path in ("two/0/0", "two/0/2", "two/9/1", "run/2/events"):
            assert (await asyncio.to_thread(get, url, path))[0] == 404, path
        assert (await asked(url, "run/1/traces"))["total"] == len(others)
    assert found["changed"] == [{"key": "params.n_mask", "first": "6", "second": "3", "of_scores": True}]
    common = [row for row in mine if row in others]
    shared = found["common"]
    assert shared["questions"] == len(common) > 2
    differences = [others[row]["score"] - mine[row]["score"] for row in common]
    assert shared["difference"]["value"] == pytest.approx(sum(differences) / len(common), abs=1e-9)
    same = [mine[row]["m_strong"] == others[row]["m_strong"] for row in common]
    assert shared["same_model"]["value"] == pytest.approx(sum(same) / len(common))
    assert found["alike"]["value"] == 1.0
    assert found["same_input"] is True
    furthest = max(common, key=lambda row: abs(others[row]["score"] - mine[row]["score"]))
    assert found["apart"][0]["first"] == pytest.approx(mine[furthest]["score"])
    assert found["first"]["cost_usd"] == pytest.approx(overview[0]["board"]["cost_usd"])


async def test_the_report_is_shown_if_there_is_one_and_can_do_nothing(finished: FinishedRun, tmp_path: Path) -> None:
    work = copied(finished, tmp_path)
    async with viewed([work], HERE) as url:
        assert (await asyncio.to_thread(get, url, "report"))[0] == 404
        secret = tmp_path / "secret"
        secret.write_text("secret")
        (work / "report.html").symlink_to(secret)
        assert (await asyncio.to_thread(get, url, "report"))[0] == 404, "a link out of the folder is no report"
        (work / "report.html").unlink()
        (work / "report.html").write_text("<script>alert(1)</script>")
        status, fields, _ = await asyncio.to_thread(get, url, "report")
        assert status == 200
        policy = fields["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script" not in policy
        assert policy.endswith("sandbox allow-downloads")
        for path in ("../secret", "run/../../secret", "%2e%2e/secret", "trace/..%2f..%2fsecret", "static/../view.py"):
            assert (await asyncio.to_thread(get, url, path))[0] == 404, path


async def test_what_cannot_be_read_any_more_is_said_and_the_page_goes_on(
    finished: FinishedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    work = copied(finished, tmp_path)
    async with viewed([work], HERE) as url:
        shard = work / "ledger" / "select" / "00000.jsonl"
        row = finished.selected[0]["row"]
        shard.write_bytes(shard.read_bytes().replace(b"reasoning", b"treasoning"[1:].upper()))
        for path in (f"trace/{row}", "traces"):
            status, _, text = await asyncio.to_thread(get, url, path)
            assert (status, str(shard) in text) == (503, True), text
        shutil.rmtree(work)
        status, _, text = await asyncio.to_thread(get, url, f"trace/{row}")
        assert status == 503
        assert (await asyncio.to_thread(get, url, "healthz"))[0] == 200
    assert not caplog.records, "no traceback in the terminal of who watches"


@pytest.mark.slow
async def test_an_engine_starts_while_its_folder_is_being_looked_at(tmp_path: Path) -> None:
    """Who asks whether a folder is locked has its lock for a moment."""
    begun(tmp_path)
    (tmp_path / "lock").touch()
    asking = True

    def ask() -> None:
        while asking:
            holder(tmp_path)
            time.sleep(0.001)  # a thread that waits for the interpreter right after it has taken the lock keeps it

    askers = [asyncio.create_task(asyncio.to_thread(ask)) for _ in range(2)]
    try:
        for _ in range(200):
            with locked(tmp_path):
                pass
            await asyncio.sleep(0)
    finally:
        asking = False
        await asyncio.gather(*askers)
    with locked(tmp_path), pytest.raises(ConfigError, match="in use by another engine"), locked(tmp_path):
        pass
