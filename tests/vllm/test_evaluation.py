"""An evaluation of a model's folder by the real command on the embedded engine, killed in the middle and resumed."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.engine_runs import ROOT
from tests.proof.held_out import answers, write_questions
from tests.vllm.engines import model_folder, wait_until_gone
from weak2wise.llm.vllm.guard import family
from weak2wise.proof.evaluated import Evaluated

QUESTIONS, SAMPLES, TOKENS = 8, 2, 48
CONFIG = {
    "models": {"mweak": "base", "mstrong": ["base"]},
    "model_endpoints": {
        "base": {
            "type": "vllm",
            "model_id": "another/model",  # only its settings are used: the folder has its place
            "dtype": "float32",
            "max_model_len": 512,
            "max_num_seqs": 8,
            "enforce_eager": True,
            "engine_args": {"kv_cache_memory_bytes": 2**29},
        }
    },
}


def evaluate(folder: Path) -> "subprocess.Popen[str]":
    """The command on the test's model."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "weak2wise", "evaluate", model_folder()),
            *("--questions", str(folder / "held.jsonl"), "--config", str(folder / "config.yaml")),
            *("-k", str(SAMPLES), "--max-new-tokens", str(TOKENS), "--work-dir", str(folder / "work")),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def journaled(folder: Path) -> list[tuple[int, str]]:
    """Row and key of each whole line of the journal."""
    found = []
    for path in sorted((folder / "work").glob("proof/evaluations/*/ledger/journal/*.jsonl")):
        lines = path.read_bytes().split(b"\n")[:-1]
        found += [(line["row"], line["key"]) for line in map(json.loads, lines)]
    return found


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.timeout(900)
def test_killed_in_the_middle_the_same_command_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    write_questions(tmp_path / "held.jsonl", QUESTIONS)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    deadline = time.monotonic() + 400
    with evaluate(tmp_path) as process:
        while len(journaled(tmp_path)) < QUESTIONS * SAMPLES // 3:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        pids = sorted(pid for pid, _ in family([process.pid]))
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    wait_until_gone(pids)
    arrived = journaled(tmp_path)
    assert QUESTIONS * SAMPLES // 3 <= len(arrived) < QUESTIONS * SAMPLES
    process = evaluate(tmp_path)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    whole = journaled(tmp_path)
    assert whole[: len(arrived)] == arrived
    assert len(whole) == len(set(whole)) == QUESTIONS * SAMPLES, "not one answer was sampled twice"
    (folder,) = (tmp_path / "work").glob("proof/evaluations/*-*")
    found = msgspec.json.decode((folder / "evaluated.json").read_bytes(), type=Evaluated)
    assert [one.row for one in found.questions] == list(range(1, QUESTIONS + 1))
    texts = [sample["text"] for line in answers(folder) for sample in line["samples"]]
    assert len(texts) == QUESTIONS * SAMPLES
    assert len(set(texts)) > QUESTIONS, "samples of a question differ"
    assert all(0 < tokens <= TOKENS for one in found.questions for tokens in one.tokens)
    assert found.tokens_per_second > 0
    engine_log = (folder / "vllm-0.log").stat().st_mtime_ns
    began = time.monotonic()
    process = evaluate(tmp_path)
    again, _ = process.communicate(timeout=100)
    assert process.returncode == 0, again
    assert (folder / "vllm-0.log").stat().st_mtime_ns == engine_log, "no engine was started"
    assert len(journaled(tmp_path)) == QUESTIONS * SAMPLES
    print(f"{found.tokens_per_second} tokens/s; read again in {time.monotonic() - began:.1f} s\n{said}")
