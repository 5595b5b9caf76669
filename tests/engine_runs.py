"""Runs the real command in a child process against the loopback server, for the tests of the whole engine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.loopback import make_question
from weak2wise.ledger.lines import sealed

ROOT = Path(__file__).resolve().parent.parent
ROLES = {"weak": "weak", "strong-a": "strong-a", "strong-b": "strong-a-two", "judge": "judge", "trunc": "trunc"}
PROMPTS = {
    "cgen": "Explain step by step under subtitles that begin with '##'; end with '## Final Answer'.",
    "pqr": "## Problem\n{question}\n\n## Hint\n{step_reasoning}\n\nReason, and put the answer in \\boxed{{}}.",
    "pjudge": "## Question\n{question}\n## Attempt\n{attempt}\n## Correct Answer\n{answer}\n\nEnd with Yes or No.",
    "ptrunc": "Extract.\n## Reasoning Process\n{normal_reasoning}\n## Correct Answer\n{answer}",
}


def config_for(folder: Path, base_url: str, **params: Any) -> dict[str, Any]:
    """A config in the reference's schema, every role over HTTP."""
    return {
        "models": {"mweak": "weak", "mstrong": ["strong-a", "strong-b"], "judge": "judge", "truncation": "trunc"},
        "model_endpoints": {
            name: {"type": "openai", "model_id": model, "base_url": base_url} for name, model in ROLES.items()
        },
        "params": {
            "samples_per_model": 1,
            "n_mask": 6,
            "beta": 0.5,
            "gen_temperature": 0.6,
            "judge_temperature": 0.1,
            "trunc_temp": 0.1,
        }
        | params,
        "dataset": {
            "input_path": str(folder / "in.jsonl"),
            "work_dir": str(folder / "work"),
            "finetune_out": str(folder / "out.jsonl"),
        },
        "prompts": PROMPTS,
    }


def write_run(folder: Path, config: dict[str, Any], questions: int) -> list[tuple[str, str]]:
    """Put the config and an input into a folder; returns the question-answer pairs."""
    folder.mkdir(exist_ok=True)
    pairs = [make_question(i) for i in range(questions)]
    lines = [json.dumps({"id": f"q{i}", "question": q, "answer": a}) for i, (q, a) in enumerate(pairs)]
    (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return pairs


def run_in(folder: Path, base_url: str, questions: int = 5, **params: Any) -> dict[str, Any]:
    """``config_for`` and ``write_run``; returns the config."""
    config = config_for(folder, base_url, **params)
    write_run(folder, config, questions)
    return config


def save(folder: Path, config: dict[str, Any]) -> Path:
    """Put a config into the folder in place of the one that is there; returns its path."""
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder / "config.yaml"


def start(
    folder: Path, *arguments: str, command: str = "run", output: int | None = None, stdin: int | None = None
) -> "subprocess.Popen[str]":
    """The engine on the folder's config, in a session of its own; ``output``: where it prints, if not to us."""
    return subprocess.Popen(
        [sys.executable, "-m", "weak2wise.engine", command, "--config", str(folder / "config.yaml"), *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL if stdin is None else stdin,
        stdout=subprocess.PIPE if output is None else output,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(folder: Path, *arguments: str, command: str = "run", code: int = 0) -> str:
    """Run to the end, check the exit code and return what was printed."""
    process = start(folder, *arguments, command=command)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == code, said
    return said


def lines(path: Path) -> list[dict[str, Any]]:
    """A JSONL file's objects."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewrite(shard: Path, rows: list[dict[str, Any]]) -> None:
    """Write other lines into a shard of a ledger, each with its checksum."""
    bare = ({key: value for key, value in row.items() if key != "xxh64"} for row in rows)
    shard.write_bytes(b"".join(sealed(json.dumps(row).encode()) for row in bare))
