"""The recipe of GR-7B's loop, dry, on small stand-ins of its files: every file and column is looked at."""

import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.engine_runs import ROOT
from tests.finished_run import command

RECIPE = ROOT / "docs" / "recipes" / "gr-7b"
_SPEC = importlib.util.spec_from_file_location("gr7b_prepare", RECIPE / "prepare.py")
assert _SPEC
assert _SPEC.loader
prepare = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = prepare
_SPEC.loader.exec_module(prepare)


def _rows(name: str, count: int) -> list[dict[str, Any]]:
    """Rows as the Hub has them."""
    match name:
        case "math-500":
            return [{"unique_id": f"m{n}", "problem": f"Find $x$ if $x={n}$.", "answer": str(n)} for n in range(count)]
        case "aime24":
            return [{"id": n, "problem": f"How many of the first {n}?", "answer": f"{n:03}"} for n in range(count)]
    wrong = {f"Incorrect Answer {number}": f"choice {number}" for number in (1, 2, 3)}
    return [{"Question": f"Which of {n}? ", "Correct Answer": f" right {n}\n"} | wrong for n in range(count)]


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recipe's files, small; it is the current one."""
    monkeypatch.chdir(tmp_path)
    for benchmark, count in zip(prepare.BENCHMARKS, (20, 12, 15), strict=True):
        assert prepare.write(benchmark, _rows(benchmark.name, count), tmp_path / "data") == count
    rows = [{"question": f"What is {n} and {n} together?", "answer": str(2 * n)} for n in range(40)]
    (tmp_path / "data" / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_dry_run_counts_everything_and_writes_nothing(stand_ins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(stand_ins.rglob("*"))
    assert (
        command("prove", "--config", RECIPE / "run.yaml", "--accelerate-config", RECIPE / "fsdp.yaml", "--dry-run") == 0
    )
    said = capsys.readouterr().out
    assert "input: data/questions.jsonl, 40 questions" in said
    for name, count, samples in (("math-500", 20, 4), ("aime24", 12, 32), ("gpqa-diamond", 15, 8)):
        assert f"held out, {name}: data/{name}.jsonl, {count} questions" in said
        assert f"{count * samples * 3:,} answers of all models, each of at most 8,192 tokens" in said
    assert "the claim is about these; it can show" in said
    assert "models: 3 (the untrained one; winners, each with training seeds 0, 1)" in said
    assert "all weights, at most 40 rows, 15 steps of 16 rows" in said
    assert "Qwen/Qwen2.5-7B is not" in said
    assert sorted(stand_ins.rglob("*")) == before


def test_memory_is_that_of_the_weights_on_this_machine(stand_ins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = stand_ins / "model"
    model.mkdir()
    for part, shape in (("1", [3584, 152064]), ("2", [3584, 18944])):
        tensors = {"__metadata__": {"format": "pt"}, "w": {"dtype": "BF16", "shape": shape, "data_offsets": [0, 0]}}
        header = json.dumps(tensors).encode()
        (model / f"model-{part}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    dry = (
        "prove",
        "--config",
        RECIPE / "run.yaml",
        "--dry-run",
        "--set",
        f"model_endpoints.qwen2.5-7b.model_name={model}",
    )
    assert command(*dry) == 0
    assert "0.61 billion parameters: 9.1 GiB over all devices" in capsys.readouterr().out
    assert command(*dry, "--set", "train.lora_rank=32") == 0
    assert "LoRA of rank 32" in (said := capsys.readouterr().out)
    assert "1.1 GiB over all devices, and LoRA's own" in said
    (model / "model-2.safetensors").write_bytes(b"\xff" * 64)
    assert command(*dry) == 2


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda data: (data / "aime24.jsonl").unlink(), "aime24.jsonl: no such file"),
        (lambda data: (data / "gpqa-diamond.jsonl").write_text('{"problem": "?", "answer": "A"}\n'), "no.*'question'"),
        (lambda data: (data / "math-500.jsonl").write_text(""), "holds no questions"),
        (lambda data: (data / "questions.jsonl").write_text('{"question": "What?"}\n'), "'answer'"),
    ],
)
def test_a_file_or_column_that_is_missing_is_named(
    stand_ins: Path, capfd: pytest.CaptureFixture[str], spoil: Any, said: str
) -> None:
    spoil(stand_ins / "data")
    assert command("prove", "--config", RECIPE / "run.yaml", "--dry-run") == 2
    assert re.search(said, capfd.readouterr().err)


def test_questions_that_are_in_the_input_too_are_counted(stand_ins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (stand_ins / "data" / "questions.jsonl").open("a") as file:
        file.write(json.dumps({"question": "How many of the first 3?", "answer": "3"}) + "\n")
    assert command("prove", "--config", RECIPE / "run.yaml", "--dry-run") == 0
    assert "1 of them are in the input too and are not asked" in capsys.readouterr().out


def test_the_choices_of_gpqa_are_in_an_order_that_stays_and_the_letter_is_that_of_the_right_one() -> None:
    rows = _rows("gpqa-diamond", 40)
    lines = [prepare.gpqa_line(row) for row in rows]
    assert lines == [prepare.gpqa_line(row) for row in rows]
    assert {line["answer"] for line in lines} == set("ABCD")
    for number, line in enumerate(lines):
        assert f"{line['answer']}. right {number}\n" in line["question"]


@pytest.mark.slow  # accelerate imports torch
def test_accelerate_reads_the_file_for_several_gpus() -> None:
    from accelerate.commands.config.config_args import load_config_from_file  # noqa: PLC0415 - comes with training

    found = load_config_from_file(str(RECIPE / "fsdp.yaml"))  # refuses a key that it does not know
    assert found.num_processes == 8
    assert found.fsdp_config["fsdp_state_dict_type"] == "FULL_STATE_DICT"
