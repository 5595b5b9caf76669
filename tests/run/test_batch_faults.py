"""Whole runs against a provider of batches that misbehaves: each answer is paid once, and the file stays the same."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import weak2wise
from tests.api.runs import config_at, endpoint, names, questions
from tests.loopback import BatchFaults, BatchSettings, Rule, serve
from tests.loopback.batch_faults import KINDS

COUNT = 12
BATCH = {"max_requests": COUNT, "max_wait": "50ms", "poll": "30ms"}


def config(base_url: str, *, batch: dict[str, Any] | None = None, **keys: Any) -> weak2wise.Config:
    """A run whose only strong model is asked in batches; without ``batch``, by ordinary calls."""
    strong = endpoint(base_url, "strong-a", **keys, **({"batch": batch} if batch else {}))
    params = weak2wise.Params(samples_per_model=1, n_mask=2, judge_mode="rule", skip_filter=True)
    return config_at(base_url, endpoints={"weak": endpoint(base_url, "weak"), "strong-a": strong}, params=params)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of an ordinary run."""
    async def run() -> bytes:
        work_dir = tmp_path_factory.mktemp("calm")
        async with serve() as server:
            await weak2wise.asynthesize(questions(COUNT), config(server.base_url), work_dir=work_dir)
        return (work_dir / "finetune.jsonl").read_bytes()

    return asyncio.run(run())


async def through(work_dir: Path, calm: bytes, *rules: Rule, **settings: Any) -> weak2wise.Config:
    """A whole run with these faults, in which each answer is charged once and no file is left behind."""
    given = BatchSettings(**({"seconds": 0.1, "faults": BatchFaults(rules=rules)} | settings))
    async with serve(batches=given) as server:
        chosen = config(server.base_url, batch=BATCH)
        await weak2wise.asynthesize(questions(COUNT), chosen, work_dir=work_dir)
        stats, models = server.batches, server.stats.models
    assert "strong-a" not in models, "asked by ordinary calls"
    assert {line.charged for line in stats.lines.values()} == {1}
    assert set(stats.bodies.values()) == {1}
    assert stats.charged == COUNT
    assert stats.files == 0
    assert {f"{rule.at}:{rule.fault}" for rule in rules} <= stats.faults.keys(), "the fault did not happen"
    assert (work_dir / "finetune.jsonl").read_bytes() == calm
    return chosen


# What takes answers away that were charged, or condemns a question, has tests of its own.
APART = {"failed_line", "no_credit", "stuck", "results_gone", "odd_end", "files_late"}


@pytest.mark.parametrize("fault", sorted(set(KINDS["batch"]) - APART))
async def test_a_batch_that_ends_in_any_way_costs_nothing_twice(tmp_path: Path, calm: bytes, fault: str) -> None:
    await through(tmp_path, calm, Rule(at="batch", fault=fault, seconds=0.02))


@pytest.mark.parametrize("fault", sorted(set(KINDS["line"]) - {"400", "no_credit"}))
async def test_a_line_that_comes_back_in_any_way_costs_nothing_twice(tmp_path: Path, calm: bytes, fault: str) -> None:
    await through(tmp_path, calm, Rule(at="line", fault=fault, times=3))


@pytest.mark.parametrize("fault", ["429", "500", "reset", "500_after", "reset_after"])
@pytest.mark.parametrize("at", ["upload", "create", "retrieve", "content", "delete"])
async def test_a_request_that_goes_wrong_in_any_way_costs_nothing_twice(
    tmp_path: Path, calm: bytes, at: Any, fault: str
) -> None:
    """Refused, or carried out unseen."""
    rule = Rule(at=at, fault=fault, seconds=0.02)
    if (at, fault) in {("upload", "500_after"), ("upload", "reset_after")}:
        pytest.skip("leaves a file behind whose id nobody knows")
    await through(tmp_path, calm, rule)


async def test_results_that_break_off_are_fetched_again(tmp_path: Path, calm: bytes) -> None:
    await through(tmp_path, calm, Rule(at="content", fault="cut", times=2))


async def test_above_the_queue_limit_batches_wait_and_no_retry_is_spent(tmp_path: Path, calm: bytes) -> None:
    await through(tmp_path, calm, max_queued=5)
    assert names(tmp_path)["batch.too_much"] >= 1


async def test_metadata_that_the_provider_does_not_keep_is_not_needed(tmp_path: Path, calm: bytes) -> None:
    await through(tmp_path, calm, Rule(at="create", fault="500_after"), metadata=False)


async def test_a_file_may_need_time_before_it_can_be_used(tmp_path: Path, calm: bytes) -> None:
    await through(tmp_path, calm, processing=0.1)


async def test_spent_credit_in_the_lines_stops_the_run_and_it_goes_on_later(tmp_path: Path, calm: bytes) -> None:
    """No question fails for it."""
    faults = BatchFaults(rules=(Rule(at="batch", fault="no_credit"),))
    async with serve(batches=BatchSettings(seconds=0.1, faults=faults)) as server:
        chosen = config(server.base_url, batch=BATCH)
        with pytest.raises(weak2wise.RunStopped, match="credit balance is too low"):
            await weak2wise.asynthesize(questions(COUNT), chosen, work_dir=tmp_path)
        assert server.batches.charged == 0
        await weak2wise.asynthesize(questions(COUNT), chosen, work_dir=tmp_path)
        assert server.batches.charged == COUNT
    assert (tmp_path / "finetune.jsonl").read_bytes() == calm


async def test_a_line_that_the_provider_refuses_fails_its_question_alone(tmp_path: Path) -> None:
    faults = BatchFaults(rules=(Rule(at="line", fault="400", contains="(item 3)", times=None),))
    async with serve(batches=BatchSettings(seconds=0.1, faults=faults)) as server:
        run = await weak2wise.asynthesize(questions(COUNT), config(server.base_url, batch=BATCH), work_dir=tmp_path)
        assert server.batches.charged == COUNT - 1
    assert run.summary.totals.failed == {"generate/bad_request": 1}
    assert run.summary.totals.emitted == COUNT - 1


async def test_a_run_that_comes_back_after_results_were_deleted_says_so_and_asks_again(
    tmp_path: Path, calm: bytes
) -> None:
    faults = BatchFaults(rules=(Rule(at="batch", fault="results_gone", seconds=0.0),))
    async with serve(batches=BatchSettings(seconds=0.1, faults=faults)) as server:
        await weak2wise.asynthesize(questions(COUNT), config(server.base_url, batch=BATCH), work_dir=tmp_path)
        assert {(line.charged, line.gone) for line in server.batches.lines.values()} == {(2, 1)}
    assert names(tmp_path)["batch.results_gone"] == 1
    assert (tmp_path / "finetune.jsonl").read_bytes() == calm


async def test_answers_that_arrived_before_a_stop_are_counted_once(tmp_path: Path, calm: bytes) -> None:
    """Their rows are through before the rest of the batch is fetched, and forgotten by then."""
    rules = (
        Rule(at="content", fault="cut"),
        Rule(at="content", fault="hang", nth=2, seconds=60.0),
        Rule(at="retrieve", fault="hang", nth=2, seconds=1.5),
    )
    async with serve(batches=BatchSettings(seconds=0.0, faults=BatchFaults(rules=rules))) as server:
        chosen = config(server.base_url, batch=BATCH)
        first = asyncio.create_task(weak2wise.asynthesize(questions(COUNT), chosen, work_dir=tmp_path))
        while "content:hang" not in server.batches.faults:
            assert not first.done(), first
            await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait([first])
        run = await weak2wise.asynthesize(questions(COUNT), chosen, work_dir=tmp_path)
        assert server.batches.charged == COUNT
    assert [role.calls for role in run.summary.roles if role.endpoint == "strong-a"] == [COUNT]
    assert (tmp_path / "finetune.jsonl").read_bytes() == calm
