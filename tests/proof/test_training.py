"""A training is made once, whole or not at all, and goes on after whatever ended it."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from tests.engine_runs import ROOT
from tests.proof.trainings import SETTINGS, Trainings, children, trainings
from weak2wise.config import TrainSettings
from weak2wise.errors import ConfigError, RunStopped
from weak2wise.proof import launch, training
from weak2wise.proof.trained import Trained, read_trained

__all__ = ["trainings"]


def test_a_training_leaves_one_whole_folder_that_says_what_it_was_made_of(trainings: Trainings) -> None:
    trained = trainings.train()
    emitted = trainings.work.totals()[0].emitted
    assert trainings.steps == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in trainings.models.iterdir()] == [trained.folder.name]
    assert trained.folder.name == f"winners-seed1-{trained.digest}"
    assert trained.losses == [(step, 1 / step) for step in range(1, 7)]
    assert trained.rows == sum(trained.strong.values()) == emitted > 0
    assert set(trained.strong) == {"strong-a", "strong-b"}
    assert read_trained(trained.folder) == trained


def test_the_same_training_is_not_made_again(trainings: Trainings) -> None:
    made = trainings.train()
    again = trainings.train()
    assert trainings.said == []
    assert again.reused
    assert again == msgspec.structs.replace(made, reused=True)
    assert [path.name for path in trainings.models.iterdir()] == [made.folder.name]


@pytest.mark.slow
def test_whatever_shapes_the_weights_makes_another_model_and_what_shapes_speed_does_not(trainings: Trainings) -> None:
    trainings.behave(1)
    digests = {
        trainings.train().digest,
        trainings.train(seed=2).digest,
        trainings.train(arm="longest").digest,
        trainings.train(settings=TrainSettings(learning_rate=3e-5)).digest,
        trainings.train(settings=TrainSettings(lora_rank=8)).digest,
    }
    assert len(digests) == 5
    faster = TrainSettings(device_batch_size=1, threads=1, save_steps=1)
    assert trainings.train(settings=faster).reused
    (trainings.base / "model.safetensors").write_text("WEIGHTS")
    assert not trainings.train().reused


@pytest.mark.slow
@pytest.mark.parametrize("how", ["killed", "torn"])
def test_a_killed_training_goes_on_from_its_last_complete_checkpoint(trainings: Trainings, how: str) -> None:
    trainings.behave(6, step_5=how) if how == "killed" else trainings.behave(6, step_4=how)
    with pytest.raises(RunStopped, match="the trainer ended with exit code -9"):
        trainings.train()
    assert not [path for path in trainings.models.iterdir() if not path.name.startswith(".")]
    trained = trainings.train()
    assert trainings.steps == ([5, 6] if how == "killed" else [3, 4, 5, 6])
    assert trained.losses == [(step, 1 / step) for step in range(1, 7)]
    assert trainings.parts == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        ("refused", ConfigError, r"diverged\. Lower train\.learning_rate"),
        ("no room", RunStopped, "checkpoint-3: No space left on device"),
        ("no memory", RunStopped, "the memory is full"),
        ("bug", RunStopped, "exit code 1: KeyError: 'bug'"),
    ],
)
def test_what_ends_a_training_says_who_has_to_act(
    trainings: Trainings, what: str, error: type[Exception], message: str
) -> None:
    trainings.behave(6, step_3=what)
    with pytest.raises(error, match=message):
        trainings.train()
    assert trainings.train().steps == 6
    assert trainings.steps == [3, 4, 5, 6]


def test_a_model_that_was_finished_when_its_parent_was_killed_is_kept_without_training(
    trainings: Trainings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "KEPT", "no/such/folder/\0")  # fails between the training and the renaming
    with pytest.raises(ValueError, match="null"):
        trainings.train()
    monkeypatch.undo()
    monkeypatch.setattr(training, "_PACKAGES", ())
    monkeypatch.setattr(launch, "launch_command", lambda *_: pytest.fail("it was trained already"))
    assert trainings.train().losses[-1] == (6, 1 / 6)
    assert trainings.parts == []


def test_a_model_whose_folder_was_renamed_just_before_its_parent_was_killed_is_there(trainings: Trainings) -> None:
    made = trainings.train()
    part = trainings.models / f".{made.folder.name}.part"
    (part / "checkpoints" / "checkpoint-2").mkdir(parents=True)
    assert trainings.train().reused
    assert trainings.parts == []


def test_a_model_with_a_file_missing_or_cut_is_refused(trainings: Trainings) -> None:
    made = trainings.train()
    weights = made.folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    with pytest.raises(ConfigError, match=r"model\.safetensors: has not the size that it was written with; move"):
        trainings.train()
    weights.unlink()
    with pytest.raises(ConfigError, match=r"model\.safetensors: cannot be read: No such file"):
        trainings.train()


def test_a_folder_that_is_no_trained_model_is_never_replaced(trainings: Trainings) -> None:
    made = trainings.train()
    (made.folder / "trained.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"trained\.json: is not what a training writes"):
        trainings.train()


@pytest.mark.slow
def test_rows_that_are_left_out_are_not_trained_on(trainings: Trainings) -> None:
    whole = trainings.train()
    some = [row for row in trainings.work.steps["sft"].rows() if trainings.work.steps["sft"].status(row).name == "DONE"]
    less = trainings.train(without=frozenset(some[:3]))
    assert less.rows == whole.rows - 3
    with pytest.raises(ConfigError, match="no golden trace to train on; weak2wise status"):
        trainings.train(without=frozenset(some))


def test_a_plan_says_what_a_training_will_do_and_leaves_nothing(trainings: Trainings) -> None:
    planned = training.plan(trainings.work, "winners", 1, SETTINGS, model=str(trainings.base), out=trainings.models)
    assert (planned.steps, planned.resumed) == (6, 0)
    assert planned.rows == trainings.work.totals()[0].emitted
    assert list(trainings.models.iterdir()) == []


@pytest.mark.slow
def test_a_plan_leaves_the_checkpoints_of_a_training_alone(trainings: Trainings) -> None:
    trainings.behave(6, step_5="killed")
    with pytest.raises(RunStopped):
        trainings.train()
    training.plan(trainings.work, "winners", 1, SETTINGS, model=str(trainings.base), out=trainings.models)
    trainings.train()
    assert trainings.steps == [5, 6]


PARENT = """
import sys
from pathlib import Path
from tests.proof import trainings
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof import launch, training
launch.launch_command, training._PACKAGES = trainings.fake_command, ()
work, base, models = map(Path, sys.argv[1:])
training.train(WorkDir(work), "winners", 1, trainings.SETTINGS, model=str(base), out=models,
               on_progress=lambda said: print(said, flush=True))
"""


def parent(trainings: Trainings) -> "subprocess.Popen[str]":
    arguments = [str(trainings.work.folder), str(trainings.base), str(trainings.models)]
    return subprocess.Popen([sys.executable, "-c", PARENT, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def until_step(process: "subprocess.Popen[str]", step: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if f"step={step}," in line:
            return
    pytest.fail("it ended before")


@pytest.mark.slow
def test_no_trainer_outlives_a_parent_that_was_killed_and_the_next_one_goes_on(trainings: Trainings) -> None:
    trainings.behave(6, step_4="long")  # so that it has nothing to say for a while
    with parent(trainings) as process:
        until_step(process, 3)
        (trainer,) = children(trainings.models)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while trainer in children(trainings.models) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children(trainings.models) == []
    trainings.train()
    assert trainings.steps == [3, 4, 5, 6]


@pytest.mark.slow
def test_a_trainer_waits_until_the_one_of_a_killed_parent_has_ended(trainings: Trainings) -> None:
    """It may be deep in a step, and would write into the same folder."""
    trainings.behave(4, step_3="killed")
    with pytest.raises(RunStopped):
        trainings.train()
    (part,) = trainings.parts
    ended = threading.Event()
    with (part / "trainer.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        def end() -> None:
            ended.set()
            fcntl.flock(lock, fcntl.LOCK_UN)

        timer = threading.Timer(3.0, end)
        timer.start()
        seen: list[bool] = []
        training.train(
            trainings.work,
            "winners",
            1,
            SETTINGS,
            model=str(trainings.base),
            out=trainings.models,
            on_progress=lambda _: seen.append(ended.is_set()),
        )
        timer.join()
    assert seen == [True, True, True]


@pytest.mark.slow
def test_two_trainings_of_one_model_do_not_run_at_once(trainings: Trainings) -> None:
    trainings.behave(6, seconds=0.5)
    with parent(trainings) as process:
        until_step(process, 1)
        with pytest.raises(ConfigError, match=f"process {process.pid} trains this model already; wait for it"):
            trainings.train()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) != 0
    assert children(trainings.models) == []


def test_the_command_is_accelerates_launcher_with_the_users_file(tmp_path: Path) -> None:
    command = launch.launch_command(tmp_path / "spec.json", TrainSettings(threads=3), tmp_path / "fsdp.yaml")
    assert command[1:] == [
        *("-m", "accelerate.commands.launch", "--config_file", str(tmp_path / "fsdp.yaml")),
        *("--num_cpu_threads_per_process=3", "-m", "weak2wise.proof.trainer", str(tmp_path / "spec.json")),
    ]
    own = launch.launch_command(tmp_path / "spec.json", TrainSettings(), None)
    assert f"--num_cpu_threads_per_process={len(os.sched_getaffinity(0))}" in own
    assert "--config_file" not in own


def test_trained_reads_back_what_it_wrote(trainings: Trainings) -> None:
    trained = trainings.train(settings=TrainSettings(lora_rank=4, epochs=2.5))
    assert isinstance(trained.settings, TrainSettings)
    read = read_trained(trained.folder)
    assert isinstance(read, Trained)
    assert read.settings == TrainSettings(lora_rank=4, epochs=2.5)
