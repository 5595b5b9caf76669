"""``weak2wise evaluate`` as a process: killed and resumed, interrupted, and what a user gets wrong."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT, config_for, write_run
from tests.loopback import LoopbackProcess
from tests.proof.held_out import VARIED, answers, received, write_questions
from weak2wise.commands.evaluate import evaluate as command
from weak2wise.ledger.files import locked
from weak2wise.telemetry.terminal import wait_for_reader

QUESTIONS, SAMPLES, IN_FLIGHT = 30, 4, 4


@pytest.fixture(scope="module")
def slow() -> Iterator[LoopbackProcess]:
    """A server that takes its time."""
    with LoopbackProcess(latency=0.1) as server:
        yield server


def prepared(folder: Path, base_url: str) -> Path:
    """A config whose weak LLM takes a few calls at once, and held-out questions; returns the latter."""
    config = config_for(folder, base_url)
    config["model_endpoints"]["weak"]["max_concurrent_requests"] = IN_FLIGHT
    del config["models"]["judge"]
    write_run(folder, config, 5)
    return write_questions(folder / "held.jsonl", QUESTIONS)


def evaluate(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """The command, on the folder's config and questions."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "weak2wise", "evaluate", "weak", "--questions", str(folder / "held.jsonl")),
            *("--config", str(folder / "config.yaml"), "--prompt", VARIED, *arguments),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Its exit code, and what it printed on either stream."""
    out, said = process.communicate(timeout=120)
    return process.returncode, out, said


def stop_in_the_middle(process: "subprocess.Popen[str]", server: LoopbackProcess, number: int, before: int) -> None:
    """Send a signal once a third of the answers is there."""
    deadline = time.monotonic() + 60
    while received(server) - before < QUESTIONS * SAMPLES // 3:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_and_asks_for_nothing_again_that_had_arrived(
    tmp_path: Path, slow: LoopbackProcess
) -> None:
    """And the result has the bytes of an evaluation that was never disturbed."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
        prepared(folder, slow.base_url)
    assert ended(evaluate(whole))[0] == 0
    before = received(slow)
    process = evaluate(killed)
    stop_in_the_middle(process, slow, signal.SIGKILL, before)
    assert ended(process)[0] == -signal.SIGKILL
    assert not list((killed / "work").glob("proof/evaluations/*/evaluated.json"))
    code, out, said = ended(evaluate(killed))
    assert code == 0, said
    assert "pass@1, strict" in out
    asked = received(slow) - before
    assert QUESTIONS * SAMPLES <= asked <= QUESTIONS * SAMPLES + IN_FLIGHT
    results = [next((folder / "work").glob("proof/evaluations/*")) for folder in (whole, killed)]
    assert answers(results[0]) == answers(results[1])
    assert len(answers(results[0])) == QUESTIONS
    assert results[0].name == results[1].name


@pytest.mark.slow
def test_interrupted_it_waits_for_what_is_in_flight_and_the_same_command_goes_on(
    tmp_path: Path, slow: LoopbackProcess
) -> None:
    prepared(tmp_path, slow.base_url)
    before = received(slow)
    process = evaluate(tmp_path)
    stop_in_the_middle(process, slow, signal.SIGINT, before)
    code, out, said = ended(process)
    assert (code, out) == (130, "")
    assert "Go on with: python -m weak2wise evaluate weak --questions" in said
    assert ended(evaluate(tmp_path))[0] == 0
    assert received(slow) - before == QUESTIONS * SAMPLES, "not one answer is paid for twice"


@pytest.mark.slow
def test_two_at_once_do_not_share_a_folder(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        prepared(tmp_path, server.base_url)
        assert ended(evaluate(tmp_path, "--limit", "2"))[0] == 0
        (folder,) = (tmp_path / "work").glob("proof/evaluations/*")
        before = received(server)
        with locked(folder):
            code, _, said = ended(evaluate(tmp_path))
        assert received(server) == before
    assert code == 2
    assert "in use by another engine" in said


@pytest.mark.slow
def test_a_question_that_fails_makes_exit_code_1_and_is_named(tmp_path: Path) -> None:
    with LoopbackProcess() as server:
        prepared(tmp_path, server.base_url)
        with (tmp_path / "held.jsonl").open("a") as file:
            file.write(json.dumps({"question": "Without an answer?"}) + "\n")
        code, out, said = ended(evaluate(tmp_path))
    assert code == 1
    assert "30 questions, 4 answers each" in out
    assert "1 question could not be asked and is in no figure" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"samples": 0}, "--samples: expected int >= 1, found 0"),
        ({"temperature": 0.0}, "--temperature: 0 makes all samples of a question the same"),
        ({"temperature": -1.0}, "--temperature: expected float >= 0"),
        ({"prompt": "What?"}, "--prompt: the placeholder {question} is missing"),
        ({"prompt": "{question} in \\boxed{}"}, "--prompt: unknown placeholder {}"),
        ({"max_new_tokens": 0}, "--max-new-tokens: expected int >= 1"),
        ({"limit": 0}, "--limit: expected int >= 1"),
        ({"set_": ["params.seeed=1"]}, "params.seeed: unknown key; did you mean seed?"),
        ({"config": Path("/nowhere.yaml")}, "/nowhere.yaml: no such file"),
        ({"model": "waek"}, "no endpoint of that name in the config (did you mean weak?)"),
        ({"model": "FOLDER"}, "its config.json is missing"),
        ({"model": "FOLDER/adapter"}, "merge the adapter into its base model first"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_and_exit_code_2(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: dict[str, Any], said: str
) -> None:
    held_out = prepared(tmp_path, "http://127.0.0.1:9/v1")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    model = options.pop("model", "weak").replace("FOLDER", str(tmp_path))
    assert command(model, **{"questions": held_out, "config": tmp_path / "config.yaml"} | options) == 2
    wait_for_reader()
    out, printed = capfd.readouterr()
    assert (out, said in printed, printed.count("\n")) == ("", True, 1), printed
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--set", "dataset.columns={question: problem}"), "none of the first 30 rows has a field 'problem'"),
        (("--set", "dataset.input_path=HELD"), "all 30 questions are in the training input"),
    ],
)
def test_questions_that_cannot_be_used_are_said_in_one_line_with_exit_code_2(
    tmp_path: Path, arguments: tuple[str, str], said: str
) -> None:
    held_out = prepared(tmp_path, "http://127.0.0.1:9/v1")
    code, out, printed = ended(evaluate(tmp_path, arguments[0], arguments[1].replace("HELD", str(held_out))))
    assert (code, out) == (2, "")
    assert said in printed
    assert "Traceback" not in printed
    assert not list(tmp_path.glob("work/proof/evaluations/*/ledger"))
