"""A fork pays for what its settings need and no more, ends as a run from scratch, and leaves the earlier run alone."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

import weak2wise
from tests.api.runs import asked, config_at, questions, tree
from tests.loopback import serve
from tests.loopback.counts import RequestCount
from weak2wise.config import Config, Models, Params
from weak2wise.ledger.files import locked
from weak2wise.ledger.manifest import load_manifest
from weak2wise.llm.batch.record import BatchRecord, BatchState
from workers.method import METHOD

PRICES = weak2wise.Prices(input=2.0, output=8.0)
OUTPUTS = [*(step.file for step in METHOD), "failed.jsonl"]


def config(base_url: str, **params: Any) -> Config:
    """Two strong models' worth of traces, a judge and prices, small shards."""
    given: dict[str, Any] = {"samples_per_model": 2, "n_mask": 3, "judge_mode": "llm", "scoring": "exhaustive"} | params
    names = ("weak", "strong-a", "judge")
    return config_at(
        base_url,
        models=Models(mweak="weak", mstrong=("strong-a",), judge="judge"),
        endpoints={name: weak2wise.OpenAIEndpoint(model_id=name, base_url=base_url, prices=PRICES) for name in names},
        params=Params(**given),
    )


def new(before: Mapping[str, RequestCount], after: Mapping[str, RequestCount]) -> dict[str, int]:
    """How often each request was asked in between."""
    counts = {at: count.asked - (before[at].asked if at in before else 0) for at, count in after.items()}
    return {at: count for at, count in counts.items() if count}


def outputs(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


CHANGES: dict[str, tuple[dict[str, Any], int]] = {
    "more mask levels": ({"n_mask": 4}, 3),
    "more samples": ({"samples_per_model": 3}, 2),
    "another temperature of the filter": ({"gen_temperature": 0.9}, 1),
    "another weight": ({"beta": 0.1}, 3),
    "another cut": ({"truncation": "rule"}, 4),
    "pairs": ({"keep": "pairs"}, 3),
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
async def test_a_fork_asks_what_its_settings_need_and_ends_as_a_run_from_scratch(tmp_path: Path, change: str) -> None:
    changed, step = CHANGES[change]
    async with serve() as server:
        first = await weak2wise.asynthesize(questions(12), config(server.base_url), work_dir=tmp_path / "a")
        paid = asked(server)
        before = tree(tmp_path / "a")

        forked = await asyncio.to_thread(
            weak2wise.fork, tmp_path / "a", tmp_path / "b", config(server.base_url, **changed)
        )
        assert asked(server) == paid, "a fork asks nothing"
        run = await weak2wise.asynthesize(None, forked)
        needed_by_fork = new(paid, asked(server))

        again = asked(server)
        await weak2wise.asynthesize(questions(12), config(server.base_url, **changed), work_dir=tmp_path / "scratch")
        needed_from_scratch = new(again, asked(server))

    assert needed_by_fork == {at: count for at, count in needed_from_scratch.items() if at not in paid}
    assert outputs(tmp_path / "b") == outputs(tmp_path / "scratch")
    assert run.totals.emitted, "a comparison of nothing"
    assert tree(tmp_path / "a") == before, "nothing of the earlier one is written"

    origin = json.loads((tmp_path / "b" / "manifest.json").read_text())["forked"]
    assert origin["work_dir"] == str(tmp_path / "a")
    assert origin["from_step"] == step
    assert origin["changed"] == [f"params.{key}" for key in changed]
    assert origin["spent_usd"] == pytest.approx(sum(role.cost_usd for role in first.summary.roles))
    assert run.summary.shared_usd == origin["spent_usd"]


@pytest.mark.slow
async def test_outcomes_of_steps_before_are_taken_as_they_are_and_later_ones_are_made_anew(tmp_path: Path) -> None:
    async with serve() as server:
        await weak2wise.asynthesize(questions(6), config(server.base_url), work_dir=tmp_path / "a")
        for number, shared in ((None, {"filter", "generate"}), (2, {"filter"}), (1, set())):
            other = tmp_path / f"from {number}"
            weak2wise.fork(tmp_path / "a", other, config(server.base_url, n_mask=4), from_step=number)
            assert {path.name for path in (other / "ledger").iterdir()} - {"journal", "input"} == shared
        paid = sum(new({}, asked(server)).values())
        await weak2wise.asynthesize(None, weak2wise.fork(tmp_path / "a", tmp_path / "same", config(server.base_url)))
        assert sum(new({}, asked(server)).values()) == paid, "with the same settings nothing is left to ask"
    assert outputs(tmp_path / "same") == outputs(tmp_path / "a")


@pytest.mark.slow
async def test_a_fork_goes_on_when_the_earlier_run_is_deleted_and_where_it_is_moved(tmp_path: Path) -> None:
    async with serve() as server:
        await weak2wise.asynthesize(questions(6), config(server.base_url), work_dir=tmp_path / "a")
        paid = asked(server)
        weak2wise.fork(tmp_path / "a", tmp_path / "b", config(server.base_url, beta=0.1))
        shutil.rmtree(tmp_path / "a")
        shutil.copytree(tmp_path / "b", tmp_path / "moved")  # as to another machine: hard links become files
        shutil.rmtree(tmp_path / "b")
        moved = config(server.base_url, beta=0.1)
        run = await weak2wise.asynthesize(tmp_path / "moved" / "questions.jsonl", moved, work_dir=tmp_path / "moved")
        assert not new(paid, asked(server))
        assert run.totals.emitted


@pytest.mark.slow
async def test_a_fork_of_a_run_that_goes_on_has_what_was_there_and_neither_disturbs_the_other(tmp_path: Path) -> None:
    async with serve(latency=0.05) as server:
        base = config(server.base_url)
        calm = await weak2wise.asynthesize(questions(30), base, work_dir=tmp_path / "calm")
        running = asyncio.create_task(weak2wise.asynthesize(questions(30), base, work_dir=tmp_path / "a"))
        while not list((tmp_path / "a").glob("ledger/stepmask/*.jsonl")):
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        forked = await asyncio.to_thread(weak2wise.fork, tmp_path / "a", tmp_path / "b", base)
        assert not running.done()
        again = await weak2wise.asynthesize(None, forked)
        first = await running
    assert outputs(tmp_path / "a") == outputs(tmp_path / "b") == outputs(tmp_path / "calm")
    assert first.totals == again.totals == calm.totals


@pytest.mark.slow
async def test_full_shards_are_on_the_disk_once_and_are_never_written_by_either(tmp_path: Path) -> None:
    async with serve(trace_chars=60_000) as server:
        small = structs.replace(config(server.base_url), engine=weak2wise.EngineOptions(shard_mb=1))
        await weak2wise.asynthesize(questions(30), small, work_dir=tmp_path / "a")
        journal = tmp_path / "a" / "ledger" / "journal"
        *full, last = sorted(journal.glob("*.jsonl"))
        assert len(full) >= 2
        changed = structs.replace(small, params=structs.replace(small.params, n_mask=4))
        before = tree(tmp_path / "a")
        forked = weak2wise.fork(tmp_path / "a", tmp_path / "b", changed)
        mine = tmp_path / "b" / "ledger" / "journal"
        for shard in full:
            assert (mine / shard.name).samefile(shard)
            index = Path("ledger/journal.index") / shard.stem
            assert (tmp_path / "b" / index).samefile(tmp_path / "a" / index)
        assert not (mine / last.name).samefile(last), "the fork appends to its own"
        await weak2wise.asynthesize(None, forked)
        assert tree(tmp_path / "a") == before


async def test_a_fork_of_a_fork_shares_what_both_have_paid(tmp_path: Path) -> None:
    async with serve() as server:
        await weak2wise.asynthesize(questions(6), config(server.base_url), work_dir=tmp_path / "a")
        await weak2wise.asynthesize(
            None, weak2wise.fork(tmp_path / "a", tmp_path / "b", config(server.base_url, n_mask=4))
        )
        paid = asked(server)
        third = weak2wise.fork(tmp_path / "b", tmp_path / "c", config(server.base_url, n_mask=3))
        await weak2wise.asynthesize(None, third)
        assert not new(paid, asked(server))
    assert outputs(tmp_path / "c") == outputs(tmp_path / "a")
    manifest = load_manifest(tmp_path / "c" / "manifest.json")
    assert manifest
    assert manifest.forked
    assert manifest.forked.work_dir == str(tmp_path / "b")


@pytest.mark.slow
async def test_what_the_earlier_run_has_paid_does_not_count_under_the_cap_of_a_fork(tmp_path: Path) -> None:
    async with serve() as server:
        first = await weak2wise.asynthesize(questions(40), config(server.base_url), work_dir=tmp_path / "a")
        spent = sum(role.cost_usd for role in first.summary.roles)
        base = config(server.base_url, samples_per_model=3)
        capped = structs.replace(base, engine=weak2wise.EngineOptions(max_cost_usd=spent))
        run = await weak2wise.asynthesize(None, weak2wise.fork(tmp_path / "a", tmp_path / "b", capped))
    assert run.totals.emitted == first.totals.emitted
    assert run.summary.shared_usd == pytest.approx(spent)
    assert spent < sum(role.cost_usd for role in run.summary.roles) < 2 * spent


@pytest.mark.slow
async def test_a_change_that_was_forced_in_between_is_found_and_its_outcomes_are_made_anew(tmp_path: Path) -> None:
    async with serve() as server:
        path = tmp_path / "in.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in questions(8)))
        one, two = config(server.base_url), config(server.base_url, samples_per_model=3)
        await weak2wise.asynthesize(path, one, work_dir=tmp_path / "a", limit=4)
        await weak2wise.asynthesize(path, two, work_dir=tmp_path / "a", resume="force")
        placed = structs.replace(two, dataset=weak2wise.Dataset(input_path=str(path)))
        with pytest.raises(weak2wise.ConfigError, match=r"step 2 \(generate\).*params.samples_per_model"):
            weak2wise.fork(tmp_path / "a", tmp_path / "b", placed, from_step=3)
        run = await weak2wise.asynthesize(None, weak2wise.fork(tmp_path / "a", tmp_path / "b", placed))
        await weak2wise.asynthesize(path, two, work_dir=tmp_path / "scratch")
    assert outputs(tmp_path / "b") == outputs(tmp_path / "scratch") != outputs(tmp_path / "a")
    assert run.totals.emitted


async def test_a_locked_or_read_only_work_dir_can_be_forked(tmp_path: Path) -> None:
    async with serve() as server:
        await weak2wise.asynthesize(questions(4), config(server.base_url), work_dir=tmp_path / "a")
        with locked(tmp_path / "a"):
            weak2wise.fork(tmp_path / "a", tmp_path / "b", config(server.base_url, beta=0.1))
    assert (tmp_path / "b" / "manifest.json").exists()


@pytest.mark.slow
async def test_with_a_manifest_that_was_lost_only_answers_are_shared(tmp_path: Path) -> None:
    async with serve() as server:
        base = config(server.base_url)
        await weak2wise.asynthesize(questions(4), base, work_dir=tmp_path / "a")
        (tmp_path / "a" / "manifest.json").unlink()
        await weak2wise.asynthesize(questions(4), base, work_dir=tmp_path / "a", resume="force")
        paid = asked(server)
        await weak2wise.asynthesize(None, weak2wise.fork(tmp_path / "a", tmp_path / "b", base))
        assert not new(paid, asked(server))
    manifest = load_manifest(tmp_path / "b" / "manifest.json")
    assert manifest
    assert manifest.forked
    assert manifest.forked.from_step == 1


async def test_what_is_out_in_a_batch_is_not_asked_by_a_fork(tmp_path: Path) -> None:
    async with serve() as server:
        base = config(server.base_url)
        await weak2wise.asynthesize(questions(2), base, work_dir=tmp_path / "a")
        record = BatchRecord(tmp_path / "a" / "ledger", max_bytes=1 << 20)
        record.open()
        await record.note(BatchState(key="k", endpoint="strong-a", stage="out", requests=7, size=1))
        await record.close()
        with pytest.raises(weak2wise.ConfigError, match="1 batches with 7 requests are out"):
            weak2wise.fork(tmp_path / "a", tmp_path / "b", base)
    assert not (tmp_path / "b").exists()
