"""What a run tells on its way: its boards, its log, its lines of progress."""

import asyncio
import re
from pathlib import Path

import pytest
import yaml

from tests.engine_runs import config_for, finish, lines, start, write_run
from tests.loopback import Fault, LoopbackProcess, Match, serve
from tests.watch.looking import followed
from weak2wise.config import load_config
from weak2wise.run.engine import Engine
from weak2wise.watch.observer import Observed

QUESTIONS = 30


@pytest.mark.slow
def test_earlier_failures_are_pending_until_they_are_tried_again_and_the_end_is_shown(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("400", Match(model="strong-a"), times=None),)) as server:
        config = config_for(tmp_path, server.base_url)
        write_run(tmp_path, config, QUESTIONS)
        finish(tmp_path, code=1)
    failed = len(lines(tmp_path / "work/failed.jsonl"))
    runs = []
    for latency, stop in ((5.0, 2), (0.2, 0)):
        with LoopbackProcess(latency=latency) as server:
            for endpoint in config["model_endpoints"].values():
                endpoint |= {"base_url": server.base_url, "max_concurrent_requests": 12}
            (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
            runs.append(followed(tmp_path, stop=stop))
    first, second = runs
    for board in first + second:
        assert board["rows"] in {None, QUESTIONS}
        assert board["ended"] == board["emitted"] + board["dropped"] + board["failed"] <= QUESTIONS
        assert board["to_retry"] <= failed
        assert min(board["per_minute"], board["seconds_left"] or 0) >= 0
    for seen in (first, second):
        assert [board["ended"] for board in seen] == sorted(board["ended"] for board in seen)
    assert first[0]["ended"] == QUESTIONS - failed
    assert first[0]["to_retry"] == failed
    assert first[-1]["ending"] == "interrupted"
    assert second[-1]["ending"] == "finished"
    assert [stage["waiting"] for stage in second[-1]["stages"]] == [0] * 5
    assert (second[-1]["ended"], second[-1]["to_retry"], second[-1]["failed"]) == (QUESTIONS, 0, 0)
    assert second[-1]["emitted"] == len(lines(tmp_path / "out.jsonl"))
    events = [line["event"] for line in lines(tmp_path / "work/run.log")]
    assert events.count("run.interrupted") == 1


@pytest.mark.slow
def test_the_log_says_what_became_of_each_row_and_whose_call_was_retried(tmp_path: Path) -> None:
    calls = (Match(model="trunc"), Match(model="strong-a-two"), Match(model="weak", contains="## Hint"))
    faults = tuple(Fault("500", call, times=2) for call in calls)
    with LoopbackProcess(faults=faults) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), QUESTIONS)
        finish(tmp_path)
    events = lines(tmp_path / "work/run.log")
    named = {name: [e for e in events if e["event"] == name] for name in ("record.dropped", "record.emitted")}
    selected = [line["record"]["question"]["row"] for line in lines(tmp_path / "work/ledger/sft/00000.jsonl")]
    assert sorted(e["row"] for e in named["record.emitted"]) == sorted(selected) != []
    assert {(e["stage"], e["reason"]) for e in named["record.dropped"]} == {("filter", "weak_solves")}
    rows = sorted(e["row"] for some in named.values() for e in some)
    assert rows == list(range(min(rows), min(rows) + QUESTIONS))
    retried = [e for e in events if e["event"] == "call.retried"]
    assert [e["row"] in selected for e in retried if e["stage"] == "select"] == [True] * 2
    traced = [(e["m_strong"], e["sample"]) for e in retried if e["stage"] == "generate"]
    assert traced == [("strong-b", 0)] * 2
    scored = [(e["m_strong"], e["sample"], e["mask_level"], e["vote"]) for e in retried if e["stage"] == "stepmask"]
    assert len(scored) == 2
    assert {(model[:6], sample, level in range(6), vote) for model, sample, level, vote in scored} == {
        ("strong", 0, True, 0)
    }


@pytest.mark.slow
def test_piped_progress_is_one_short_line_and_the_log_has_rates_and_bottleneck(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.5) as server:
        config = config_for(tmp_path, server.base_url)
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 800.0}
        config["model_endpoints"]["weak"]["max_concurrent_requests"] = 8
        names = [f"a-strong-model-with-a-rather-long-name-{number}" for number in range(8)]
        config["model_endpoints"] |= dict.fromkeys(names, config["model_endpoints"]["strong-b"])
        config["models"]["mstrong"] += names
        write_run(tmp_path, config, 120)
        run = start(tmp_path)
        assert run.stdout
        said = next(line for line in run.stdout if " questions done" in line)
        run.kill()
        run.communicate()
    shape = r"\d\d:\d\d:\d\d \d+%, \d+ of 120 questions done, 0 failed, \d+/min(, about \S+ left)?, \$\d+\.\d\d\n"
    assert re.fullmatch(shape, said), said
    assert len(said) < 80
    logged = next(event for event in lines(tmp_path / "work" / "run.log") if event["event"] == "progress")
    facts = {key: str(value) for key, value in logged.items()}
    assert facts["rows"] == "120"
    assert float(facts["per_minute"]) >= 0
    assert float(facts["weak_per_minute"]) > 0
    assert float(facts["cost_usd"]) > 0
    assert facts["bottleneck"] == "stepmask"
    assert all(float(facts[f"{name}_per_minute"]) > 0 for name in names)


@pytest.mark.slow
def test_what_stopped_a_run_is_told(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.1, faults=(Fault("401", Match(model="trunc"), times=None),)) as server:
        write_run(tmp_path, config_for(tmp_path, server.base_url), QUESTIONS)
        last = followed(tmp_path)[-1]
    assert last["ending"].startswith("stopped: ")
    assert "401" in last["ending"]


@pytest.mark.slow
async def test_the_rate_of_a_step_is_zero_when_it_has_no_row_left_and_the_last_error_is_known(tmp_path: Path) -> None:
    faults = (Fault("500", Match(model="strong-a-two"), times=1),)
    async with serve(latency=0.15, faults=faults) as server:
        run = config_for(tmp_path, server.base_url, skip_filter=True)
        run["model_endpoints"]["trunc"]["max_concurrent_requests"] = 1  # the other steps are over long before
        write_run(tmp_path, run, 30)
        opened: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()
        running = asyncio.create_task(Engine(load_config(tmp_path / "config.yaml")).run(opened))
        observer = await opened
        seen = []
        while not running.done():
            seen.append(observer.board())
            await asyncio.sleep(0.1)
        await running
    at_work = [board for board in seen if board.stages[1].done < 30 and board.stages[1].done > 0]
    over = [board for board in seen if board.rows == 30 and board.stages[1].done == 30 and board.ending is None]
    assert any(board.stages[1].per_minute > 0 for board in at_work)
    assert len(over) > 20
    assert {board.stages[1].per_minute for board in over[20:]} == {0.0}, "once its outcomes are on the disk"
    assert any(board.stages[3].per_minute > 0 for board in over), "the step that works has a rate"
    assert over[-1].last_fault
    assert over[-1].last_fault.endpoint == "strong-b"
    assert "500" in over[-1].last_fault.said
    assert {stage.per_minute for stage in observer.board().stages} == {0.0}
