"""A power cut at any moment of a run: what was acknowledged is there, the run goes on, and ends with the same bytes."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, config_for, finish, save, write_run
from tests.ledger.power_cut import events, restore
from tests.loopback import LoopbackProcess
from tests.run.crash import asked_of, outputs

pytestmark = pytest.mark.slow

QUESTIONS = 12


@dataclass(frozen=True)
class RecordedRun:
    """An undisturbed run whose fsyncs were recorded, and what it asked."""

    folder: Path
    config: dict[str, Any]
    events: list[dict[str, Any]]
    needed: int

    @property
    def log(self) -> Path:
        return self.folder / "log"


def record(folder: Path, fsync_seconds: float) -> RecordedRun:
    """Run the engine on small shards with its work_dir recorded."""
    with LoopbackProcess(latency=0.01) as server:
        config = config_for(folder, server.base_url, n_mask=3)
        config |= {"engine": {"shard_mb": 1, "fsync_seconds": fsync_seconds}}
        write_run(folder, config, QUESTIONS)
        (folder / "work").mkdir()
        command = [sys.executable, "-m", "tests.ledger.power_cut", str(folder / "work"), str(folder / "log")]
        command += ["run", "--config", str(folder / "config.yaml")]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=240)
        return RecordedRun(folder, config, events(folder / "log"), asked_of(server))


@pytest.fixture(scope="module", params=[0, 0.2], ids=["synced before", "synced after"])
def recorded_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedRun]:
    yield record(tmp_path_factory.mktemp("power"), request.param)


def acknowledged(run: RecordedRun, moment: int) -> Iterator[tuple[str, bytes]]:
    """Shard and text of every line that a ledger had acknowledged by then."""
    for event in run.events[:moment]:
        if name := event.get("acknowledged"):
            content = (run.folder / "work" / "ledger" / name).read_bytes()
            yield name, content[event["offset"] :].partition(b"\n")[0]


def test_every_acknowledged_line_is_there_after_a_power_cut_at_any_moment(
    recorded_run: RecordedRun, tmp_path: Path
) -> None:
    """With an interval, all but those of the last group of each ledger: those since its last fsync."""
    strict = recorded_run.config["engine"]["fsync_seconds"] == 0
    moments = range(2, len(recorded_run.events) + 1, 1 + len(recorded_run.events) // 60)
    missing = 0
    for moment in moments:
        left = tmp_path / str(moment)
        restore(recorded_run.log, moment, left)
        for name, line in acknowledged(recorded_run, moment):
            shard = left / "ledger" / name
            missing += line not in (shard.read_bytes() if shard.exists() else b"").split(b"\n")
        if list(left.glob("ledger/*/*.jsonl")):
            assert (left / "manifest.json").read_bytes() == (recorded_run.folder / "work/manifest.json").read_bytes()
        shutil.rmtree(left)
    assert len(moments) > 30
    assert (missing == 0) is strict, "and without an fsync before it, a line can be lost: the cuts are real"


@pytest.mark.parametrize("seed", range(3))
def test_a_run_goes_on_after_a_power_cut_pays_nothing_acknowledged_again_and_ends_with_the_same_bytes(
    recorded_run: RecordedRun, tmp_path: Path, seed: int
) -> None:
    """What was not synced is gone, there in part, or zeros; each file for itself."""
    rng = random.Random(seed)
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(recorded_run.folder / "in.jsonl", run)
    first = next(at for at, event in enumerate(recorded_run.events, 1) if "acknowledged" in event)
    moment = rng.randint(first, len(recorded_run.events))
    restore(recorded_run.log, moment, run / "work", rng)
    journal = b"".join(path.read_bytes() for path in sorted((run / "work" / "ledger" / "journal").glob("*")))
    kept = journal.count(b"\n")
    with LoopbackProcess(latency=0.01) as server:
        config = json.loads(json.dumps(recorded_run.config).replace(str(recorded_run.folder), str(run)))
        for endpoint in config["model_endpoints"].values():
            endpoint["base_url"] = server.base_url
        save(run, config)
        finish(run)
        asked = asked_of(server)
    assert outputs(run) == outputs(recorded_run.folder)
    assert asked <= recorded_run.needed - kept
    if config["engine"]["fsync_seconds"] == 0:
        answers = [line for name, line in acknowledged(recorded_run, moment) if name.startswith("journal/")]
        assert set(answers) <= set(journal.split(b"\n"))
    totals = json.loads((run / "work" / "summary.json").read_text())["totals"]
    assert totals["rows"] == QUESTIONS == totals["emitted"] + sum(totals["dropped"].values())
