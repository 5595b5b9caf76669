"""A work_dir of a million finished rows: what it takes to go on with it, and to look at it.

Makes the work_dir once, through the real ledgers, journal, log and manifest: lines of about 1 kB, a fifth of the
questions dropped, five ledgers and seven answers a question that is not. Then it measures, for each source tree given:

* ``resume``: the engine goes on with a few new rows of the input, over HTTP against the loopback server: seconds to
  the first request, and to the exit;
* ``again``: the engine is started once more and has nothing to do;
* ``status`` and ``report``.

Each of them in a process of its own, with its CPU time and its peak resident memory (never less than this script's own,
about 70 MiB). ``--no-index`` deletes the ledgers' indexes
before each command.

Run: python scripts/bench_million.py --folder /tmp/million [--rows 1000000] [--tree . --tree ../before]
"""

import argparse
import asyncio
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.measured import run_program, runs
from tests.engine_runs import config_for, save
from tests.loopback import LoopbackProcess, make_question
from weak2wise.config import load_config
from weak2wise.config.shape import default_shape
from weak2wise.ledger.files import locked
from weak2wise.ledger.manifest import settle
from weak2wise.ledger.outcomes import Done, Dropped, Outcome, RowStatus
from weak2wise.llm.journal import Answer
from weak2wise.llm.model import Completion, Usage
from weak2wise.run.engine import Engine
from weak2wise.run.store import RunStore
from weak2wise.telemetry.log import RunLog, log, log_facts
from workers.method import METHOD
from workers.records import Candidate, Golden, Question, Scored, SftRow, Traced, Unsolved
from workers.rules import RULES
from workers.scorers.masking import score

NEW = 20
"""Rows that ``resume`` has left to do."""
SPARE = 100 * NEW
"""Rows of the input after those that are finished, for later measurements in the same folder."""
IN_FLIGHT = 512
SENTENCE = "We add the parts \\(a_i\\) one after another and see that the sum is what was asked for. "


def _question(row: int) -> Question:
    text, answer = make_question(row)
    return Question(row=row, id=f"q{row}", text=f"{text} {SENTENCE}", answer=answer)


def _of_row(row: int, rng: random.Random) -> tuple[dict[str, Outcome[Any]], list[Answer]]:
    """The outcomes of one row by step, and its answers."""
    question = _question(row)

    def answer(role: str, endpoint: str, text: str) -> Answer:
        usage = Usage(prompt_tokens=rng.randint(100, 300), completion_tokens=len(text) // 4)
        completion = Completion(text=text, finish_reason="stop", usage=usage)
        return Answer(row, f"{rng.getrandbits(128):032x}", role, endpoint, completion, 1e-5)

    attempt = SENTENCE * rng.randint(4, 8)
    answers = [answer("weak", "weak", attempt)]
    if rng.random() < 0.2:
        return {"filter": Dropped(row, "weak_solves")}, answers
    steps = tuple(f"## Step {number}\n{SENTENCE}" for number in range(3))
    text = "\n\n".join(steps)
    whole = SENTENCE * rng.randint(4, 8)
    candidate = Candidate(
        m_strong="strong-a", sample=0, step_reasoning=text, step_list=steps, normal=whole, normal_is_own=True
    )
    answers += [answer("strong/strong-a", "strong-a", text + whole)]
    answers += [answer("weak", "weak", SENTENCE * 2) for _ in range(4)]
    answers += [answer("truncation", "trunc", whole[:200])]
    scored = score([int(rng.random() < 0.6) for _ in range(4)], beta=0.5, normalization="reference")
    cut = whole[: rng.randint(2, 4) * len(SENTENCE)]
    return {
        "filter": Done(row, Unsolved(question=question, weak_attempt=attempt), rng.random()),
        "generate": Done(row, Traced(question=question, candidates=(candidate,)), 20 * rng.random()),
        "stepmask": Done(row, Scored(question=question, candidates=(candidate,), scores=(scored,)), rng.random()),
        "select": Done(row, Golden(question=question, winner=candidate, score=scored, truncated=cut, cut_by="llm"), 1),
        "sft": Done(row, SftRow(question=question, prompt=question.text, response=cut), 0.0),
    }, answers


async def _write(folder: Path, rows: int) -> None:
    """Everything that a run which has finished these rows leaves in its folder."""
    config = load_config(folder / "config.yaml")
    engine = Engine(config)
    plan = engine._plan  # noqa: SLF001 - the shape of the results, as the run itself computes it
    store, rng = RunStore.of(config), random.Random(rows)
    with locked(engine.work_dir):
        settle(engine.work_dir, plan.shape(None), plan.input.file, "auto", rules=RULES, defaults=default_shape())
        run_log = RunLog(engine.work_dir / "run.log", engine.redact)
        store.open()
        ledgers = store.account.steps

        async def one(row: int) -> None:
            outcomes, answers = _of_row(row, rng)
            for answer in answers:
                await store.journal.record(answer)
            for step, outcome in outcomes.items():
                await ledgers[step].append(outcome)
            store.journal.release(row)
            with log_facts(stage="sft", row=row):
                log.info("record.dropped", reason="weak_solves") if len(outcomes) == 1 else log.info("record.emitted")

        with run_log.active():
            log.info("run.started", steps=[step.name for step in METHOD], **plan.named())
            for first in range(1, rows + 1, IN_FLIGHT):
                batch = list(range(first, min(first + IN_FLIGHT, rows + 1)))
                rng.shuffle(batch)
                await asyncio.gather(*map(one, batch))
                done = {step: f"{ledger.tally[RowStatus.DONE]}+0" for step, ledger in ledgers.items()}
                dropped = ledgers["filter"].tally[RowStatus.DROPPED]
                log.info("progress", ended=batch[-1], rows=rows, per_minute=1.0, dropped=dropped, failed=0, **done)
            log.info("run.interrupted")
        await store.close()
        run_log.close()


def make(folder: Path, rows: int) -> None:
    """Make the folder's config, input and work_dir, unless they are there."""
    if (folder / "state.json").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = config_for(folder, "http://127.0.0.1:9/v1", n_mask=4, judge_mode="rule")
    config["models"]["mstrong"] = ["strong-a"]
    save(folder, config)
    with (folder / "in.jsonl").open("w") as file:
        for row in range(1, rows + SPARE + 1):
            question = _question(row)
            line = {"id": question.id, "question": question.text, "answer": question.answer, "source": SENTENCE * 7}
            file.write(json.dumps(line) + "\n")
    began = time.monotonic()
    asyncio.run(_write(folder, rows))
    print(f"{rows:,} rows written in {time.monotonic() - began:.0f} s", flush=True)
    _save_state(folder, {"rows": rows, "done": rows})


def _save_state(folder: Path, state: dict[str, int]) -> None:
    (folder / "state.json").write_text(json.dumps(state))


def _run(tree: Path, *arguments: str, until: Callable[[], bool] | None = None) -> str:
    """Run a command; what it took until ``until()`` was true, and until it ended."""
    began, reached = time.monotonic(), ""

    def watch(pid: int) -> None:
        nonlocal reached
        while until is not None and not reached and runs(pid):
            time.sleep(0.05)
            if until():
                peak, used = _so_far(pid)
                seconds = time.monotonic() - began
                reached = f"first request after {seconds:.1f} s, {used:.1f} s of CPU, {peak:.0f} MiB; all "
                print(f"  {reached}follows", flush=True)

    took = run_program(tree, *arguments, meanwhile=watch)
    return f"{reached}{took.seconds:.1f} s, {took.cpu:.1f} s of CPU, {took.mib:.0f} MiB"


def _so_far(pid: int) -> tuple[float, float]:
    """A process's peak resident memory in MiB, and the seconds of CPU that it has used."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    peak = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak) / 1024, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(tree: Path, folder: Path, what: str, *, index: bool) -> None:
    """Run one command and print what it took."""
    if not index:
        for path in folder.glob("work/ledger/*.index/*"):
            path.unlink()
    state = json.loads((folder / "state.json").read_text())
    config, work = str(folder / "config.yaml"), str(folder / "work")
    label = f"{tree.resolve().name:>10} {what:>7} {'' if index else 'without index'}"
    if what == "resume":
        state["done"] += NEW
        with LoopbackProcess(latency=0.02) as server:
            url = [f"model_endpoints.{name}.base_url={server.base_url}" for name in ("weak", "strong-a", "trunc")]
            places = [word for one in url for word in ("--set", one)]

            def asked() -> bool:
                return any(model.received for model in server.stats().models.values())

            took = _run(tree, "run", "--config", config, "--limit", str(state["done"]), *places, until=asked)
        _save_state(folder, state)
    elif what == "again":
        took = _run(tree, "run", "--config", config, "--limit", str(state["done"]))
    else:
        took = _run(tree, what, work)
    print(f"{label}: {took}", flush=True)


def main() -> None:
    """Make the work_dir if it is not there, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, required=True, help="where the work_dir is, or is made")
    parser.add_argument("--rows", type=int, default=1_000_000, help="finished rows (1,000,000)")
    parser.add_argument("--tree", type=Path, action="append", help="a source tree to measure (this one)")
    parser.add_argument("--no-index", action="store_true", help="delete the indexes before each command")
    parser.add_argument("--what", nargs="+", default=["resume", "again", "status", "report"])
    options = parser.parse_args()
    folder = options.folder.resolve()
    make(folder, options.rows)
    size = sum(path.stat().st_size for path in folder.glob("work/ledger/*/*.jsonl"))
    print(f"{options.rows:,} rows, {size / 1e9:.1f} GB of ledgers", flush=True)
    for tree in options.tree or [Path(__file__).parent.parent]:
        for what in options.what:
            measure(tree.resolve(), folder, what, index=not options.no_index)


if __name__ == "__main__":
    main()
