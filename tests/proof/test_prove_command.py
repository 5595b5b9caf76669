"""``weak2wise prove`` from the command line: what is wrong is said in a line, and the exit code is that of ``run``."""

import shutil
from pathlib import Path

import pytest

from tests.finished_run import FinishedRun, command


@pytest.fixture
def copied(finished: FinishedRun, tmp_path: Path) -> Path:
    shutil.copytree(finished.work, tmp_path / "work")
    shutil.copy(finished.folder / "config.yaml", tmp_path / "config.yaml")
    (tmp_path / "held-out.jsonl").write_text(
        "".join(f'{{"question": "How much is {n} and 1000?", "answer": "{n + 1000}"}}\n' for n in range(12))
    )
    return tmp_path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "prove.held_out: missing"),
        (("--questions", "missing.jsonl"), "missing.jsonl"),
        (("--questions", "held-out.jsonl", "--arms", "winers"), "winers: no such arm"),
        (("--questions", "held-out.jsonl", "--arms", "winners,winners"), "winners is there twice"),
        (("--questions", "held-out.jsonl", "--set", "prove.seed=2"), "prove.seed"),
        (("--questions", "held-out.jsonl", "--accelerate-config", "none.yaml"), "none.yaml: no such file"),
        (("--questions", "held-out.jsonl", "--config", "none.yaml"), "none.yaml: no such file"),
    ],
)
def test_a_mistake_is_said_in_a_line_and_nothing_is_claimed(
    copied: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(copied)
    config = () if "--config" in options else ("--config", "config.yaml")
    assert command("prove", "work", *config, *options) == 2
    printed = capfd.readouterr().err
    assert said in printed
    assert "Traceback" not in printed
    assert not (copied / "work" / "proof" / "claim.json").exists()


def test_a_folder_without_a_run_is_refused(copied: Path, capfd: pytest.CaptureFixture[str]) -> None:
    questions = copied / "held-out.jsonl"
    assert command("prove", copied / "none", "--config", copied / "config.yaml", "--questions", questions) == 2
    assert "holds no run" in capfd.readouterr().err
