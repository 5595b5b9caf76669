"""A run that is stopped from Python can always be gone on with, by the same call or from the command line."""

import asyncio
import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

import weak2wise
from tests.api.runs import asked, config_at, names, questions
from tests.engine_runs import ROOT
from tests.loopback import Fault, LoopbackProcess, Match, serve

NO_FILTER = weak2wise.Params(n_mask=2, judge_mode="rule", skip_filter=True, samples_per_model=1)

SCRIPT = """
import sys
import weak2wise
from tests.api.runs import config_at, questions

url, work_dir = sys.argv[1:]
config = config_at(url, shared={"max_concurrent_requests": 4})
try:
    run = weak2wise.synthesize(questions(40), config, work_dir=work_dir)
except KeyboardInterrupt:
    print("KeyboardInterrupt", weak2wise.open_run(work_dir).state)
else:
    print(run.state, run.totals.rows, run.totals.unfinished)
"""


def command_line(work_dir: Path) -> str:
    """Go on with the config that is kept in a work_dir, from another folder; returns what was printed."""
    command = [sys.executable, "-m", "weak2wise", "run", "--config", str(work_dir / "config.yaml")]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd="/", env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_ctrl_c_in_a_script_is_a_keyboard_interrupt_and_the_same_script_then_finishes(tmp_path: Path) -> None:
    """A real SIGINT to a real process, with calls under way; nothing is paid for twice."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with LoopbackProcess(latency=0.05) as server:
        command = [sys.executable, str(script), server.base_url, str(tmp_path / "work")]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as first:
            while sum(count.answered for count in asked(server).values()) < 20:
                assert first.poll() is None
                time.sleep(0.02)
            first.send_signal(signal.SIGINT)
            said, _ = first.communicate(timeout=60)
        assert said == "KeyboardInterrupt stopped\n"
        assert names(tmp_path / "work")["run.interrupted"] == 1
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert again.stdout == "finished 40 0\n", again.stderr
        assert {count.asked for count in asked(server).values()} == {1}


async def test_a_cancelled_run_ends_with_cancelled_error_and_goes_on_paying_for_nothing_twice(tmp_path: Path) -> None:
    async with serve(latency=0.03) as server:
        config = config_at(server.base_url, shared={"max_concurrent_requests": 4})
        running = asyncio.create_task(weak2wise.asynthesize(questions(20), config, work_dir=tmp_path))
        while sum(count.answered for count in server.stats.models.values()) < 10:
            await asyncio.sleep(0.01)
        assert weak2wise.open_run(tmp_path).state == "running"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert weak2wise.open_run(tmp_path).state == "stopped"
        assert names(tmp_path)["run.interrupted"] == 1
        run = await weak2wise.asynthesize(questions(20), config, work_dir=tmp_path)
        assert {count.asked for count in asked(server).values()} == {1}
    assert (run.state, run.totals.rows, run.totals.unfinished) == ("finished", 20, 0)


async def test_one_cancelled_run_leaves_the_others_of_its_host_alone(tmp_path: Path) -> None:
    async with serve(latency=0.03) as server, weak2wise.Host(config_at(server.base_url)) as host:
        one, other = (
            asyncio.create_task(
                weak2wise.asynthesize(questions(10, first), host.config, work_dir=tmp_path / str(first), host=host)
            )
            for first in (0, 10)
        )
        while sum(count.answered for count in server.stats.models.values()) < 10:
            await asyncio.sleep(0.01)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
        assert (await other).state == "finished"


async def test_a_key_that_is_refused_stops_the_run_with_one_plain_error(tmp_path: Path) -> None:
    """Not a group of errors; and the same call goes on once the key is right."""
    refused = Fault("401", Match(model="strong"))
    async with serve(faults=(refused,)) as server:
        config = config_at(server.base_url, params=NO_FILTER)
        with pytest.raises(weak2wise.RunStopped, match="Incorrect API key") as caught:
            await weak2wise.asynthesize(questions(3), config, work_dir=tmp_path)
        assert "key" in caught.value.hint
        assert (weak2wise.open_run(tmp_path).state, names(tmp_path)["run.stopped"]) == ("stopped", 1)
        run = await weak2wise.asynthesize(questions(3), config, work_dir=tmp_path)
    assert run.totals.emitted == 3


async def test_failed_rows_are_returned_and_the_next_call_tries_them_again(tmp_path: Path) -> None:
    text = questions(1)[0]["question"]
    refused = Fault("400", Match(model="strong", contains=text))
    async with serve(faults=(refused,)) as server:
        config = config_at(server.base_url, params=NO_FILTER)
        run = await weak2wise.asynthesize(questions(3), config, work_dir=tmp_path)
        failed = list(run.failed())
        assert [(end.row, end.id, end.stage, end.kind) for end in failed] == [(1, "q0", "generate", "bad_request")]
        assert (run.state, run.totals.emitted) == ("finished", 2)
        again = await weak2wise.asynthesize(questions(3), config, work_dir=tmp_path)
    assert (list(again.failed()), again.totals.emitted) == ([], 3)


@pytest.mark.slow
def test_the_command_line_goes_on_with_a_run_begun_from_python(
    tmp_path: Path, server: LoopbackProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun with relative paths; gone on with in another folder."""
    monkeypatch.chdir(tmp_path)
    config = config_at(server.base_url, params=NO_FILTER)
    assert weak2wise.synthesize(questions(3), config, work_dir="runs/a", limit=1).totals.rows == 1
    assert "3" in command_line(tmp_path / "runs" / "a")
    run = weak2wise.open_run("runs/a")
    assert (run.totals.rows, run.totals.emitted) == (3, 3)
    before = asked(server)
    weak2wise.synthesize(questions(3), config, work_dir="runs/a")
    assert asked(server) == before
    kept = weak2wise.load_config("runs/a/config.yaml")
    assert structs.replace(kept, dataset=config.dataset) == config
    assert kept.dataset.work_dir == str(tmp_path / "runs" / "a")


def test_a_config_file_of_the_user_s_in_the_work_dir_is_left_alone(tmp_path: Path, server: LoopbackProcess) -> None:
    (tmp_path / "config.yaml").write_text("# mine\n")
    weak2wise.synthesize(questions(1), config_at(server.base_url, params=NO_FILTER), work_dir=tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "# mine\n"


async def test_an_input_that_turns_out_to_be_damaged_is_one_plain_config_error(tmp_path: Path) -> None:
    """It is found while rows are on their way, inside the pipeline's group of tasks."""
    whole = gzip.compress(b"".join(msgspec.json.encode(question) + b"\n" for question in questions(50)))
    (tmp_path / "in.jsonl.gz").write_bytes(whole[:-40])
    async with serve() as server:
        with pytest.raises(weak2wise.ConfigError, match=r"in\.jsonl\.gz"):
            await weak2wise.asynthesize(
                tmp_path / "in.jsonl.gz", config_at(server.base_url, params=NO_FILTER), work_dir=tmp_path / "run"
            )


async def test_cancelled_twice_it_still_leaves_no_run_behind(tmp_path: Path) -> None:
    async with serve(latency=30.0) as server:
        config = config_at(server.base_url)
        running = asyncio.create_task(weak2wise.asynthesize(questions(3), config, work_dir=tmp_path))
        while not server.stats.requests:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.sleep(0.1)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "run"] == []
    assert weak2wise.open_run(tmp_path).state == "stopped"
