"""Config files: the reference's loads unchanged, and every mistake is told in one line with its key."""

from pathlib import Path
from typing import Any

import pytest

from weak2wise.config import Config, OpenAIEndpoint, VllmEndpoint, load_config
from weak2wise.config.shape import result_shape
from weak2wise.errors import ConfigError
from workers.prompts import Prompts

ENV = {"KEY_A": "secret-a", "KEY_B": "secret-b"}
REFERENCE_STYLE = r"""
models:
  mweak: "Small-1.5B"
  mstrong:
    - "strong-a"
    - "strong-b"
  judge: "checker"
  truncation: "checker"
model_endpoints:
  strong-a:
    type: "openai"
    model_id: "reasoner"
    base_url: "https://a.example"
    api_key_env: "KEY_A"
  strong-b:
    model_id: "thinker"
    base_url: "https://b.example/v1"
    api_key_env: "KEY_B"
  checker:
    type: "openai"
    model_id: "chat"
    base_url: "https://a.example"
    api_key_env: "KEY_A"
  Small-1.5B:
    type: "transformers"
    model_name: "org/Small-1.5B"
    device: "cuda"
    tokenizer_kwargs: {}
    generation_kwargs:
      max_new_tokens: 8192
      do_sample: False
      temperature: 0.6
params:
  skip_filter: False
  samples_per_model: 3
  gen_temperature: 0.6
  n_mask: 6
  beta: 0.5
  majority: 1
  judge_temperature: 0.1
  trunc_temp: 0.1
dataset:
  input_path: "data/qa_input.jsonl"
  work_dir: "data/work"
  finetune_out: "data/out.jsonl"
prompts:
  cgen: "Reason in steps with '##' subtitles; box it as \\boxed{}."
  pqr: |
    {question}
    {step_reasoning}
    Use \boxed{{}}.
  pjudge: "{question} {attempt} {answer}"
  ptrunc: "{normal_reasoning} {answer}"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(REFERENCE_STYLE)
    return path


def load(file: Path, *overrides: str) -> Config:
    return load_config(file, overrides, ENV)


def test_a_config_in_the_references_schema_loads_unchanged(file: Path) -> None:
    config = load(file)
    weak = config.endpoints["Small-1.5B"]
    assert isinstance(weak, VllmEndpoint)
    assert weak.model == "org/Small-1.5B"
    assert not weak.generation_kwargs.do_sample
    assert isinstance(config.endpoints["strong-b"], OpenAIEndpoint), "the reference's default type is openai"
    assert config.params.ew_normalization == "reference"
    assert config.roles() == {
        "weak": "Small-1.5B",
        "strong/strong-a": "strong-a",
        "strong/strong-b": "strong-b",
        "judge": "checker",
        "truncation": "checker",
    }
    prompts = Prompts.of(config.prompts)
    assert prompts.cgen.endswith(r"\boxed{}."), "cgen has no placeholders and is sent as it stands"
    assert prompts.guided("Q {x}", "H") == "Q {x}\nH\nUse \\boxed{}.\n"


def test_set_overrides_any_key_also_below_a_name_with_dots(file: Path) -> None:
    config = load(file, "params.n_mask=8", "model_endpoints.Small-1.5B.max_num_seqs=4", "models.mstrong=[strong-a]")
    weak = config.endpoints["Small-1.5B"]
    assert config.params.n_mask == 8
    assert isinstance(weak, VllmEndpoint)
    assert weak.max_num_seqs == 4
    assert config.models.mstrong == ("strong-a",)


def test_set_adds_to_a_section_with_nothing_in_it(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(REFERENCE_STYLE.partition("params:")[0] + "params:\ndataset: {input_path: x}\n")
    assert load(tmp_path / "c.yaml", "params.n_mask=8").params.n_mask == 8


def test_the_home_folder_may_be_written_as_in_a_shell(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    config = load(
        file,
        "dataset={input_path: ~/in.jsonl, work_dir: ~/work, finetune_out: ~/out.jsonl, decontaminate: [~/set.jsonl]}",
        "model_endpoints.Small-1.5B.model_name=~/models/small",
    )
    dataset = config.dataset
    assert (dataset.input_path, dataset.work_dir) == ("/home/me/in.jsonl", "/home/me/work")
    assert (dataset.finetune_out, dataset.decontaminate) == ("/home/me/out.jsonl", ("/home/me/set.jsonl",))
    assert config.endpoints["Small-1.5B"].model == "/home/me/models/small"


@pytest.mark.parametrize("key", ["secret\r", "secret\n", " secret", "sec\x1bret"])
@pytest.mark.parametrize("use", ["api_key_env=ODD", "headers={X-Key: $ODD}"])
def test_a_key_that_no_header_can_carry_is_refused_by_its_variables_name(file: Path, use: str, key: str) -> None:
    with pytest.raises(ConfigError, match="environment variable ODD holds a line break") as caught:
        load_config(file, [f"model_endpoints.strong-a.{use}"], ENV | {"ODD": key})
    assert "sec" not in str(caught.value)


@pytest.mark.parametrize(
    ("endpoint", "variables"),
    [
        ({}, {"Authorization": "OPENAI_API_KEY"}),
        ({"base_url": "https://api.openai.com"}, {"Authorization": "OPENAI_API_KEY"}),
        ({"base_url": "https://api.openai.com.example/v1"}, {}),
        ({"base_url": "https://proxy.example/api.openai.com"}, {}),
        ({"base_urls": ("https://a.example",)}, {}),
        ({"base_urls": ("https://a.example",), "api_key_env": "A"}, {"Authorization": "A"}),
        ({"headers": {"authorization": "$B", "X-Team": "us"}}, {"authorization": "B"}),
        ({"api_key_env": "A", "headers": {"X-Team": "$TEAM"}}, {"X-Team": "TEAM", "Authorization": "A"}),
    ],
)
def test_an_endpoint_knows_which_variables_hold_its_secrets(
    endpoint: dict[str, Any], variables: dict[str, str]
) -> None:
    """A key is for its own provider alone."""
    assert OpenAIEndpoint(model_id="m", **endpoint).secrets() == variables


def test_a_proxy_with_openai_in_its_name_needs_no_key_of_openai_s(file: Path) -> None:
    assert load_config(
        file,
        ["model_endpoints.new={model_id: m, base_url: 'https://proxy.example/api.openai.com'}", "models.judge=new"],
        ENV | {"OPENAI_API_KEY": "odd\n"},
    )


@pytest.mark.parametrize(
    "given",
    [
        "engine_args={generation_config: vllm}",
        "engine_args={hf_overrides: {rope_theta: 5.0}}",
        "engine_args={seed: 7}",
        "engine_args={dtype: float32}",
        "tokenizer_kwargs={trust_remote_code: true}",
        "trust_remote_code=true",
    ],
)
def test_what_shapes_a_local_models_answers_is_another_setting(file: Path, given: str) -> None:
    """In the manifest and in the journal's key; what only says where and how fast it runs is in neither."""

    def shape(*overrides: str) -> tuple[dict[str, str], dict[str, Any]]:
        config = load(file, *(f"model_endpoints.Small-1.5B.{override}" for override in overrides))
        return result_shape(config, {}), config.endpoints["Small-1.5B"].answer_settings()

    before = shape()
    assert all(now != then for now, then in zip(shape(given), before, strict=True))
    assert shape("engine_args={block_size: 32, swap_space: 1}", "max_num_seqs=4") == before


def test_the_temperature_that_nobody_looks_at_is_no_setting(file: Path) -> None:
    for name in ("Small-1.5B", "strong-a"):
        shapes = []
        for temperature in ("0.1", "0.9"):
            config = load(file, f"model_endpoints.{name}.generation_kwargs.temperature={temperature}")
            shapes.append((result_shape(config, {}), config.endpoints[name].answer_settings()))
        assert shapes[0] == shapes[1]


MISTAKES = [
    ("params.n_msk=1", "params.n_msk: unknown key; did you mean n_mask?"),
    ("nonsense=1", "nonsense: unknown key; known here: "),
    ("params.n_mask=0", "params.n_mask: expected int >= 1, found 0"),
    ("params.n_mask=six", "params.n_mask: expected int, got str"),
    ("params.beta=1.5", "params.beta: expected float <= 1.0, found 1.5"),
    ("params.min_candidates=9", "params.min_candidates: expected at most 6, the number of traces of a question"),
    ("params.outcomes.length=maybe", "params.outcomes.length: expected one of retry, accept, fail"),
    ("params.truncation=cut", "params.truncation: expected one of anchor, rewrite, rule"),
    ("models.judge=nobody", "models.judge: no endpoint 'nobody' in model_endpoints"),
    ("models.mstrong=[]", "models.mstrong: expected array of length >= 1"),
    ("models.mstrong=[strong-a, strong-a]", "models.mstrong: an endpoint is named twice"),
    ("model_endpoints.strong-a.max_retries=many", "model_endpoints.strong-a.max_retries: expected int, got str"),
    ("model_endpoints.strong-a.type=grpc", "model_endpoints.strong-a.type: expected one of openai, vllm, transformers"),
    ("model_endpoints.strong-a.base_url=a.example", "model_endpoints.strong-a.base_url: expected http:// or https://"),
    ("model_endpoints.strong-a.api_key_env=UNSET", "api_key_env: environment variable UNSET is not set"),
    ("model_endpoints.strong-a.api_key_env=sk-1234", "expected the name of an environment variable, not a key itself"),
    ("model_endpoints.strong-a.headers={Authorization: Bearer x}", "headers.Authorization: expected $NAME of an"),
    ("model_endpoints.strong-a.headers={X-Api-Key: x}", "headers.X-Api-Key: expected $NAME of an environment variable"),
    ("model_endpoints.strong-a.base_url=https://me:secret@a.example", "base_url: expected http:// or https://"),
    (
        "model_endpoints.strong-a.base_urls=['https://a.example?key=secret']",
        "base_urls: expected no key in the address (its parameter key)",
    ),
    ("model_endpoints.strong-a.prices={input: -1}", "prices.input: expected float >= 0.0, found -1"),
    ("engine.max_cost_usd=5", "engine.max_cost_usd: no endpoint in use has a price"),
    ("model_endpoints.strong-a.headers={X: $UNSET}", "headers.X: environment variable UNSET is not set"),
    ("model_endpoints.Small-1.5B.generation_kwargs.topp=1", "generation_kwargs.topp: unknown key; did you mean top_p?"),
    ("model_endpoints.new.base_url=https://c.example", "model_endpoints.new.model_id: missing"),
    ("dataset.input_path=3", "dataset.input_path: expected str | null, got int, found 3"),
    ("models={}", "models: missing key mweak"),
    ("model_endpoints.strong-a.headers={3: x}", "strong-a.headers: each key in it: expected str, got int"),
    ("params=3", "params: expected object, got int"),
    ("params.n_mask", "--set params.n_mask: expected key.path=value"),
    ("dataset.input_path=~nobody-here/in.jsonl", "dataset.input_path: ~nobody-here/in.jsonl: there is no such user"),
    ("models.judge.deep=1", "--set models.judge.deep: judge is not a mapping"),
]


@pytest.mark.parametrize(("override", "complaint"), MISTAKES)
def test_a_mistake_is_named_with_its_key_and_what_was_expected(file: Path, override: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, override)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "complaint"),
    [
        ("pqr='{question} only'", "prompts.pqr: the placeholder {step_reasoning} is missing"),
        ("pqr='{question} {step_reasoning} {hint}'", "prompts.pqr: unknown placeholder {hint}"),
        (r"pqr='{question} {step_reasoning} \boxed{}'", "prompts.pqr: unknown placeholder {}"),
        ("pjudge='{question} {attempt} {answer'", "prompts.pjudge: "),
    ],
)
def test_a_prompt_without_its_placeholders_is_refused(file: Path, prompt: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Prompts.of(load(file, f"prompts.{prompt}").prompts)
    assert complaint in str(caught.value)


def test_a_key_pasted_in_place_of_its_variables_name_is_not_echoed(file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(file, "model_endpoints.strong-a.api_key_env=sk-very-secret")
    assert "sk-very-secret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: [", "line 1 is not valid YAML"),
        ("a: " + "[" * 5000, "is not valid YAML: nested too deeply"),
        ("params:\n  beta: 0.5\n  beta: 0.7", "line 3 is not valid YAML: beta is given twice, first in line 2"),
        ("just text", "expected a mapping"),
        ("", "expected a mapping"),
        ("models: {}", "missing"),
    ],
)
def test_a_file_that_is_no_config_is_told_so(tmp_path: Path, text: str, complaint: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        load(path)


def test_a_missing_file_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "none.yaml")


def test_a_key_given_where_its_variable_s_name_belongs_is_not_repeated(file: Path) -> None:
    for secret in ("sk-12345678", "a1b2c3d4e5f6"):
        with pytest.raises(ConfigError) as caught:
            load(file, f"model_endpoints.strong-a.api_key_env={secret}")
        assert secret not in str(caught.value)


def test_endpoints_of_one_limit_group_agree_on_their_limits(file: Path) -> None:
    group = [f"model_endpoints.{name}.limit_group=a" for name in ("strong-a", "checker")]
    load(file, *group)
    with pytest.raises(ConfigError, match="max_requests_per_minute: expected the same as for strong-a"):
        load(file, *group, "model_endpoints.checker.max_requests_per_minute=60")
