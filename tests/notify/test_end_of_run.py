"""At the end of a command, whatever ended it, a word is sent once; if that fails, nothing else changes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, config_for, finish, lines, save, start, write_run
from tests.finished_run import command
from tests.loopback import Fault, LoopbackProcess, Match
from tests.notify.webhook import SECRET, Webhook
from weak2wise.commands import notifying

pytestmark = pytest.mark.slow


def run_with(folder: Path, base_url: str, notify: dict[str, Any], questions: int = 8, **more: Any) -> dict[str, Any]:
    config = config_for(folder, base_url) | {"notify": notify} | more
    write_run(folder, config, questions)
    return config


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in lines(folder / "work" / "run.log") if event["event"] == name]


def wait_until_begun(folder: Path, engine: "subprocess.Popen[str]") -> None:
    while not any(shard.stat().st_size for shard in (folder / "work").glob("ledger/*/*.jsonl")):
        assert engine.poll() is None
        time.sleep(0.05)


def everything_in(folder: Path) -> str:
    return "".join(p.read_text(errors="replace") for p in folder.rglob("*") if p.is_file())


def test_a_finished_run_sends_its_totals_and_what_to_do_next_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with LoopbackProcess() as server, Webhook() as hook:
        monkeypatch.setenv("LAB_HOOK", hook.url)
        run_with(tmp_path, server.base_url, {"url_env": "LAB_HOOK"})
        quiet = tmp_path / "quiet"
        run_with(quiet, server.base_url, {})
        notified, without = finish(tmp_path), finish(quiet)
    (sent,) = hook.bodies
    totals = json.loads((tmp_path / "work" / "summary.json").read_text())["totals"]
    assert sent["event"] == "finish"
    assert sent["exit_code"] == 0
    assert sent["totals"] == {
        "rows": 8,
        "emitted": totals["emitted"],
        "dropped": sum(totals["dropped"].values()),
        "failed": 0,
    }
    assert sent["work_dir"] == str(tmp_path / "work")
    assert any(step.endswith(f"report {tmp_path / 'work'}") for step in sent["next"])
    assert f"{totals['emitted']} of 8 questions emitted" in sent["content"]
    assert len(notified.splitlines()) == len(without.splitlines()), "its output has not changed"
    assert str(quiet / "out.jsonl") in without.splitlines(), "however long, it can be copied"
    assert len(events(tmp_path, "notify.sent")) == 1
    assert SECRET.split("/")[1] not in everything_in(tmp_path) + notified


def test_a_webhook_that_never_works_is_a_line_and_an_event_and_changes_no_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(notifying, "SECONDS", 1.0)
    with LoopbackProcess() as server, Webhook([500], said=f"bad token {SECRET}") as hook:
        run_with(tmp_path, server.base_url, {"url": hook.url})
        assert command("run", "--config", tmp_path / "config.yaml") == 0
    said = capfd.readouterr()
    line = said.err.strip().splitlines()[-1]
    assert line.startswith("Not notified: the webhook: it answered HTTP 500: bad token")
    (event,) = events(tmp_path, "notify.failed")
    assert event["level"] == "warning"
    for text in (said.err, said.out, (tmp_path / "work" / "run.log").read_text()):
        assert "xWq7rT2mPzK9" not in text
    assert "emitted (sft)" in said.out


@pytest.mark.parametrize("hangs", [False, True])
def test_ctrl_c_sends_a_stop_and_a_webhook_that_hangs_holds_it_up_for_seconds_only(tmp_path: Path, hangs: bool) -> None:
    with LoopbackProcess(latency=0.3) as server, Webhook([0 if hangs else 200]) as hook:
        run_with(tmp_path, server.base_url, {"url": hook.url}, 40)
        engine = start(tmp_path)
        wait_until_begun(tmp_path, engine)
        began = time.monotonic()
        engine.send_signal(signal.SIGINT)
        said, _ = engine.communicate(timeout=60)
        took = time.monotonic() - began
        (sent,) = hook.bodies
    assert engine.returncode == 130
    assert sent["event"] == "stop"
    assert sent["reason"] == "interrupted"
    assert sent["exit_code"] == 130
    assert sent["totals"]["rows"] == 40
    assert took < (notifying.INTERRUPTED_SECONDS if hangs else 0) + 5
    assert ("Not notified: the webhook: no answer within 5 s" in said) == hangs
    assert said.index("Interrupted; everything") >= 0


def test_a_second_ctrl_c_ends_a_command_that_is_only_notifying(tmp_path: Path) -> None:
    with LoopbackProcess() as server, Webhook([0]) as hook:
        run_with(tmp_path, server.base_url, {"url": hook.url})
        engine = start(tmp_path)
        while not hook.bodies:
            assert engine.poll() is None
            time.sleep(0.05)
        began = time.monotonic()
        engine.send_signal(signal.SIGINT)
        said, _ = engine.communicate(timeout=60)
    assert engine.returncode == 0, "the run had finished"
    assert time.monotonic() - began < 3
    assert said.strip().endswith("Not notified: interrupted")


def test_the_work_dir_is_free_while_it_is_tried(tmp_path: Path) -> None:
    with LoopbackProcess() as server, Webhook([0]) as hook:
        config = run_with(tmp_path, server.base_url, {"url": hook.url})
        engine = start(tmp_path)
        while not hook.bodies:
            assert engine.poll() is None
            time.sleep(0.05)
        save(tmp_path, config | {"notify": {}})
        finish(tmp_path)  # also: another notify is no other run
        engine.send_signal(signal.SIGINT)
        engine.communicate(timeout=60)


def test_the_cap_and_a_failing_endpoint_are_events_of_their_own(tmp_path: Path) -> None:
    down = (Fault("400", Match(model="strong"), times=None),)
    with LoopbackProcess(faults=down) as server, Webhook() as hook:
        config = run_with(tmp_path, server.base_url, {"url": hook.url}, 120, engine={"max_error_rate": 0.5})
        config["params"]["skip_filter"] = True
        save(tmp_path, config)
        finish(tmp_path, code=3)
        for name in ("strong-a", "strong-b"):
            config["model_endpoints"][name] |= {"prices": {"input": 10.0, "output": 500.0}, "max_tokens": 1000}
        save(tmp_path, config | {"engine": {"max_cost_usd": 0.2}})
        finish(tmp_path, "--resume", "force", code=3)
    rate, cap = hook.bodies
    assert rate["event"] == "failure_rate"
    assert "of the last 100" in rate["reason"]
    assert any("run --config" in step for step in rate["next"])
    assert cap["event"] == "cap"
    assert "engine.max_cost_usd" in cap["content"]
    assert not any("run --config" in step for step in cap["next"]), "the same command would not go on"


def test_a_setting_that_cannot_notify_is_refused_before_the_run(tmp_path: Path) -> None:
    run_with(tmp_path, "http://127.0.0.1:9/v1", {"url_env": "NO_SUCH_HOOK"})
    said = finish(tmp_path, code=2)
    assert "notify.url_env: environment variable NO_SUCH_HOOK is not set" in said
    assert not (tmp_path / "work").exists()


def test_check_looks_at_it_and_sends_nothing(tmp_path: Path) -> None:
    with LoopbackProcess() as server, Webhook() as hook:
        config = run_with(tmp_path, server.base_url, {"url": hook.url, "command": ["sh", "-c", "touch sent"]})
        assert "notify: the webhook and the command sh, at the end; not tried now" in finish(tmp_path, command="check")
        save(tmp_path, config | {"notify": {"command": ["no-such-program-here"]}})
        said = finish(tmp_path, command="check", code=2)
    assert "✗ notify: notify.command: no-such-program-here: no such program" in said
    assert hook.bodies == []


def test_an_address_on_the_command_line_is_not_repeated(tmp_path: Path) -> None:
    with LoopbackProcess(latency=0.3) as server, Webhook() as hook:
        write_run(tmp_path, config_for(tmp_path, server.base_url), 40)
        engine = start(tmp_path, "--set", f"notify.url={hook.url}")
        wait_until_begun(tmp_path, engine)
        engine.send_signal(signal.SIGTERM)
        said, _ = engine.communicate(timeout=60)
    assert engine.returncode == 130
    assert SECRET not in said
    assert SECRET not in json.dumps(hook.bodies)


def test_a_terminal_that_nobody_reads_holds_nothing_up(tmp_path: Path) -> None:
    """The line about a failure goes where everything goes: through the thread that writes."""
    program = f"{sys.executable} -m weak2wise.engine --config {tmp_path / 'config.yaml'}"
    with LoopbackProcess() as server, Webhook() as hook:
        run_with(tmp_path, server.base_url, {"url": hook.url})
        reader, writer = os.pipe()
        with subprocess.Popen(program.split(), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=writer) as engine:
            os.close(writer)
            assert engine.wait(60) == 0
        os.close(reader)
    assert len(hook.bodies) == 1


def test_prove_sends_one_word_at_its_own_end_and_none_for_the_run_in_it(tmp_path: Path) -> None:
    held_out = tmp_path / "held-out.jsonl"
    with LoopbackProcess() as server, Webhook() as hook:
        run_with(tmp_path, server.base_url, {"url": hook.url})
        held_out.write_text('{"question": "How much is 7 and 1000?", "answer": "1007"}\n')
        said = finish(tmp_path, "--questions", str(held_out), command="prove", code=2)
    assert "emitted (sft)" in said
    (sent,) = hook.bodies
    assert sent["event"] == "stop"
    assert sent["exit_code"] == 2
    assert sent["reason"].removeprefix("stopped: ") in said
