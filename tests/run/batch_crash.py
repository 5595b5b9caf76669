"""Stops runs whose strong and truncation models are asked in batches, again and again, and adds up what was charged.

One lap is one work_dir: the engine is started, stopped at a random moment by a signal, and started again, until it has
gone through. Meanwhile the provider misbehaves in every way that costs nothing by itself: batches fail, expire, are
cancelled; lines get lost, fail, come twice; requests are refused or carried out unseen; replies break off. It goes on
with its batches while the engine is dead.

Then each request of the batches must have been charged exactly once, as many of them as an undisturbed run of ordinary
calls takes; the result files must have the bytes of that run, and the questions must each be accounted for once.

``python -m tests.run.batch_crash --kills 100`` prints the counts.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.engine_runs import config_for, finish, start, write_run
from tests.loopback import BatchFaults, BatchSettings, BatchStats, LoopbackProcess
from tests.run.crash import SIGNALS, outputs

BATCHED = ("strong-a", "strong-b", "trunc")
"""Endpoints that are asked in batches."""
IN_FLIGHT = 8
"""Requests at once for each of the other two."""
MODELS = ("strong-a", "strong-a-two", "trunc")
PRICES = {"input": 2.0, "output": 10.0}
CODES = {"SIGKILL": {-9}, "SIGTERM": {130, -15}, "SIGINT": {130, -2}}
"""How the engine may end; a signal before it has set up its handlers ends it by that signal."""
_REFUSED = {"429": 0.04, "500": 0.04, "503": 0.02, "reset": 0.04}
_UNSEEN = {"500_after": 0.1, "reset_after": 0.1, "hang_after": 0.1}
FAULTS: dict[Any, dict[str, float]] = {
    "upload": _REFUSED | {"cut": 0.05} | _UNSEEN,
    "create": _REFUSED | _UNSEEN,
    "retrieve": _REFUSED,
    "list": _REFUSED,
    "content": _REFUSED | {"cut": 0.2},
    "delete": _REFUSED | _UNSEEN,
    "batch": {
        "failed": 0.03,
        "token_limit": 0.05,
        "all_failed": 0.03,
        "expired": 0.15,
        "cancelled": 0.1,
        "odd_status": 0.1,
        "wrong_counts": 0.1,
        "listed_late": 0.15,
    },
    "line": {
        "lost": 0.03,
        "doubled": 0.05,
        "in_both": 0.03,
        "stranger": 0.03,
        "garbled": 0.03,
        "status_0": 0.02,
        "no_response": 0.02,
        "429": 0.02,
        "500": 0.02,
        "500_in_output": 0.02,
    },
}
"""None of these takes away an answer that was charged."""


@dataclass
class Counts:
    """What a crash test did and what it cost."""

    stops: Counter[str] = field(default_factory=Counter)
    left_running: int = 0
    """Batches that were running when the engine was stopped."""
    laps: int = 0
    needed: int = 0
    """Requests of the batched endpoints that the same laps take by ordinary calls."""
    charged: int = 0
    most: int = 0
    """How often one request was charged, at most."""
    batches: Counter[str] = field(default_factory=Counter)
    """Batches by how they ended."""
    faults: Counter[str] = field(default_factory=Counter)
    needed_others: int = 0
    asked_others: int = 0
    """Ordinary calls: those under way at a stop are asked again."""


class BatchCrasher:
    """Laps over the same questions."""

    def __init__(self, folder: Path, *, questions: int, seed: int) -> None:
        self.counts = Counts()
        self._rng = random.Random(seed)
        self._seed = seed
        self._folder = folder
        self._questions = questions
        self._calm = self._run_undisturbed()

    def _prepare(self, server: LoopbackProcess, *, batched: bool) -> None:
        shutil.rmtree(self._folder / "work", ignore_errors=True)
        (self._folder / "out.jsonl").unlink(missing_ok=True)  # another work_dir's output would be refused
        config = config_for(self._folder, server.base_url, n_mask=3)
        for name, endpoint in config["model_endpoints"].items():
            if name not in BATCHED:
                endpoint["max_concurrent_requests"] = IN_FLIGHT
                continue
            endpoint["prices"] = PRICES
            if batched:
                endpoint["batch"] = {"max_requests": 25, "max_wait": "200ms", "poll": "200ms"}
        write_run(self._folder, config, self._questions)

    def _run_undisturbed(self) -> dict[str, bytes]:
        with LoopbackProcess() as server:
            self._prepare(server, batched=False)
            finish(self._folder)
            models = server.stats().models
        self._needed = sum(models[name].received for name in MODELS)
        self._needed_others = sum(count.received for name, count in models.items() if name not in MODELS)
        return outputs(self._folder)

    def stop_often(self, kills: int) -> None:
        """Laps until the engine was stopped so many times.

        Raises:
            AssertionError: a promise was broken.
        """
        while self.counts.stops.total() < kills:
            self._lap(kills - self.counts.stops.total())

    def _lap(self, kills: int) -> None:
        faults = BatchFaults(seed=self._seed * 1000 + self.counts.laps, mix=FAULTS, seconds=0.15)
        stops = 0
        with LoopbackProcess(batches=BatchSettings(seconds=0.4, faults=faults)) as server:
            self._prepare(server, batched=True)
            while stops < kills and self._stopped(server):
                stops += 1
            finish(self._folder)
            batches, models = server.batches(), server.stats().models
        self._check(batches)
        asked = sum(count.received for name, count in models.items() if name not in MODELS)
        assert not models.keys() & set(MODELS), "a batched endpoint was asked by ordinary calls"
        assert asked <= self._needed_others + stops * IN_FLIGHT * 2, "ordinary calls were asked again"
        self.counts.needed_others += self._needed_others
        self.counts.asked_others += asked
        self.counts.laps += 1

    def _check(self, batches: BatchStats) -> None:
        """Nothing was paid twice, and all came of it that an undisturbed run makes."""
        counts = self.counts
        most = max(*batches.bodies.values(), *(line.charged for line in batches.lines.values()))
        counts.most = max(counts.most, most)
        counts.needed += self._needed
        counts.charged += batches.charged
        counts.batches.update(batch.status for batch in batches.batches)
        counts.faults.update(batches.faults)
        twice = [custom_id for custom_id, line in batches.lines.items() if line.charged > 1]
        assert most == 1, f"charged more than once: {twice}"
        assert batches.charged == self._needed
        assert outputs(self._folder) == self._calm
        summary = json.loads((self._folder / "work" / "summary.json").read_text())
        paid = (batches.prompt_tokens * PRICES["input"] + batches.completion_tokens * PRICES["output"]) / 1e6
        counted = sum(role["cost_usd"] for role in summary["roles"])
        assert abs(counted - paid) < 1e-6, f"{counted} US dollars are counted, {paid} were charged"
        totals = summary["totals"]
        assert totals["rows"] == self._questions == totals["emitted"] + sum(totals["dropped"].values())

    def _stopped(self, server: LoopbackProcess) -> bool:
        """Start the engine and stop it at a random moment; ``False`` if it had gone through by then."""
        how = self._rng.choice(list(SIGNALS))
        with start(self._folder) as process:
            self._wait(server, process.poll)
            hit = process.poll() is None
            if hit:
                os.killpg(process.pid, signal.SIGKILL) if how == "SIGKILL" else os.kill(process.pid, SIGNALS[how])
            said, _ = process.communicate(timeout=120)
        if not hit or process.returncode == 0:
            assert process.returncode == 0, said
            return False
        assert process.returncode in CODES[how] or "Fatal Python error: init_" in said, said
        self.counts.stops[how] += 1
        self.counts.left_running += sum(
            batch.status in ("validating", "in_progress") for batch in server.batches().batches
        )
        return True

    def _wait(self, server: LoopbackProcess, ended: Any) -> None:
        """Wait for a moment: some time from the start, or just after the provider was asked for something."""
        if self._rng.random() < 0.4:
            deadline = time.monotonic() + self._rng.uniform(0, 4)
            while time.monotonic() < deadline and ended() is None:
                time.sleep(0.01)
            return
        operation = self._rng.choice(["upload", "create", "create", "retrieve", "content", "delete"])
        seen, more = server.batches().requests.get(operation, 0), self._rng.randint(1, 4)
        deadline = time.monotonic() + 20
        while server.batches().requests.get(operation, 0) < seen + more:
            if time.monotonic() > deadline or ended() is not None:
                return
            time.sleep(0.002)
        time.sleep(self._rng.choice([0, 0, 0.005, 0.05]))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.run.batch_crash", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=100, help="how often to stop the engine (100)")
    parser.add_argument("--questions", type=int, default=40, help="questions of one lap (40)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments and the faults (0)")
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="batch-crash-") as name:
        crasher = BatchCrasher(Path(name), questions=arguments.questions, seed=arguments.seed)
        crasher.stop_often(arguments.kills)
    counts = crasher.counts
    laps = f"{counts.laps} laps of {arguments.questions} questions"
    print(f"{counts.stops.total()} stops ({_listed(counts.stops)}) in {laps}")
    print(f"{counts.left_running} batches were running at a stop")
    print(f"{counts.batches.total()} batches: {_listed(counts.batches)}")
    by_place = {at: Counter[str]() for at in FAULTS}
    for key, count in counts.faults.items():
        at, _, fault = key.partition(":")
        by_place[at][fault] += count
    for at, faults in by_place.items():
        print(f"  faults of {at}: {_listed(faults)}")
    print(f"batched requests: {counts.needed} needed, {counts.charged} paid, none more than {counts.most} time")
    print(f"ordinary calls: {counts.needed_others} needed, {counts.asked_others} sent")
    print(f"every lap ended with the bytes of the undisturbed run; {time.monotonic() - began:.0f} s")


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


if __name__ == "__main__":
    main()
