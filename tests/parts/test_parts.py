"""Whole runs in parts, on hosts in this process: the bytes are those of one machine, whatever happens to the hosts."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import config_for, finish, lines, write_run
from tests.loopback import Fault, LoopbackProcess, Match
from tests.parts.hosts import HostsHere
from weak2wise.api import open_run
from weak2wise.config import Config, load_config
from weak2wise.errors import ConfigError, RunStopped, single_errors
from weak2wise.ledger.manifest import InputDigest, Manifest, load_manifest
from weak2wise.ledger.outcomes import Dropped, Ledger
from weak2wise.ledger.parts import Partition
from weak2wise.llm.journal import Answer, Journal
from weak2wise.llm.model import Completion
from weak2wise.outputs.summary import Summary
from weak2wise.run.engine import Engine
from weak2wise.run.partition import settled_partition

QUESTIONS = 30
PART = 7
FILES = ("s_prime.jsonl", "candidates.jsonl", "scored_candidates.jsonl", "selected_truncated.jsonl", "failed.jsonl")


def outputs(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in (*(folder / "work" / name for name in FILES), folder / "out.jsonl")
    }


def prepared(folder: Path, base_url: str, questions: int = QUESTIONS, **engine: Any) -> Config:
    config = config_for(folder, base_url) | {"cluster": {"part_rows": PART}, "engine": {"salvage_rounds": 0} | engine}
    write_run(folder, config, questions)
    return load_config(folder / "config.yaml")


def in_parts(config: Config, hosts: HostsHere | None = None, **options: Any) -> Summary:
    return asyncio.run(Engine(config, holders=hosts or HostsHere(config, 2), **options).run())


def asked_of(server: LoopbackProcess) -> int:
    return sum(request.asked for request in server.requests().values())


@pytest.mark.slow
def test_many_hosts_make_the_bytes_of_one_and_are_read_as_one(tmp_path: Path, alone: dict[str, bytes]) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        hosts = HostsHere(config, 3)
        summary = in_parts(config, hosts)
        asked = asked_of(server)
    assert outputs(tmp_path) == alone
    assert sorted(lease.part for host in hosts.up for lease in host.leases) == [1, 2, 3, 4, 5]
    assert all(host.leases for host in hosts.up)
    assert summary.totals.unfinished == 0
    assert summary.totals.rows == QUESTIONS
    assert sum(role.calls for role in summary.roles) == asked
    run = open_run(tmp_path / "work")
    assert run.totals == summary.totals
    assert [golden.row for golden in run.golden()] == [line["row"] for line in lines(tmp_path / "work" / FILES[3])]
    assert {role.role: role.calls for role in run.summary.roles} == {role.role: role.calls for role in summary.roles}
    assert json.loads(finish(tmp_path / "", "--json", command="status").splitlines()[-1])["totals"]["rows"] == QUESTIONS


def run_and_kill(config: Config, kills: int) -> HostsHere:
    """Run on two hosts; kill one after its first answers, ``kills`` times."""
    hosts = HostsHere(config, 2)

    async def killing() -> None:
        for number in range(kills):
            while len(hosts.up) <= number or not any(board.ended for board in hosts.up[number].boards()):
                await asyncio.sleep(0.01)
            hosts.up[number].killed.set()

    async def both() -> None:
        killer = asyncio.create_task(killing())
        await Engine(config, holders=hosts).run()
        killer.cancel()

    asyncio.run(both())
    return hosts


@pytest.mark.slow
def test_hosts_that_die_cost_nothing_but_what_was_in_flight(tmp_path: Path, alone: dict[str, bytes]) -> None:
    with LoopbackProcess() as server:
        hosts = run_and_kill(prepared(tmp_path, server.base_url), kills=2)
    assert outputs(tmp_path) == alone
    again = [lease for host in hosts.up for lease in host.leases if lease.epoch > 1]
    assert again, "a part was leased again"
    assert open_run(tmp_path / "work").totals.unfinished == 0


def stop_at(config: Config, holders: Callable[[], HostsHere | None], enough: Callable[[Path], bool]) -> None:
    """Start a run and interrupt it once enough is done."""

    async def interrupted() -> None:
        engine = Engine(config, holders=holders())
        running = asyncio.create_task(engine.run())
        while not enough(Path(config.dataset.work_dir)):
            await asyncio.sleep(0.01)
            assert not running.done(), "it must be interrupted"
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(interrupted())


def has_lines(pattern: str, number: int) -> Callable[[Path], bool]:
    return lambda folder: sum(path.read_bytes().count(b"\n") for path in folder.glob(pattern)) >= number


@pytest.mark.slow
def test_a_run_begun_on_one_machine_goes_on_on_many_and_pays_for_nothing_twice(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        stop_at(config, lambda: None, has_lines("ledger/select/*.jsonl", 3))
        before = asked_of(server)
        summary = in_parts(config)
        asked = asked_of(server)
    assert before > 0
    assert outputs(tmp_path) == alone
    assert summary.totals.unfinished == 0
    calls = sum(role.calls for role in summary.roles)
    in_flight = 2 * QUESTIONS  # those that were cancelled
    assert calls <= asked <= calls + in_flight
    manifest = json.loads((tmp_path / "work" / "manifest.json").read_text())
    assert manifest["partition"]["rows"] == PART
    assert manifest["partition"]["begun"] >= 3


@pytest.mark.slow
def test_a_run_begun_on_many_machines_goes_on_on_one_in_parts(tmp_path: Path, alone: dict[str, bytes]) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        stop_at(config, lambda: HostsHere(config, 2), has_lines("parts/*/epoch-*/ledger/select/*.jsonl", 3))
        assert not (tmp_path / "work" / "ledger").exists()
        said = finish(tmp_path)
    assert outputs(tmp_path) == alone
    assert "emitted" in said
    assert not (tmp_path / "work" / "ledger").exists()


@pytest.mark.slow
def test_an_input_of_one_part_keeps_the_layout_of_one_machine(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url, questions=PART)
        in_parts(config)
    assert (tmp_path / "work" / "ledger" / "sft").is_dir()
    assert not (tmp_path / "work" / "parts").exists()
    assert json.loads((tmp_path / "work" / "manifest.json").read_text())["partition"] is None


@pytest.mark.slow
def test_new_lines_at_the_end_of_the_input_are_worked_on_in_parts(tmp_path: Path, alone: dict[str, bytes]) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        whole = (tmp_path / "in.jsonl").read_bytes().splitlines(keepends=True)
        (tmp_path / "in.jsonl").write_bytes(b"".join(whole[:10]))
        in_parts(config)
        (tmp_path / "in.jsonl").write_bytes(b"".join(whole))
        with pytest.raises(ConfigError, match="--resume force"):
            in_parts(config)
        asked = asked_of(server)
        in_parts(config, resume="force")
        assert outputs(tmp_path) == alone
        assert asked_of(server) > asked
        asked = asked_of(server)
        in_parts(config)
        assert asked_of(server) == asked, "nothing is left to be asked"


@pytest.mark.slow
def test_a_limit_works_on_the_first_questions_and_a_later_run_on_the_others(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        assert in_parts(config, limit=10).totals.rows == 10
        assert in_parts(config).totals.rows == QUESTIONS
    assert outputs(tmp_path) == alone


@pytest.mark.slow
def test_rows_put_aside_are_tried_again_when_all_parts_are_through(tmp_path: Path, alone: dict[str, bytes]) -> None:
    """Each first call to the truncation model fails, and none is repeated: every row that gets there is put aside."""
    broken = (Fault("500", Match(model="trunc", asked=1), times=None),)
    with LoopbackProcess(faults=broken) as server:
        config = config_for(tmp_path, server.base_url) | {
            "cluster": {"part_rows": PART},
            "engine": {"salvage_rounds": 1, "max_error_rate": 1},
        }
        config["model_endpoints"]["trunc"]["max_retries"] = 0
        write_run(tmp_path, config, QUESTIONS)
        loaded = load_config(tmp_path / "config.yaml")
        hosts = HostsHere(loaded, 1)
        summary = in_parts(loaded, hosts)
    rounds = [lease.round for host in hosts.up for lease in host.leases]
    assert rounds == [0] * 5 + [1] * 5
    assert not summary.totals.failed
    assert outputs(tmp_path) == alone


@pytest.mark.slow
def test_rows_that_fail_are_tried_again_by_the_next_start_and_by_retry_failed(
    tmp_path: Path, alone: dict[str, bytes]
) -> None:
    broken = (Fault("400", Match(model="trunc"), times=4),)
    with LoopbackProcess(faults=broken) as server:
        config = prepared(tmp_path, server.base_url, max_error_rate=1)
        summary = in_parts(config)
        assert sum(summary.totals.failed.values()) == 4
        assert [line["row"] for line in lines(tmp_path / "work" / "failed.jsonl")] == sorted(
            failed.row for failed in open_run(tmp_path / "work").failed()
        )
        with pytest.raises(ConfigError, match="no failed question"):
            in_parts(config, retry=frozenset({"timeout"}))
        finish(tmp_path, command="retry-failed")
    assert outputs(tmp_path) == alone


@pytest.mark.slow
def test_a_part_that_ends_three_holders_stops_the_run_and_is_named(tmp_path: Path) -> None:
    class Poisoned(HostsHere):
        async def poison(self) -> None:
            while True:
                for host in self.up:
                    if any(lease.part == 2 for lease in host.leases):
                        host.killed.set()
                await asyncio.sleep(0.01)

    async def run(config: Config) -> None:
        hosts = Poisoned(config, 1)
        poison = asyncio.create_task(hosts.poison())
        try:
            await Engine(config, holders=hosts).run()
        finally:
            poison.cancel()

    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        with pytest.raises(BaseExceptionGroup) as stopped:
            asyncio.run(run(config))
    (error,) = {str(found) for found in single_errors(stopped.value) if isinstance(found, RunStopped)}
    assert "part 2 (rows 8 to 14)" in error


@pytest.mark.slow
def test_a_run_in_parts_cannot_send_batches(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        config = prepared(tmp_path, server.base_url)
        raw = config_for(tmp_path, server.base_url) | {"cluster": {"part_rows": PART}}
        raw["model_endpoints"]["strong-a"]["batch"] = {}
        write_run(tmp_path, raw, QUESTIONS)
        config = load_config(tmp_path / "config.yaml")
        with pytest.raises(ConfigError, match=r"model_endpoints\.strong-a\.batch"):
            in_parts(config)
        assert asked_of(server) == 0


def test_rows_that_had_only_answers_belong_to_what_was_begun(tmp_path: Path) -> None:
    """Their answers are in the journal of the work_dir itself, which no other part reads."""
    config = prepared(tmp_path, "http://127.0.0.1:1/v1")
    folder = tmp_path / "work" / "ledger"

    async def write() -> None:
        ledger: Ledger[Any] = Ledger("filter", folder, object, max_bytes=1 << 20, fsync_seconds=0)
        journal = Journal(folder, max_bytes=1 << 20, fsync_seconds=0)
        ledger.open()
        journal.open(lambda _role: b"")
        await ledger.append(Dropped(5, "weak_solves"))
        await journal.record(Answer(9, "0" * 32, "weak", "weak", Completion(text="4")))
        await ledger.close()
        await journal.close()

    asyncio.run(write())
    manifest = Manifest(created="", shape={}, input=InputDigest(0, ""))
    assert settled_partition(config, manifest, QUESTIONS, wanted=False) is None
    assert settled_partition(config, manifest, PART, wanted=True) is None
    found = settled_partition(config, manifest, QUESTIONS, wanted=True)
    assert found == Partition(begun=9, rows=PART)
    assert found
    assert [found.of(part, 20) for part in found.parts(20)] == [range(1, 10), range(10, 17), range(17, 21)]
    kept = load_manifest(tmp_path / "work" / "manifest.json")
    assert kept
    assert kept.partition == found


@pytest.mark.slow
def test_near_duplicates_are_dropped_wherever_the_earlier_question_is(tmp_path: Path) -> None:
    """The driver has looked through the whole input; a holder sees its part alone."""
    made = {}
    for name in ("alone", "many"):
        with LoopbackProcess() as server:
            folder = tmp_path / name
            config = config_for(folder, server.base_url) | {"cluster": {"part_rows": PART}}
            config["dataset"]["dedup"] = 0.9
            write_run(folder, config, QUESTIONS)
            whole = (folder / "in.jsonl").read_bytes().splitlines(keepends=True)
            (folder / "in.jsonl").write_bytes(b"".join([*whole, *whole[2:9]]))
            loaded = load_config(folder / "config.yaml")
            holders = HostsHere(loaded, 2) if name == "many" else None
            summary = asyncio.run(Engine(loaded, holders=holders).run())
            assert summary.totals.dropped["near_duplicate"] == 7
            made[name] = outputs(folder)
    assert made["many"] == made["alone"]
