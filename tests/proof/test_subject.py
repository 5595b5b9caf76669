"""The model that is evaluated: which settings it gets, and what makes it another one."""

from pathlib import Path

import pytest
from msgspec import structs

from tests.api.runs import config_at, endpoint
from weak2wise.config import Config, EngineOptions, GenerationKwargs, Models, OpenAIEndpoint, Params, VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.proof.evaluated import EvaluateSettings
from weak2wise.proof.subject import Subject

URL = "http://127.0.0.1:9/v1"
SETTINGS = EvaluateSettings()


def model_in(folder: Path, weights: bytes = b"weights") -> Path:
    """A folder that looks like a model."""
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def embedded(**keys: object) -> Config:
    """A config whose weak LLM is embedded."""
    weak = VllmEndpoint(model_id="org/weak", **keys)  # type: ignore[arg-type]
    return config_at(URL, endpoints={"weak": weak, "strong-a": endpoint(URL, "strong-a")})


def test_a_folder_runs_as_the_weak_llm_of_the_config_does(tmp_path: Path) -> None:
    """But for what names a state of the weak LLM's own repository."""
    config = embedded(
        dtype="float32",
        max_model_len=512,
        revision="main",
        generation_kwargs=GenerationKwargs(max_new_tokens=100, top_p=0.9),
        engine_args={"block_size": 32, "tokenizer_revision": "main"},
    )
    subject = Subject.of(model_in(tmp_path / "arm"), config, SETTINGS)
    assert isinstance(subject.endpoint, VllmEndpoint)
    assert (subject.name, subject.endpoint.model) == ("arm", str(tmp_path / "arm"))
    assert (subject.endpoint.dtype, subject.endpoint.max_model_len, subject.endpoint.revision) == ("float32", 512, None)
    assert subject.endpoint.engine_args == {"block_size": 32}
    assert subject.endpoint.generation_kwargs == GenerationKwargs(max_new_tokens=100, top_p=0.9)
    assert subject.config.roles() == {"weak": "arm", "strong/arm": "arm"}


@pytest.mark.parametrize("config", [None, config_at(URL)])
def test_a_folder_runs_embedded_also_where_no_config_says_how(tmp_path: Path, config: Config | None) -> None:
    subject = Subject.of(str(model_in(tmp_path / "arm")), config, EvaluateSettings(max_new_tokens=64))
    assert isinstance(subject.endpoint, VllmEndpoint)
    assert subject.endpoint.longest_answer == 64


def test_a_name_is_an_endpoint_before_it_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model_in(tmp_path / "weak")
    assert isinstance(Subject.of("weak", config_at(URL), SETTINGS).endpoint, OpenAIEndpoint)
    folder = Subject.of("./weak", config_at(URL), SETTINGS)
    assert isinstance(folder.endpoint, VllmEndpoint)
    assert folder.name == str(tmp_path / "weak"), "two endpoints must not have one name"


def test_only_the_model_and_the_judge_are_needed() -> None:
    """A strong LLM's key need not be set, and a cap without prices in use is none."""
    priced = endpoint(URL, "strong-a", api_key_env="NOT_SET_HERE", prices={"input": 1, "output": 1})
    config = config_at(
        URL,
        models=Models(mweak="weak", mstrong=("strong-a",), judge="judge", truncation="strong-a"),
        endpoints={"weak": endpoint(URL, "weak"), "strong-a": priced, "judge": endpoint(URL, "judge")},
        params=Params(judge_mode="llm", judge_temperature=0.3),
        engine=EngineOptions(max_cost_usd=1.0),
    )
    alone = Subject.of("weak", config, SETTINGS).config
    assert set(alone.endpoints) == {"weak", "judge"}
    assert (alone.params.judge_mode, alone.params.judge_temperature) == ("llm", 0.3)
    assert alone.engine.max_cost_usd is None
    assert Subject.of("strong-a", config, SETTINGS).config.engine.max_cost_usd == 1.0


def test_weights_are_the_same_wherever_they_are_and_others_are_not(tmp_path: Path) -> None:
    shape = Subject.of(model_in(tmp_path / "a"), None, SETTINGS).shape()
    assert Subject.of(model_in(tmp_path / "b"), None, SETTINGS).shape() == shape
    (tmp_path / "b" / "trained.json").write_text("{}")
    (tmp_path / "b" / ".cache").mkdir()
    assert Subject.of(tmp_path / "b", None, SETTINGS).shape() == shape
    assert Subject.of(model_in(tmp_path / "c", b"other weights"), None, SETTINGS).shape() != shape
    (tmp_path / "b" / "chat_template.jinja").write_text("{{ messages }}")
    assert Subject.of(tmp_path / "b", None, SETTINGS).shape() != shape
    as_endpoint = config_at(
        URL, endpoints={name: VllmEndpoint(model_id=str(tmp_path / "a")) for name in ("weak", "strong-a")}
    )
    assert Subject.of("weak", as_endpoint, SETTINGS).shape() == shape


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for model in (tmp_path / "nothing", tmp_path / "file", tmp_path, "weak"):
        with pytest.raises(ConfigError, match=r"no folder with a model|holds no model"):
            Subject.of(model, None, SETTINGS)


def test_a_model_that_answers_in_batches_can_be_evaluated() -> None:
    config = config_at(URL)
    weak = structs.replace(config.endpoints["weak"], batch={"max_wait": "1s"})
    batched = structs.replace(config, endpoints=dict(config.endpoints) | {"batched": weak})
    assert Subject.of("batched", batched, SETTINGS).endpoint.batched
