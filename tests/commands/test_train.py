"""``weak2wise train`` from the command line: what it prints, its exit codes, and how it is stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine_runs import ROOT
from tests.finished_run import FinishedRun, command
from tests.proof.trainings import Trainings, children, trainings
from weak2wise.config import TrainSettings
from weak2wise.proof import training

__all__ = ["trainings"]

SHELL = """
import sys
from tests.proof import trainings
from weak2wise.commands import run_command_line
from weak2wise.proof import launch, training
launch.launch_command, training._PACKAGES = trainings.fake_command, ()
run_command_line()
"""


def arguments(trainings: Trainings, *more: object) -> list[object]:
    return ["train", trainings.work.folder, "--model", trainings.base, "--out", trainings.models, *more]


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_it_says_what_is_trained_on_how_it_goes_and_where_the_model_is(
    trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments(trainings)) == 0
    (folder,) = trainings.models.iterdir()
    recut, rows, first, last, result = said(capsys)
    assert "winners were cut by a model" in recut
    emitted = trainings.work.totals()[0].emitted
    assert rows.startswith(f"{emitted} rows, ")
    assert first == "Step 1 of 6: loss 1.0000, about 5 s left"
    assert last == "Step 6 of 6: loss 0.1667"
    assert result == f"{folder}: {emitted} rows, 6 steps in 6 s, loss 1.0000 to 0.1667, peak memory 0.1 GiB"
    assert command(*arguments(trainings)) == 0
    assert said(capsys)[-1].startswith(f"{folder}: is there already")


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(
    trainings: Trainings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(*arguments(trainings, "--arm", "shortest", "--dry-run")) == 0
    _, steps, estimates = said(capsys)
    assert steps.startswith("6 steps; the longest row has ")
    assert estimates.startswith("Estimates: memory 0.1 GiB ")
    assert list(trainings.models.iterdir()) == []


def test_what_stops_it_is_said_with_the_command_that_goes_on(
    trainings: Trainings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings.behave(6, step_3="no room")
    given = arguments(trainings)
    monkeypatch.setattr(sys, "argv", ["weak2wise", *map(str, given)])
    assert command(*given) == 3
    why, how = said(capsys)[-2:]
    assert "No space left on device. Make room on the disk" in why
    assert how == f"Go on from the last checkpoint with: {' '.join(map(str, ['weak2wise', *given]))}"
    assert command(*given) == 0
    assert "Going on after step 2 of 6." in said(capsys)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_resumably_and_leaves_no_process(trainings: Trainings, number: signal.Signals) -> None:
    trainings.behave(6, seconds=0.5)
    # Under nohup the tests ignore SIGHUP, and so would what they start.
    command = ["env", f"--default-signal={number.name}", sys.executable, "-c", SHELL, *map(str, arguments(trainings))]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(line.startswith("Step 1 of 6") for line in process.stderr)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(timeout=20) == 130
    assert "Interrupted. Go on from the last checkpoint with: " in rest
    assert "Traceback" not in rest
    assert children(trainings.models) == []
    assert trainings.train().steps == 6


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--arm", "winer"), "--arm winer: no such arm; did you mean winners?"),
        (("--arm", "grape"), "has no scores by grape of "),
        (("--set", "train.epoch=3"), "train.epoch: unknown key; did you mean epochs?"),
        (("--set", "params.n_mask=3"), "--set params.n_mask: expected a key of the section train"),
        (("--set", "train.batch_size=5"), "train.batch_size: expected a multiple of train.device_batch_size (2)"),
        (("--accelerate-config", "no.yaml"), "--accelerate-config no.yaml: no such file"),
        (("--config", "no.yaml"), "no.yaml: no such file"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    trainings: Trainings, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], message: str
) -> None:
    assert command(*arguments(trainings, *more)) == 2
    assert message in said(capsys)[-1]


def test_without_the_extra_it_says_what_to_install(
    finished: FinishedRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda package: None if package in ("trl", "peft") else object())
    assert command("train", finished.work) == 2
    assert said(capsys)[-1] == "train needs trl, peft: pip install '.[train]' in weak2wise's folder"


def test_settings_are_read_from_the_config_of_the_run(
    trainings: Trainings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"dataset: {{work_dir: {trainings.work.folder}}}\ntrain: {{learning_rate: 3.0e-5, lora_rank: 8}}\n"
    )
    given = ("train", "--config", config, "--model", trainings.base, "--out", trainings.models)
    assert command(*given, "--set", "train.lora_rank=4") == 0
    settings = trainings.train(settings=TrainSettings(learning_rate=3e-5, lora_rank=4))
    assert settings.reused
    config.write_text("train: {lora_rank: 0}")
    assert command(*given, os.fspath(trainings.work.folder)) == 2
    assert said(capsys)[-1].endswith("config.yaml: train.lora_rank: expected int >= 1, found 0")
