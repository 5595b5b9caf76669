"""``check`` finds before a run what would keep it from working, and what it may cost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, finish, lines, run_in, save, start
from tests.finished_run import command
from tests.loopback import Fault, LoopbackProcess, Match, Mix
from weak2wise.check.forecast import JUDGED, RACED
from weak2wise.ledger.files import locked


def test_check_asks_every_endpoint_once_and_counts_what_a_run_will_ask(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with LoopbackProcess() as server:
        config = run_in(tmp_path, server.base_url, 5, samples_per_model=2, n_mask=3)
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 1.0, "output": 10.0}
        save(tmp_path, config)
        with (tmp_path / "in.jsonl").open("a") as file:
            file.write("no JSON\n")
        assert command("check", "--config", tmp_path / "config.yaml", "--json") == 0
        asked = {name: model.answered for name, model in server.stats().models.items()}
    assert set(asked.values()) == {1}
    assert len(asked) == 5
    found = json.loads(capsys.readouterr().out)
    assert found["ok"]
    assert "5 questions; 1 invalid row: line 6" in found["findings"][1]["said"]
    calls = {part["role"]: (part["calls"], part["most_calls"]) for part in found["forecast"]}
    traces = 5 * 2 * 2
    assert calls == {
        "weak": (5 + traces * 3 * RACED, 5 + traces * 3),
        "strong/strong-a": (traces // 2, traces // 2),
        "strong/strong-b": (traces // 2, traces // 2),
        "judge": (round((5 + traces * 3 * RACED) * JUDGED), 5 + traces * 3),
        "truncation": (5, 5),
    }
    assert [
        words for words in ("solves no", "races", "judge") if not any(words in said for said in found["assumed"])
    ] == []
    priced = next(part for part in found["forecast"] if part["role"] == "strong/strong-a")
    tokens = priced["prompt_tokens"] + 10 * priced["completion_tokens"]
    assert priced["cost_usd"] == pytest.approx(tokens / 1e6, rel=1e-3)
    assert found["cost_usd"] == pytest.approx(priced["cost_usd"], abs=0.005)
    assert priced["most_tokens"] == priced["calls"] * 8192
    assert found["most_usd"] == pytest.approx((priced["prompt_tokens"] + 10 * 10 * 8192) / 1e6, abs=0.005)
    assert not (tmp_path / "work" / "ledger").exists()


@pytest.mark.slow
def test_check_goes_by_what_the_work_dir_has_seen_so_far_and_counts_what_is_left(
    server: LoopbackProcess, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of a finished run nothing is left; of one whose input has grown, the new ones, at the rates of the old."""
    run_in(tmp_path, server.base_url, 80)
    pairs = (tmp_path / "in.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "in.jsonl").write_text("".join(pairs[:60]))

    def checked(*arguments: str) -> Any:
        assert command("check", "--config", tmp_path / "config.yaml", "--json", *arguments) == 0
        found = json.loads(capsys.readouterr().out)
        return found | {"forecast": {part["role"]: part for part in found["forecast"]}}

    def asked() -> dict[str, list[int]]:
        tokens: dict[str, list[int]] = defaultdict(list)
        for answer in (answer for shard in tmp_path.glob("work/ledger/journal/*") for answer in lines(shard)):
            tokens[answer["role"]].append(answer["completion"]["usage"]["completion_tokens"])
        return tokens

    finish(tmp_path)
    over = checked()
    assert over["left"] == 0
    assert {part["calls"] for part in over["forecast"].values()} == {0}
    assert {part["most_calls"] for part in over["forecast"].values()} == {0}
    assert command("check", "--config", tmp_path / "config.yaml") == 0
    assert "Nothing is left to ask" in capsys.readouterr().out
    assert checked("--resume", "never")["left"] == 60
    (tmp_path / "in.jsonl").write_text("".join(pairs))
    more, before = checked("--resume", "force"), asked()
    assert (more["left"], more["assumed"]) == (20, [])
    finish(tmp_path, "--resume", "force")
    for role, tokens in asked().items():
        part, used = more["forecast"][role], len(tokens) - len(before[role])
        assert used <= part["most_calls"]
        assert part["calls"] == pytest.approx(used, rel=0.5, abs=3)
        assert part["completion_tokens"] == pytest.approx(
            part["calls"] * sum(before[role]) / len(before[role]), rel=1e-3, abs=1
        )
    assert more["forecast"]["weak"]["calls"] < 0.8 * more["forecast"]["weak"]["most_calls"]


@pytest.mark.slow
def test_check_counts_out_the_steps_that_a_stopped_run_has_taken(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in(tmp_path, server.base_url, 6, n_mask=2)
    finish(tmp_path, "--up-to-step", "2")
    traced = len(lines(tmp_path / "work" / "candidates.jsonl")) // 2
    assert command("check", "--config", tmp_path / "config.yaml", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["left"] == traced
    assert {part["role"]: part["most_calls"] for part in found["forecast"]} == {
        "weak": traced * 2 * 2,
        "strong/strong-a": 0,
        "strong/strong-b": 0,
        "judge": traced * 2 * 2,
        "truncation": traced,
    }


def test_no_answer_is_expected_to_be_longer_than_it_may_be(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in(tmp_path, server.base_url)
    few = "--set=model_endpoints.strong-a.max_tokens=100"
    assert command("check", "--config", tmp_path / "config.yaml", "--json", few) == 0
    strong = {part["role"]: part for part in json.loads(capsys.readouterr().out)["forecast"]}["strong/strong-a"]
    assert strong["completion_tokens"] == strong["most_tokens"] == 100 * strong["calls"]


@pytest.mark.slow
def test_check_waits_no_longer_than_a_minute_and_tells_what_it_knows_meanwhile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weak2wise.check.findings.ASK_SECONDS", 1.0)
    with LoopbackProcess(faults=(Fault("hang_before_headers", Match(model="judge"), times=None),)) as server:
        run_in(tmp_path, server.base_url)
        assert command("check", "--config", tmp_path / "config.yaml") == 1
    told = [line for line in capsys.readouterr().out.splitlines() if " endpoint " in line]
    assert len(told) == 5
    assert told[-1] == "✗ endpoint judge: no answer to a small question within 1 s; a run would wait 1800 s for each"


@pytest.mark.slow
def test_check_as_json_prints_nothing_else_on_standard_output(tmp_path: Path) -> None:
    with LoopbackProcess(faults=Mix(mix={"429": 1.0})) as server:
        run_in(tmp_path, server.base_url)
        full = [sys.executable, "-m", "weak2wise.engine", "check", "--json", "--config", str(tmp_path / "config.yaml")]
        done = subprocess.run(full, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert not json.loads(done.stdout)["ok"]


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://no-such-host.invalid/v1", "cannot connect: "),
        ("http://127.0.0.1:9/v1", "cannot connect: [Errno 111]"),  # nobody listens there
        ("https{}", "cannot connect: [SSL"),
    ],
)
def test_check_says_where_it_looked_for_an_endpoint_that_it_could_not_reach(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str], address: str, says: str
) -> None:
    config = run_in(tmp_path, server.base_url)
    url = address.format(server.base_url.removeprefix("http"))
    config["model_endpoints"]["judge"]["base_url"] = url
    assert command("check", "--config", save(tmp_path, config)) == 1
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("✗ endpoint judge"))
    assert says in said
    assert f"{url} (model_endpoints.judge.base_url): is the host misspelt, its server not up yet" in said


@pytest.mark.slow
def test_check_finds_what_a_run_would_refuse_and_writes_nothing(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other settings, another engine, a ledger whose manifest is gone."""
    config = run_in(tmp_path, server.base_url, 2, n_mask=2)
    config["dataset"]["finetune_out"] = str(tmp_path / "made" / "out.jsonl")
    save(tmp_path, config)

    def checked(*arguments: str) -> tuple[str, str]:
        command("check", "--config", tmp_path / "config.yaml", "--json", *arguments)
        findings = json.loads(capsys.readouterr().out)["findings"]
        found = next(finding for finding in findings if finding["about"] == "work_dir")
        return found["verdict"], found["said"]

    assert checked()[0] == "good"
    assert not (tmp_path / "work").exists()
    assert not (tmp_path / "made").exists()
    finish(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert checked()[0] == "good"
    verdict, said = checked("--set", "params.beta=0.9")
    assert (verdict, "params.beta" in said) == ("bad", True)
    assert checked("--set", "params.beta=0.9", "--resume", "force")[0] == "good"
    with locked(tmp_path / "work"):
        verdict, said = checked()
    assert (verdict, f"in use by another engine (process {os.getpid()})" in said) == ("bad", True)
    before[tmp_path / "work" / "lock"] = (tmp_path / "work" / "lock").stat().st_mtime_ns
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    (tmp_path / "work" / "manifest.json").unlink()
    verdict, said = checked()
    assert (verdict, "Restore it" in said) == ("bad", True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "says"), [("401", "HTTP 401"), ("404", "HTTP 404"), ("400", "HTTP 400"), ("500", "HTTP 500")]
)
def test_check_says_which_endpoint_does_not_answer_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: Any, says: str
) -> None:
    with LoopbackProcess(faults=Mix(mix={fault: 1.0})) as server:
        run_in(tmp_path, server.base_url)
        assert command("check", "--config", tmp_path / "config.yaml") == 1
    said = capsys.readouterr().out.replace("\n", " ")
    assert "✗ endpoint judge" in said
    assert says in said
    assert "Not ready" in said


def test_check_counts_questions_of_evaluation_sets_out(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    run_in(tmp_path, server.base_url, 5)
    (tmp_path / "set.jsonl").write_text((tmp_path / "in.jsonl").read_text().splitlines()[2] + "\n")
    sets = f"dataset.decontaminate=[{tmp_path / 'set.jsonl'}]"
    assert command("check", "--config", tmp_path / "config.yaml", "--set", sets, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert "1 are in evaluation sets" in found["findings"][1]["said"]
    assert {part["role"]: part["calls"] for part in found["forecast"]}["truncation"] == 4


@pytest.mark.slow
def test_an_interrupted_check_ends_in_a_line(tmp_path: Path) -> None:
    with LoopbackProcess(faults=(Fault("hang_before_headers", Match(model="judge"), times=None),)) as server:
        run_in(tmp_path, server.base_url)
        process = start(tmp_path, command="check")
        while not server.stats().models.get("judge"):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted." in said.splitlines()
    assert "Traceback" not in said


def test_all_that_is_wrong_is_found_in_one_pass(
    tmp_path: Path, server: LoopbackProcess, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing keys and a missing input do not keep the other endpoints from being asked."""
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    config = run_in(tmp_path, server.base_url)
    config["model_endpoints"]["judge"]["api_key_env"] = "NO_SUCH_KEY"
    config["model_endpoints"]["trunc"]["headers"] = {"X-Api-Key": "$NO_SUCH_KEY"}
    config["dataset"]["input_path"] = str(tmp_path / "nowhere.jsonl")
    assert command("check", "--config", save(tmp_path, config)) == 2
    shown = capsys.readouterr().out.splitlines()
    bad = [line for line in shown if line.startswith("✗")]
    for words in (
        "model_endpoints.judge.api_key_env: environment variable NO_SUCH_KEY is not set",
        "model_endpoints.trunc.headers.X-Api-Key: environment variable NO_SUCH_KEY is not set",
        "nowhere.jsonl: no such file (dataset.input_path)",
    ):
        assert sum(words in line for line in bad) == 1, words
    assert len(bad) == 3
    for name in ("weak", "strong-a", "strong-b"):
        assert any(line.startswith(f"✓ endpoint {name}: answered") for line in shown), name
