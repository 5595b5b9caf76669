"""The smallest proof with a real model: killed with SIGKILL between its parts and in training, and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.engine_runs import ROOT, lines
from tests.finished_run import FinishedRun
from tests.vllm.engines import model_folder
from weak2wise.proof.claim import UNTRAINED
from weak2wise.proof.result import Proof

pytestmark = [pytest.mark.slow, pytest.mark.vllm]
QUESTIONS, SAMPLES = 10, 2


@pytest.fixture
def folder(finished: FinishedRun, tmp_path: Path) -> Path:
    """A finished run, its traces by a server of ours; what is proved of it is proved with a real weak LLM."""
    shutil.copytree(finished.work, tmp_path / "work")
    config = yaml.safe_load((finished.folder / "config.yaml").read_text())
    config["models"] = {"mweak": "weak", "mstrong": ["strong-a", "strong-b"]}
    config["model_endpoints"]["weak"] = {
        "type": "vllm", "model_name": model_folder(), "dtype": "float32", "max_model_len": 512, "max_num_seqs": 16,
        "enforce_eager": True, "engine_args": {"kv_cache_memory_bytes": 2**28},
    }  # fmt: skip
    config["params"]["judge_mode"] = "rule"
    config["dataset"] = {"input_path": str(finished.folder / "in.jsonl"), "work_dir": str(tmp_path / "work")}
    config["train"] = {"max_steps": 2, "batch_size": 2, "device_batch_size": 2, "save_steps": 1, "learning_rate": 1e-4}
    held_out = [{"questions": str(tmp_path / "held-out.jsonl"), "samples": SAMPLES}]
    config["prove"] = {"held_out": held_out, "seeds": 1, "max_new_tokens": 12, "prompt": "{question}"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    rows = [{"question": f"What is {number} plus 1?", "answer": str(number + 1)} for number in range(QUESTIONS)]
    (tmp_path / "held-out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def _start(folder: Path) -> "subprocess.Popen[str]":
    arguments = ["prove", str(folder / "work"), "--config", str(folder / "config.yaml")]
    return subprocess.Popen(
        [sys.executable, "-m", "weak2wise.engine", *arguments],
        cwd=ROOT,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def _kill_when(folder: Path, ready: Callable[[], bool]) -> None:
    """Start, and kill the process alone, not its children, as soon as it is so far."""
    patience = time.monotonic() + 600
    with _start(folder) as process:
        while not ready():
            if process.poll() is not None or time.monotonic() > patience:
                process.kill()
                pytest.fail(process.communicate()[0])
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)


def test_a_proof_that_is_killed_again_and_again_comes_to_its_end_and_asks_nothing_twice(folder: Path) -> None:
    proof = folder / "work" / "proof"
    _kill_when(folder, (proof / "claim.json").exists)
    claim = (proof / "claim.json").read_bytes()
    _kill_when(folder, lambda: any(proof.glob("models/.*.part/checkpoints/*")))
    assert not list(proof.glob("models/winners*")), "killed too late: the training was over"
    asked = _answers(proof)
    assert asked == QUESTIONS * SAMPLES

    process = _start(folder)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 1, said  # two lines of the run's input were no questions
    assert (proof / "claim.json").read_bytes() == claim
    assert _answers(proof) == 2 * asked
    found = msgspec.json.decode((proof / "proof.json").read_bytes(), type=Proof)
    assert [outcome.arm for outcome in found.outcomes] == [UNTRAINED, "winners"]
    assert [len(trained.losses) for trained in found.training] == [2]
    assert found.primary.difference.clusters == QUESTIONS
    assert found.verdict() in said
    assert found.verdict() in (proof / "proof.md").read_text()


def _answers(proof: Path) -> int:
    """How many answers all evaluations have in their journals."""
    return sum(len(lines(shard)) for shard in proof.glob("evaluations/*/ledger/journal/*.jsonl"))
