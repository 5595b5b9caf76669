"""``fork`` from the command line: what it says, what it refuses, and that ``run`` goes on from there."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.engine_runs import config_for, finish, lines
from tests.finished_run import FinishedRun, command
from tests.loopback import LoopbackProcess
from weak2wise.ledger.files import write_atomic
from weak2wise.ledger.sharing import Shared


@pytest.fixture
def run(tmp_path: Path, finished: FinishedRun) -> Path:
    """A copy of the finished run, with paths of its own; nothing of the other one is at risk."""
    folder = tmp_path / "run"
    shutil.copytree(finished.folder, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for key, name in (("input_path", "in.jsonl"), ("work_dir", "work"), ("finetune_out", "out.jsonl")):
        config["dataset"][key] = str(folder / name)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def fork(run: Path, *options: Path | str | int) -> int:
    return command("fork", "--config", run / "config.yaml", run / "work", *options)


@pytest.mark.slow
def test_the_command_that_is_printed_runs_the_fork(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "b"
    with LoopbackProcess() as server:
        (tmp_path / "run").mkdir()
        config = config_for(tmp_path / "run", server.base_url)
        config["model_endpoints"]["strong-a"]["prices"] = {"input": 2.0, "output": 8.0}
        run = tmp_path / "run"
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        questions = "".join(
            json.dumps({"question": f"What is {n} + {n + 1}?", "answer": str(2 * n + 1)}) + "\n" for n in range(30, 36)
        )
        (run / "in.jsonl").write_text(questions)
        finish(run)
        assert fork(run, other, "--set", "params.n_mask=8") == 0
        said = capfd.readouterr().err
        assert "Changed: params.n_mask." in said
        assert "Steps shared: 1 filter, 2 generate. To be done: 3 stepmask, 4 select, 5 sft" in said
        assert f"--config {other / 'config.yaml'}" in said
        assert command("status", other) == 0
        before = capfd.readouterr().out
        assert f"forked from {run / 'work'}; changed: params.n_mask" in " ".join(before.split())
        finish(other)
    assert lines(other / "finetune.jsonl"), "the fork's own output file"
    assert command("status", other) == 0
    assert "of it in the run that this one was forked from" in " ".join(capfd.readouterr().out.split())
    # Its own config is the one that a fork of it begins with.
    assert command("fork", other, tmp_path / "c", "--set", "params.beta=0.2") == 0
    assert "Changed: params.beta." in capfd.readouterr().err


def test_what_stands_in_the_way_is_named(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    expected: dict[tuple[Path | str | int, ...], str] = {
        (run / "work",): "is the work_dir to fork",
        (run / "work" / "b",): "lies in the work_dir to fork",
        (tmp_path / "full",): "exists; name a new folder",
        (tmp_path / "file",): "exists; name a new folder",
        (tmp_path / "link",): "exists; name a new folder",
        (tmp_path / "file" / "b",): "Not a directory",
        (tmp_path / "b", "--from-step", 3, "--set", "params.samples_per_model=2"): "params.samples_per_model",
        (tmp_path / "b", "--from-step", 4, "--set", "params.n_mask=8"): "step 3 (stepmask)",
        (tmp_path / "b", "--set", "params.n_mask=0"): "params.n_mask",
        (tmp_path / "b", "--set", f"dataset.finetune_out={run / 'out.jsonl'}"): "another run's output file",
        (tmp_path / "b", "--set", "dataset.work_dir=x"): "leave it out",
        (tmp_path / "b", "--set", f"dataset.input_path={run / 'config.yaml'}"): "is not what",
    }
    for arguments, said in expected.items():
        assert fork(run, *arguments) in {2, 3}, arguments
        assert said in capfd.readouterr().err, arguments
    assert not (tmp_path / "b").exists()
    assert not list(tmp_path.glob(".fork.*")), "nothing half made stays"


def test_a_folder_without_a_run_and_a_damaged_one_are_refused(
    run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert command("fork", tmp_path / "empty", tmp_path / "b", "--config", run / "config.yaml") == 2
    assert "holds no run" in capfd.readouterr().err
    shutil.rmtree(run / "work" / "ledger" / "generate.index", ignore_errors=True)
    shard = run / "work" / "ledger" / "generate" / "00000.jsonl"
    first, rest = shard.read_bytes().split(b"\n", 1)
    shard.write_bytes(first[:40] + b"?" + first[41:] + b"\n" + rest)
    assert fork(run, tmp_path / "b", "--set", "params.n_mask=8") == 2
    said = capfd.readouterr().err
    assert "line 1 is damaged" in said
    assert f"weak2wise repair {run / 'work'}" in said
    assert not (tmp_path / "b").exists()


def test_a_torn_end_is_left_out_and_the_earlier_run_keeps_it(run: Path, tmp_path: Path) -> None:
    shutil.rmtree(run / "work" / "ledger" / "journal.index", ignore_errors=True)
    shard = run / "work" / "ledger" / "journal" / "00000.jsonl"
    whole = shard.read_bytes()
    with shard.open("ab") as file:
        file.write(whole[:100])
    assert fork(run, tmp_path / "b", "--set", "params.n_mask=8") == 0
    assert (tmp_path / "b" / "ledger" / "journal" / "00000.jsonl").read_bytes() == whole
    assert shard.read_bytes() == whole + whole[:100]


def test_a_changed_input_is_refused(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (run / "in.jsonl").open("a") as file:
        file.write('{"question": "new", "answer": "1"}\n')
    assert fork(run, tmp_path / "b", "--set", "params.n_mask=8") == 2
    assert "is not what" in capfd.readouterr().err


def test_where_links_cannot_be_made_files_are_copied_with_their_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Path, _target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_atomic(tmp_path / "one", [b"text"])
    shared = Shared()
    shared.file(tmp_path / "one", tmp_path / "two")
    one, two = (tmp_path / "one").stat(), (tmp_path / "two").stat()
    assert (two.st_mtime_ns, two.st_mode, two.st_size) == (one.st_mtime_ns, one.st_mode, 4)
    assert two.st_ino != one.st_ino
    assert (shared.linked, shared.copied) == (0, 4)
