"""Stops the engine in every way a machine knows, again and again, and adds up what that cost.

One lap is one work_dir: the engine is started, stopped at a random moment (killed, signalled, frozen for longer than
its time-outs, out of disk; its terminal perhaps not read), perhaps robbed of the end of a ledger or given a damaged
line, which it must refuse and ``repair`` take out, and started again, until it has gone through. Then its result files
must have the bytes of an undisturbed run, and its questions must each be accounted for once. Laps follow each other
until there were enough stops.

The server counts every request. At most those may be asked again that were in flight when the engine was stopped or
whose answers were just being written, and those whose lines were cut or taken out of the journal afterwards.

``python -m tests.run.crash --kills 200`` prints the counts; ``scripts/crashtest.sh`` sets up and calls it.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.engine_runs import ROOT, config_for, finish, start, write_run
from tests.loopback import LoopbackProcess
from tests.unread import unread

VIEWS = ("s_prime.jsonl", "candidates.jsonl", "scored_candidates.jsonl", "selected_truncated.jsonl", "failed.jsonl")
IN_FLIGHT = 4
"""Requests at once for each of the five endpoints."""
TIME_OUT = 4.0
"""Seconds that a request may take, and an engine that is frozen stands still for longer."""
MOST_CUT = 3000
"""Bytes cut off a ledger's tail, at most."""
SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}
DISK = ("EIO", "ENOSPC", "full disk")
FREEZE, UNREAD = "SIGSTOP and SIGCONT", "SIGTERM, terminal not read"
CODES = {"SIGKILL": {-9}, "SIGTERM": {130, -15}, "SIGINT": {130, -2}, UNREAD: {130, -15}, FREEZE: {0}}
CODES |= {how: {3} for how in DISK}
"""How the engine may end; a signal before it has set up its handlers ends it by that signal."""


@dataclass
class Counts:
    """What a crash test did and what it cost."""

    stops: Counter[str] = field(default_factory=Counter)
    laps: int = 0
    needed: int = 0
    """Requests that the same laps take undisturbed."""
    asked: int = 0
    lost: int = 0
    """Requests sent whose answer was not in the journal when the engine had stopped."""
    cuts: int = 0
    cut: int = 0
    """Answers that cuts and damage took out of the journal."""
    damaged: int = 0
    """How often a bit of a ledger was flipped, and the run refused and repaired."""


def outputs(folder: Path) -> dict[str, bytes]:
    """Every result file's bytes."""
    return {p.name: p.read_bytes() for p in (*(folder / "work" / v for v in VIEWS), folder / "out.jsonl")}


def asked_of(server: LoopbackProcess) -> int:
    """How many requests the server has had."""
    return sum(model.received for model in server.stats().models.values())


def journaled(folder: Path) -> int:
    """Whole lines in the journal."""
    return sum(path.read_bytes().count(b"\n") for path in (folder / "work").glob("ledger/journal/*.jsonl"))


class Crasher:
    """Laps over the same questions; ``disk`` says whether the folder is a small file system that can be filled up."""

    def __init__(self, folder: Path, *, questions: int, seed: int, disk: bool) -> None:
        self.counts = Counts()
        self._rng = random.Random(seed)
        self._folder = folder
        self._questions = questions
        self._disk = disk
        self._calm = self._run_undisturbed()

    def _prepare(self, server: LoopbackProcess) -> None:
        shutil.rmtree(self._folder / "work", ignore_errors=True)
        (self._folder / "out.jsonl").unlink(missing_ok=True)  # another work_dir's output would be refused
        config = config_for(self._folder, server.base_url, n_mask=3)
        for endpoint in config["model_endpoints"].values():
            endpoint["max_concurrent_requests"], endpoint["request_timeout"] = IN_FLIGHT, TIME_OUT
        write_run(self._folder, config | {"engine": {"shard_mb": 1}}, self._questions)

    def _run_undisturbed(self) -> dict[str, bytes]:
        with LoopbackProcess(latency=0.02) as server:
            self._prepare(server)
            finish(self._folder)
            self._needed = asked_of(server)
        return outputs(self._folder)

    def stop_often(self, kills: int) -> None:
        """Laps until the engine was stopped so many times.

        Raises:
            AssertionError: a promise was broken.
        """
        while self.counts.stops.total() < kills:
            self._lap(kills - self.counts.stops.total())

    def _lap(self, kills: int) -> None:
        counts = self.counts
        before = counts.lost + counts.cut
        with LoopbackProcess(latency=0.02) as server:
            self._prepare(server)
            while kills and self._stopped(server):
                kills -= 1
                if (chance := self._rng.random()) < 0.5:
                    self._cut_a_tail()
                elif chance < 0.7:
                    self._damage_a_line()
            finish(self._folder)
            asked = asked_of(server)
        counts.laps += 1
        counts.needed += self._needed
        counts.asked += asked
        assert outputs(self._folder) == self._calm
        assert asked <= self._needed + counts.lost + counts.cut - before
        totals = json.loads((self._folder / "work" / "summary.json").read_text())["totals"]
        assert totals["rows"] == self._questions == totals["emitted"] + sum(totals["dropped"].values())

    def _stopped(self, server: LoopbackProcess) -> bool:
        """Start the engine and stop it at a random moment; ``False`` if it had gone through by then.

        One that was frozen goes through afterwards, and nothing that it had asked may be lost.
        """
        asked, kept = asked_of(server), journaled(self._folder)
        how = self._rng.choice([*SIGNALS, FREEZE, UNREAD, *(DISK if self._disk else DISK[:2])])
        if how in DISK:
            code: int | None = self._out_of_disk(how)
        elif how == UNREAD:
            with unread("terminal") as terminal:
                code = self._signalled(server, how, output=terminal)
        else:
            code = self._signalled(server, how)
        if code is None or (code == 0 and how != FREEZE):
            return False
        assert code in CODES[how], f"{how} ended the engine with {code}"
        lost = asked_of(server) - asked - (journaled(self._folder) - kept)
        most = 0 if how == FREEZE else self.most_under_way
        assert 0 <= lost <= most, f"{how} cost {lost} answers"
        self.counts.lost += lost
        self.counts.stops[how] += 1
        return True

    @property
    def most_under_way(self) -> int:
        """Requests that can be without a line in the journal at one moment.

        An answer gives its place back before it is written, so each place may hold a request in flight and one whose
        answer is being written. It holds no third one: a request takes longer than a write.
        """
        return 2 * IN_FLIGHT * 5

    def _signalled(self, server: LoopbackProcess, how: str, output: int | None = None) -> int | None:
        """The exit code, ``None`` if it had gone through before its moment came."""
        moment = asked_of(server) + self._rng.randint(1, self._needed // 2)
        deadline = time.monotonic() + (self._rng.uniform(0, 2) if self._rng.random() < 0.2 else 60)
        words = ["--verbose"] if output is not None else []
        with start(self._folder, *words, output=output) as process:
            while asked_of(server) < moment and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.01)
            hit = process.poll() is None
            if hit:
                self._signal(process.pid, how)
            said, _ = process.communicate(timeout=120)
        assert hit or process.returncode == 0, said
        if "Fatal Python error: init_" in (
            said or ""
        ):  # the interpreter itself was interrupted, before any of our code
            return -SIGNALS[how]
        return process.returncode if hit else None

    @staticmethod
    def _signal(pid: int, how: str) -> None:
        if how == FREEZE:
            os.killpg(pid, signal.SIGSTOP)
            time.sleep(TIME_OUT + 2)
            os.killpg(pid, signal.SIGCONT)
        elif how == "SIGKILL":
            os.killpg(pid, signal.SIGKILL)
        else:
            os.kill(pid, SIGNALS.get(how, signal.SIGTERM))

    def _out_of_disk(self, how: str) -> int:
        room = self._rng.randint(0, 400_000)
        if how == "full disk":
            with self._filled(room), start(self._folder) as process:
                process.communicate(timeout=120)
            return process.returncode
        command = [
            sys.executable,
            "-m",
            "tests.run.failing_disk",
            how,
            str(room),
            str(self._folder / "work" / "ledger"),
        ]
        command += ["run", "--config", str(self._folder / "config.yaml")]
        return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, timeout=120).returncode

    @contextmanager
    def _filled(self, room: int) -> Iterator[None]:
        filler = self._folder / "filler"
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(self._folder).free - room))
        try:
            yield
        finally:
            filler.unlink()

    def _ledger(self) -> Path | None:
        """The folder of a ledger, the journal's every second time."""
        folders = sorted(path for path in (self._folder / "work" / "ledger").glob("*") if list(path.glob("*.jsonl")))
        journal = [path for path in folders if path.name == "journal"]
        return self._rng.choice(journal if journal and self._rng.random() < 0.5 else folders) if folders else None

    def _damage_a_line(self) -> None:
        """Flip a bit in a whole line: the run refuses, ``repair`` sets the line aside."""
        if (folder := self._ledger()) is None:
            return
        shard = self._rng.choice(sorted(folder.glob("*.jsonl")))
        content = bytearray(shard.read_bytes())
        if not (whole := content.rfind(b"\n") + 1):
            return
        before = journaled(self._folder)
        content[self._rng.randrange(whole)] ^= 1 << self._rng.randrange(8)
        shard.write_bytes(content)
        assert f"{shard}: line " in finish(self._folder, code=2)
        finish(self._folder, command="repair")
        self.counts.damaged += 1
        self.counts.cut += before - journaled(self._folder)

    def _cut_a_tail(self) -> None:
        if (folder := self._ledger()) is None:
            return
        shard = max(folder.glob("*.jsonl"))
        before = journaled(self._folder)
        os.truncate(shard, max(0, shard.stat().st_size - self._rng.randint(1, MOST_CUT)))
        self.counts.cuts += 1
        self.counts.cut += before - journaled(self._folder)


@contextmanager
def small_disk() -> Iterator[tuple[Path, bool]]:
    """A folder on a small file system of its own, where this user may mount one; else an ordinary one and ``False``."""
    with tempfile.TemporaryDirectory(prefix="crash-") as name:
        folder = Path(name)
        mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
        own = (
            shutil.which("mount") is not None
            and subprocess.run(mount, check=False, capture_output=True).returncode == 0
        )
        try:
            yield folder, own
        finally:
            if own:
                subprocess.run(["umount", str(folder)], check=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.run.crash", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="how often to stop the engine (200)")
    parser.add_argument("--questions", type=int, default=60, help="questions of one lap (60)")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments (0)")
    arguments = parser.parse_args()
    began = time.monotonic()
    with small_disk() as (folder, own):
        crasher = Crasher(folder, questions=arguments.questions, seed=arguments.seed, disk=own)
        crasher.stop_often(arguments.kills)
    counts = crasher.counts
    stops = ", ".join(f"{count} {how}" for how, count in sorted(counts.stops.items()))
    print(f"{counts.stops.total()} stops ({stops}) in {counts.laps} laps of {arguments.questions} questions")
    print(f"{counts.cuts} ledger tails cut, {counts.damaged} bits flipped, {counts.cut} journaled answers lost to that")
    print(f"{counts.needed} requests needed, {counts.asked} sent; {counts.lost} were under way at a stop")
    print(f"every lap ended with the bytes of the undisturbed run; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
