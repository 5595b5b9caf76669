"""The model that is trained is found, looked at, and known again by its content."""

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from tests.finished_run import FinishedRun
from weak2wise.errors import ConfigError
from weak2wise.outputs.work_dir import WorkDir
from weak2wise.proof.base_model import base_model, weights_of


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer_config.json"):
        (folder / name).write_text("{}")
    (folder / "model.safetensors").write_text("weights")
    return folder


def of_weak(work: WorkDir, **settings: Any) -> WorkDir:
    """The run, as if its weak LLM had been embedded with these settings."""
    shape = work.manifest.shape | {f"model_endpoints.weak.{key}": value for key, value in settings.items()}
    work.manifest = structs.replace(work.manifest, shape=shape)
    return work


def test_the_runs_weak_llm_is_the_default_with_the_way_it_was_asked(finished: FinishedRun, model: Path) -> None:
    work = of_weak(WorkDir(finished.work), model=str(model), chat_template=False, trust_remote_code=True)
    found = base_model(work)
    assert (found.folder, found.bare, found.trust_remote_code) == (model, True, True)
    assert base_model(of_weak(work, chat_template=True, trust_remote_code=None)).bare is False


def test_a_weak_llm_over_http_needs_a_folder(finished: FinishedRun) -> None:
    with pytest.raises(ConfigError, match=r"weak LLM, weak, is not on this machine; name the folder .*--model"):
        base_model(WorkDir(finished.work))


def test_a_folder_that_is_not_there_says_so_and_what_to_do(
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"--model .*gone: no such folder, and the Hub does not have it .*; name"):
        base_model(WorkDir(finished.work), str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config.json": None}, "has no config.json"),
        ({"tokenizer_config.json": None}, "has no tokenizer_config.json"),
        ({"config.json": "{"}, "config.json: cannot be read"),
        ({"config.json": '{"quantization_config": {}}'}, "its weights are quantized"),
        ({"model.safetensors": None}, "has no weights"),
        ({"model.safetensors.index.json": '{"weight_map": {"a": "part-2.safetensors"}}'}, "has no part-2.safetensors"),
    ],
)
def test_a_folder_with_a_part_missing_is_refused(
    finished: FinishedRun, model: Path, change: dict[str, str | None], message: str
) -> None:
    for name, content in change.items():
        if content is None:
            (model / name).unlink()
        else:
            (model / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        base_model(WorkDir(finished.work), str(model))


def test_it_is_known_by_what_decides_its_answers_and_by_nothing_else(finished: FinishedRun, model: Path) -> None:
    work = WorkDir(finished.work)

    def digest() -> str:
        return base_model(work, str(model)).digest

    before = digest()
    (model / "README.md").write_text("a card")
    (model / ".cache").mkdir()
    assert digest() == before
    moved = model.rename(model.with_name("moved"))
    assert base_model(work, str(moved)).digest == before
    model = moved
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 2}))
    assert digest() != before
    known = digest()
    (model / "model.safetensors").write_text("WEIGHTS")
    assert digest() != known


def test_safetensors_are_taken_before_others(model: Path) -> None:
    (model / "pytorch_model.bin").touch()
    assert [path.name for path in weights_of(model)] == ["model.safetensors"]
    (model / "model.safetensors").unlink()
    assert [path.name for path in weights_of(model)] == ["pytorch_model.bin"]
