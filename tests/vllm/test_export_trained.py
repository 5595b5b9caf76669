"""What ``export`` prints trains a model: TRL's own command, run as it was printed."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.finished_run import FinishedRun, command
from tests.vllm.tiny_model import make_tiny

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CONTEXT = 4096


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The model of the run's weak LLM."""
    return make_tiny(tmp_path_factory.mktemp("tiny"), CONTEXT)


@pytest.fixture(scope="module")
def work(finished: FinishedRun, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run, with a weak LLM that can be trained."""
    folder = tmp_path_factory.mktemp("run") / "work"
    shutil.copytree(finished.work, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shape"]["model_endpoints.weak.model"] = tiny
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    "case",
    [
        ("golden", [], ["--max_steps", "2"]),
        ("golden", ["--format", "messages", "--response", "think"], ["--max_steps", "2"]),
        ("golden.parquet", ["--top", "3"], []),
    ],
)
def test_the_command_that_an_export_prints_trains_a_model_with_trl(
    work: Path,
    tmp_path: Path,
    case: tuple[str, list[str], list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For a few steps, on all rows of the export."""
    out, arguments, more = case
    assert command("export", work, "--out", tmp_path / out, *arguments) == 0
    printed = next(line for line in capsys.readouterr().err.splitlines() if line.startswith("TRL: "))
    words = shlex.split(printed.removeprefix("TRL: "))
    if words[0] == "trl":
        words[0:1] = [sys.executable, "-c", "import sys; from trl.cli import main; sys.exit(main())"]
        words += [*more, "--use_cpu", "true", "--report_to", "none", "--per_device_train_batch_size", "1"]
    else:
        words = [sys.executable, "-c", words[2].replace("max_length=", "use_cpu=True, report_to='none', max_length=")]
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "train_loss" in done.stdout + done.stderr
