"""A run read from its work_dir: finished, stopped or going on; it is never written."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

import weak2wise
from tests.api.runs import asked, config_at, questions, tree
from tests.finished_run import QUESTIONS, FinishedRun
from tests.loopback import Fault, Match, serve
from weak2wise.api import Run, Table


def read_all(run: Run) -> None:
    """Everything that a run shows."""
    for table in get_args(Table):
        run.to_pandas(table)
        run.to_dataset(table)
    _ = run.summary, run.settings, run.totals, run.state


def test_a_finished_run_is_shown_in_typed_records_and_left_as_it_is(finished: FinishedRun) -> None:
    before = tree(finished.folder)
    run = weak2wise.open_run(finished.work)
    read_all(run)
    assert run.state == "finished"
    assert isinstance(run.summary, weak2wise.Summary)
    assert isinstance(run.totals, weak2wise.Totals)
    assert run.summary.totals == run.totals
    assert run.totals.rows == QUESTIONS + 2 == run.totals.emitted + len([*run.failed(), *run.dropped()])
    assert run.settings["params.n_mask"] == 6

    golden, scored, traced = list(run.golden()), list(run.scores()), list(run.candidates())
    assert all(isinstance(record, weak2wise.Golden) for record in golden)
    assert [g.truncated for g in golden] == [line["truncated_normal"] for line in finished.selected]
    assert all(isinstance(record, weak2wise.Scored) for record in scored)
    assert all(len(record.candidates) == len(record.scores) == 2 for record in scored)
    assert all(isinstance(record, weak2wise.Traced) for record in traced)
    assert [record.row for record in scored] == sorted({record.row for record in traced})
    assert all(isinstance(candidate, weak2wise.Candidate) for record in traced for candidate in record.candidates)
    assert [(type(end), end.kind) for end in run.failed()] == [
        (weak2wise.Failed, "bad_field"),
        (weak2wise.Failed, "not_json"),
    ]
    assert {(type(end), end.reason) for end in run.dropped()} == {(weak2wise.Dropped, "weak_solves")}
    assert tree(finished.folder) == before


def test_each_table_has_a_row_for_each_record_or_trace(finished: FinishedRun) -> None:
    run = weak2wise.open_run(finished.work)
    count = {
        "golden": len(list(run.golden())),
        "candidates": 2 * len(list(run.candidates())),
        "scores": 2 * len(list(run.scores())),
        "failed": 2,
        "dropped": len(list(run.dropped())),
    }
    assert set(count) == set(get_args(Table))
    for table, rows in count.items():
        frame, dataset = run.to_pandas(table), run.to_dataset(table)  # type: ignore[arg-type]
        assert len(frame) == len(dataset) == rows > 0
        assert list(frame.columns) == dataset.column_names
    assert set(run.to_pandas("golden").columns) >= {"row", "id", "question", "answer", "truncated_normal", "score"}
    assert list(run.to_pandas("scores")["score"]) == [s.score for scored in run.scores() for s in scored.scores]
    with pytest.raises(weak2wise.ConfigError, match="'winners': no such table; there are golden, candidates"):
        run.to_pandas("winners")  # type: ignore[arg-type]


async def test_rows_with_and_without_ids_are_one_table(tmp_path: Path) -> None:
    rows = questions(2)
    del rows[0]["id"]
    async with serve() as server:
        params = weak2wise.Params(n_mask=2, judge_mode="rule", skip_filter=True, samples_per_model=1)
        run = await weak2wise.asynthesize(rows, config_at(server.base_url, params=params), work_dir=tmp_path)
    assert [row["id"] for row in run.to_dataset("golden")] == [None, "q1"]
    assert list(run.to_pandas("golden")["id"].dropna()) == ["q1"]


@asynccontextmanager
async def going_on(tmp_path: Path, count: int = 20) -> AsyncIterator["asyncio.Task[Run]"]:
    """A run with half of its answers."""
    async with serve(latency=0.02) as server:
        config = config_at(server.base_url, shared={"max_concurrent_requests": 4})
        task = asyncio.create_task(weak2wise.asynthesize(questions(count), config, work_dir=tmp_path))
        while sum(request.answered for request in asked(server).values()) < count:
            await asyncio.sleep(0.01)
        yield task


async def test_a_running_run_can_be_read_and_goes_on(tmp_path: Path) -> None:
    async with going_on(tmp_path) as task:
        run = await asyncio.to_thread(weak2wise.open_run, tmp_path)
        assert run.state == "running"
        await asyncio.to_thread(read_all, run)
        assert sum(use.calls for use in run.summary.roles) >= 15
        assert run.totals.unfinished > 0
        assert (await task).totals.unfinished == 0


async def test_a_stopped_run_is_shown_as_far_as_it_came_and_left_as_it_is(tmp_path: Path) -> None:
    async with going_on(tmp_path) as task:
        task.cancel()
        await asyncio.wait([task])
    before = tree(tmp_path)
    run = weak2wise.open_run(tmp_path)
    read_all(run)
    assert run.state == "stopped"
    assert 0 < run.totals.unfinished < 20
    assert run.summary.this_start is None
    assert tree(tmp_path) == before


async def test_a_run_that_an_error_stopped_is_stopped(tmp_path: Path) -> None:
    async with serve(faults=(Fault("401", Match(model="weak"), times=None),)) as server:
        with pytest.raises(weak2wise.RunStopped):
            await weak2wise.asynthesize(questions(2), config_at(server.base_url), work_dir=tmp_path)
    run = weak2wise.open_run(tmp_path)
    assert (run.state, run.totals.unfinished, list(run.golden())) == ("stopped", 2, [])
    assert (len(run.to_pandas("golden")), len(run.to_dataset("golden"))) == (0, 0)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(weak2wise.ConfigError, match=r"holds no run \(no manifest\.json\)"):
        weak2wise.open_run(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
async def test_records_are_read_one_at_a_time(tmp_path: Path) -> None:
    """Ten megabytes of reasoning; reading holds a part of it."""
    async with serve(trace_chars=60_000) as server:
        params = weak2wise.Params(n_mask=1, judge_mode="rule", skip_filter=True, samples_per_model=1)
        config = config_at(server.base_url, params=params)
        run = await weak2wise.asynthesize(questions(160), config, work_dir=tmp_path)
    tables: list[Iterator[Any]] = [run.candidates(), run.scores(), run.golden()]
    tracemalloc.start()
    try:
        held = sum(1 for table in tables for _ in table)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    size = sum(path.stat().st_size for path in (tmp_path / "ledger" / "generate").glob("*.jsonl"))
    assert held == 480
    assert size > 10_000_000
    assert peak < size / 3
