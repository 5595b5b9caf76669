"""What a run on many machines costs the one process that drives it.

``plan``: the driver itself, with its plan, record and board, leases ten million rows to hosts that are coroutines, in
virtual time: nobody waits for the seconds that a host takes. Measured are the driver's CPU, its memory, and how long
it takes to read its record again. How long the hosts would take is *computed* from the rate that is given for one.

``merge``: a work_dir of many finished parts, made with few rows each: how long a start takes to know what was spent and
what is left, and to write the output files; with its peak memory, for two sizes of a part.

``write``: how fast the input is read and its parts are written.

``desk``: what hosts share, at the rates of real calls between so many processes of Ray (``bench_desk.py``).

Run: python scripts/bench_cluster.py plan [--rows 10000000] [--hosts 64 256] | merge [--parts 5000] | write |
    desk [--hosts 16 64]
"""

import argparse
import asyncio
import json
import os
import random
import resource
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from tests.engine_runs import config_for, write_run
from tests.loopback import make_question
from weak2wise.config import load_config
from weak2wise.ledger.account import Totals
from weak2wise.ledger.epochs import seal
from weak2wise.ledger.lease_record import LeaseRecord
from weak2wise.ledger.leases import Lease, Leases
from weak2wise.ledger.lines import sealed
from weak2wise.ledger.outcomes import Done, Dropped
from weak2wise.ledger.parts import Partition
from weak2wise.llm.cost import CostBudget
from weak2wise.llm.journal import Answer
from weak2wise.llm.model import Completion, Usage
from weak2wise.outputs.output_files import write_output_files
from weak2wise.outputs.parts_view import LEDGERS, PartsView
from weak2wise.run.driver import Driver, Holder
from weak2wise.run.input import Input
from weak2wise.run.part_run import PartResult, Task
from weak2wise.run.part_writer import PartWriter
from weak2wise.watch.board import Board, StageFacts
from weak2wise.watch.parts_board import PartsObserver
from weak2wise.watch.vitals import Vitals
from workers.method import METHOD
from workers.records import Candidate, Golden, Question, Scored, SftRow, Traced, Unsolved
from workers.rules import RULES
from workers.scorers import StepMask
from workers.scorers.masking import score

PART_ROWS = 2000
STEPS = [step.name for step in METHOD]
SENTENCE = "We add the parts \\(a_i\\) one after another and see that the sum is what was asked for. "


def megabytes() -> float:
    """The peak resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


class _VirtualSelector(selectors.DefaultSelector):
    """Does not wait for timers: it moves the loop's clock. It waits for threads, which work in real time."""

    now = 0.0
    threads = 0

    def select(self, timeout: float | None = None) -> Any:
        """As the selector that it stands for."""
        if self.threads or timeout is None:
            return super().select(timeout if not self.threads else 0.05 if timeout is None else min(timeout, 0.05))
        self.now += max(0.0, timeout)
        return super().select(0)


class _VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual = _VirtualSelector()
        super().__init__(self.virtual)

    def time(self) -> float:
        return self.virtual.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        self.virtual.threads += 1
        future = super().run_in_executor(executor, func, *args)
        future.add_done_callback(self._one_less)
        return future

    def _one_less(self, _future: Any) -> None:
        self.virtual.threads -= 1


class _NoInput(PartWriter):
    """The rows are at hand."""

    def __init__(self) -> None:
        pass

    async def reach(self, part: int) -> None:
        """Nothing is read."""


def _totals(rows: int) -> Totals:
    return Totals(rows=rows, emitted=rows - rows // 5, dropped={"weak_solves": rows // 5}, failed={}, unfinished=0)


class _Host:
    """A holder that takes its time."""

    def __init__(self, name: str, rows_per_second: float) -> None:
        self.name = name
        self._rate = rows_per_second
        self._under_way: dict[int, Board] = {}

    async def work(self, lease: Lease, fed: Callable[[], None]) -> PartResult:
        """Take as long as the rows take at this rate; the last tenth of them has been handed in by then."""
        self._under_way[lease.part] = _board(lease.rows // 2)
        seconds = lease.rows / self._rate * random.uniform(0.8, 1.2)
        await asyncio.sleep(0.9 * seconds)
        fed()
        await asyncio.sleep(0.1 * seconds)
        del self._under_way[lease.part]
        kept = lease.rows - lease.rows // 5
        tallies = ((kept, lease.rows // 5, 0), *[(kept, 0, 0)] * (len(STEPS) - 1))
        return PartResult(totals=_totals(lease.rows), tallies=tallies, verdicts={"rule": 10 * lease.rows})

    def boards(self) -> list[Board]:
        """As a host reports them."""
        return list(self._under_way.values())

    async def gone(self) -> None:
        """It is never lost."""


def _board(ended: int) -> Board:
    stages = [StageFacts(name, ended, 0, 0, 32, 64, 20, 100.0) for name in STEPS]
    return Board(
        seconds=1.0,
        rows=PART_ROWS,
        ended=ended,
        emitted=ended,
        dropped=0,
        failed=0,
        to_retry=0,
        per_minute=100.0,
        seconds_left=None,
        bottleneck=None,
        cost_usd=1.0,
        loop_lag=0.0,
        stages=stages,
        endpoints=[],
        engines=[],
        verdicts={"rule": 100},
        bits={"asked": 100},
    )


class _Hosts:
    def __init__(self, number: int, rows_per_second: float) -> None:
        self.number = number
        self.rate = rows_per_second

    async def each(self, _task: Task) -> AsyncIterator[Holder]:
        """All of them at once."""
        for number in range(self.number):
            yield _Host(f"host-{number}", self.rate)


async def _drive(folder: Path, rows: int, hosts: _Hosts) -> dict[str, Any]:
    partition = Partition(begun=0, rows=PART_ROWS)
    record = LeaseRecord(folder, max_bytes=1 << 26)
    await asyncio.to_thread(record.open)
    parts = {part: partition.of(part, rows) for part in partition.parts(rows)}
    leases = Leases(parts, record.states, steps=len(STEPS), salvage_rounds=1)
    observer = PartsObserver(
        steps=STEPS,
        rows=rows,
        over=(),
        spent={},
        local=lambda: (),
        scorer=StepMask,
        rules=RULES,
        vitals=Vitals(Path(), CostBudget()),
    )
    driver = Driver(
        leases,
        record,
        _NoInput(),
        done=lambda state, result: observer.note(state, {}, result.verdicts, result.bits),
        again=observer.again,
        begun=lambda _: True,
    )
    observer.boards = lambda: {name: holder.boards() for name, holder in driver.up.items()}
    loop = asyncio.get_running_loop()
    began, wall, cpu = loop.time(), time.monotonic(), time.process_time()
    watching = asyncio.create_task(observer.watch())
    await driver.run(hosts, Task(steps=len(STEPS), rules=RULES))
    watching.cancel()
    board = observer.board()
    assert leases.over
    assert board.ended == rows, "every row has ended"
    spent = time.process_time() - cpu
    await record.close()
    computed = loop.time() - began
    return {
        "hosts": hosts.number,
        "parts": len(parts),
        "driver_cpu_seconds": round(spent, 2),
        "driver_cpu_share_of_the_computed_time": f"{spent / computed:.2%}",
        "wall_seconds_with_fsync": round(time.monotonic() - wall, 1),
        "computed_hours": round(computed / 3600, 2),
        "peak_mib": round(megabytes()),
    }


def plan(rows: int, number: int, rate: float) -> dict[str, Any]:
    """One run of the driver, and the reading of its record."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = megabytes()
        with asyncio.Runner(loop_factory=_VirtualLoop) as runner:
            found = runner.run(_drive(folder, rows, _Hosts(number, rate)))
        began = time.monotonic()
        states = LeaseRecord.seen(folder).states
        partition = Partition(begun=0, rows=PART_ROWS)
        again = Leases(
            {p: partition.of(p, rows) for p in partition.parts(rows)}, states, steps=len(STEPS), salvage_rounds=1
        )
        assert again.over
        return found | {"mib_before": round(before), "restart_seconds": round(time.monotonic() - began, 2)}


def _outcomes(row: int) -> dict[str, Any]:
    text, answer = make_question(row)
    question = Question(row=row, id=f"q{row}", text=text, answer=answer)
    if row % 5 == 0:
        return {"filter": Dropped(row, "weak_solves")}
    steps = tuple(f"## Step {number}\n{SENTENCE}" for number in range(3))
    candidate = Candidate(
        m_strong="strong-a",
        sample=0,
        step_reasoning="\n\n".join(steps),
        step_list=steps,
        normal=SENTENCE * 6,
        normal_is_own=True,
    )
    scored = score([1, 0, 1, 1], beta=0.5, normalization="reference")
    golden = Golden(question=question, winner=candidate, score=scored, truncated=SENTENCE * 3, cut_by="llm")
    return {
        "filter": Done(row, Unsolved(question=question, weak_attempt=SENTENCE)),
        "generate": Done(row, Traced(question=question, candidates=(candidate,))),
        "stepmask": Done(row, Scored(question=question, candidates=(candidate,), scores=(scored,))),
        "select": Done(row, golden),
        "sft": Done(row, SftRow(question=question, prompt=text, response=SENTENCE * 3)),
    }


def _make_part(work_dir: Path, part: int, rows: range) -> None:
    """What the holder of a part leaves that was killed at the very end: no index."""
    ledger = seal(work_dir, part, 1, rows.start, LEDGERS).folder
    written: dict[str, list[bytes]] = {name: [] for name in (*LEDGERS, "journal")}
    for row in rows:
        for step, outcome in _outcomes(row).items():
            written[step].append(sealed(msgspec.json.encode(outcome)))
        for number in range(4):
            completion = Completion(text=SENTENCE, usage=Usage(prompt_tokens=100, completion_tokens=20))
            answer = Answer(row, f"{4 * row + number:032x}", "weak", "weak", completion, 1e-5)
            written["journal"].append(sealed(msgspec.json.encode(answer)))
    for name, lines in written.items():
        (ledger / name).mkdir(parents=True)
        (ledger / name / "00000.jsonl").write_bytes(b"".join(lines))


def merge(parts: int, part_rows: int) -> dict[str, Any]:
    """Make the parts, then measure in a process of its own."""
    folder = Path(tempfile.mkdtemp())
    try:
        partition, fsync = Partition(begun=0, rows=part_rows), os.fsync
        os.fsync = lambda fd: None  # noqa: ARG005 - what is only made to be measured need not survive a power cut
        for part in partition.parts(parts * part_rows):
            _make_part(folder, part, partition.of(part, parts * part_rows))
        os.fsync = fsync
        done = subprocess.run(
            [sys.executable, __file__, "merge-one", str(folder), str(parts), str(part_rows)],
            stdout=subprocess.PIPE,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout)
        return found
    finally:
        shutil.rmtree(folder)


def _merge_one(folder: Path, parts: int, part_rows: int) -> dict[str, Any]:
    partition = Partition(begun=0, rows=part_rows)
    view = PartsView(
        folder, {part: partition.of(part, parts * part_rows) for part in partition.parts(parts * part_rows)}
    )
    before, began = megabytes(), time.monotonic()
    spent = view.spent()
    restart = time.monotonic() - began
    began, cpu = time.monotonic(), time.process_time()
    files = {folder / step.file: step for step in METHOD}
    write_output_files(files, view.records, folder / "failed.jsonl", (), claim=None, note=lambda _record: None)
    wall, cpu, peak = time.monotonic() - began, time.process_time() - cpu, megabytes()
    calls = sum(used.calls for used in spent.values())
    assert calls == 4 * parts * part_rows
    emitted = (folder / METHOD[-1].file).read_bytes().count(b"\n")
    assert emitted == sum(row % 5 > 0 for row in range(1, parts * part_rows + 1)), "all rows, each once"
    return {
        "parts": parts,
        "rows": parts * part_rows,
        "spent_seconds": round(restart, 2),
        "merge_seconds": round(wall, 2),
        "merge_cpu_seconds": round(cpu, 2),
        "mib_before": round(before),
        "peak_mib": round(peak),
    }


async def _write_parts(folder: Path, rows: int) -> dict[str, Any]:
    config = config_for(folder, "http://127.0.0.1:1/v1")
    write_run(folder, config, rows)
    partition = Partition(begun=0, rows=PART_ROWS)
    parts = {part: partition.of(part, rows) for part in partition.parts(rows)}
    writer = PartWriter(Input(load_config(folder / "config.yaml"), None, None), parts, folder / "work")
    began, cpu = time.monotonic(), time.process_time()
    await writer.reach(max(parts))
    wall, spent = time.monotonic() - began, time.process_time() - cpu
    return {
        "rows": rows,
        "wall_seconds": round(wall, 2),
        "cpu_microseconds_a_row": round(1e6 * spent / rows, 1),
        "computed_cpu_seconds_for_10_million_rows": round(1e7 * spent / rows),
    }


def _print_plan(rows: int, hosts: int, rate: float) -> None:
    """In a process of its own, so that memory is measured from the same beginning."""
    pid = os.fork()
    if not pid:
        print(json.dumps({"plan": {"rows": rows} | plan(rows, hosts, rate)}), flush=True)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if status:
        sys.exit(1)


def main() -> None:
    """Print one JSON line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["plan", "merge", "write", "desk", "merge-one"])
    parser.add_argument("one", nargs="*")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--hosts", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--rate", type=float, default=5.0, help="rows a second of one host, for the computed time")
    parser.add_argument("--seconds", type=float, default=20.0, help="for which the desk is asked")
    parser.add_argument("--parts", type=int, default=5000)
    parser.add_argument("--part-rows", type=int, nargs="+", default=[4, 20])
    chosen = parser.parse_args()
    match chosen.what:
        case "plan":
            for number in chosen.hosts:
                for rows in (chosen.rows // 10, chosen.rows):
                    _print_plan(rows, number, chosen.rate)
        case "merge":
            for rows in chosen.part_rows:
                print(json.dumps({"merge": merge(chosen.parts, rows)}), flush=True)
        case "desk":
            from scripts.bench_desk import desk  # noqa: PLC0415 - Ray is an extra

            for number in chosen.hosts:
                with tempfile.TemporaryDirectory() as name:
                    print(json.dumps({"desk": desk(Path(name), number, chosen.seconds)}), flush=True)
        case "merge-one":
            folder, parts, rows = chosen.one
            print(json.dumps(_merge_one(Path(folder), int(parts), int(rows))))
        case "write":
            with tempfile.TemporaryDirectory() as name:
                print(json.dumps({"write": asyncio.run(_write_parts(Path(name) / "run", min(chosen.rows, 100_000)))}))


if __name__ == "__main__":
    main()
