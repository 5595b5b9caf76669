"""A config made in code: the same checks, in the same words, as one from YAML."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from msgspec import structs

from weak2wise.config import (
    Columns,
    Config,
    Dataset,
    EndpointSettings,
    EngineOptions,
    GenerationKwargs,
    Lanes,
    Models,
    OpenAIEndpoint,
    Params,
    Prices,
    TransformersEndpoint,
    VllmEndpoint,
    check_environment,
    input_of,
    load_config,
    load_work_dir,
)
from weak2wise.config.shape import default_shape, result_shape
from weak2wise.errors import ConfigError

MODELS = Models(mweak="small", mstrong=("big", "other"))
ENDPOINTS: dict[str, EndpointSettings] = {
    "small": VllmEndpoint(model_name="org/Small"),
    "big": OpenAIEndpoint(model_id="big", base_url="https://a.example", api_key_env="KEY_A"),
    "other": OpenAIEndpoint(model_id="other", base_url="https://b.example"),
}


def config(**changes: Any) -> Config:
    given: dict[str, Any] = {"models": MODELS, "endpoints": ENDPOINTS} | changes
    return Config(**given)


def complaint(make: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        make()
    return str(caught.value)


SECTIONS: list[tuple[Callable[[], object], dict[str, Any], str]] = [
    (lambda: Params(n_mask=0), {"params": {"n_mask": 0}}, "params.n_mask: expected int >= 1, found 0"),
    (lambda: Params(beta=7.0), {"params": {"beta": 7.0}}, "params.beta: expected float <= 1.0, found 7.0"),
    (
        lambda: Params(truncation="cut"),  # type: ignore[arg-type]
        {"params": {"truncation": "cut"}},
        "params.truncation: expected one of anchor, rewrite, rule",
    ),
    (
        lambda: Params(outcomes={"length": "maybe"}),  # type: ignore[arg-type]
        {"params": {"outcomes": {"length": "maybe"}}},
        "params.outcomes.length: expected one of retry, accept, fail",
    ),
    (
        lambda: Params(outcomes={"lenght": "retry"}),  # type: ignore[arg-type]
        {"params": {"outcomes": {"lenght": "retry"}}},
        "params.outcomes.lenght: unknown key; did you mean length?",
    ),
    (
        lambda: Models(mweak="small", mstrong=()),
        {"models": {"mweak": "small", "mstrong": []}},
        "models.mstrong: expected array of length >= 1",
    ),
    (lambda: Lanes(filter=0), {"engine": {"lanes": {"filter": 0}}}, "engine.lanes.filter: expected int >= 1, found 0"),
    (lambda: Columns(id=""), {"dataset": {"columns": {"id": ""}}}, "dataset.columns.id: expected str of length >= 1"),
    (
        lambda: EngineOptions(max_cost_usd=0),
        {"engine": {"max_cost_usd": 0}},
        "engine.max_cost_usd: expected float > 0.0, found 0",
    ),
    (
        lambda: Dataset(work_dir="~nobody-here/work"),
        {"dataset": {"work_dir": "~nobody-here/work"}},
        "dataset.work_dir: ~nobody-here/work: there is no such user",
    ),
]


@pytest.mark.parametrize(("make", "raw", "says"), SECTIONS, ids=[says.partition(":")[0] for _, _, says in SECTIONS])
def test_the_same_mistake_gets_the_same_words_from_code_and_from_yaml(
    tmp_path: Path, make: Callable[[], object], raw: dict[str, Any], says: str
) -> None:
    path = tmp_path / "c.yaml"
    endpoints = {
        "small": {"type": "vllm", "model_name": "m"},
        "big": {"model_id": "b", "base_url": "https://a.example"},
    }
    whole = {"models": {"mweak": "small", "mstrong": ["big"]}, "model_endpoints": endpoints}
    path.write_text(yaml.safe_dump(whole | raw))
    assert complaint(make) == says
    assert complaint(lambda: load_config(path, env={})) == f"{path}: {says}"


OF_ENDPOINTS: list[tuple[dict[str, Any], str]] = [
    ({"model_id": "m", "base_url": "a.example"}, ".base_url: expected http:// or https://"),
    ({"model_id": "m", "base_urls": ["https://me:secret@a.example"]}, ".base_urls[0]: expected http:// or https://"),
    ({"base_url": "https://a.example"}, ".model_id: missing; it names the model"),
    ({"model_id": "m", "api_key_env": "sk-1"}, ".api_key_env: expected the name of an environment variable, not"),
    ({"model_id": "m", "headers": {"X-Api-Key": "x"}}, ".headers.X-Api-Key: expected $NAME of an environment variable"),
    ({"model_id": "m", "prices": {"input": -1}}, ".prices.input: expected float >= 0.0, found -1"),
    ({"model_id": "m", "generation_kwargs": {"topp": 1}}, ".generation_kwargs.topp: unknown key; did you mean top_p?"),
]


@pytest.mark.parametrize(("given", "says"), OF_ENDPOINTS, ids=[says.partition(":")[0] for _, says in OF_ENDPOINTS])
def test_an_endpoint_checks_itself_and_the_config_says_which_it_is(given: dict[str, Any], says: str) -> None:
    """Made by itself it does not know its name yet."""
    assert complaint(lambda: OpenAIEndpoint(**given)).startswith(f"model_endpoints.*{says}")
    assert complaint(lambda: config(endpoints=ENDPOINTS | {"big": given})).startswith(f"model_endpoints.big{says}")


def test_a_nested_section_names_its_key_where_it_is_made() -> None:
    assert complaint(lambda: Prices(input=-1)).startswith("model_endpoints.*.prices.input: ")
    assert complaint(lambda: GenerationKwargs(top_p=0)).startswith("model_endpoints.*.generation_kwargs.top_p: ")


def test_an_endpoint_holds_only_what_yaml_can() -> None:
    """It is written into the manifest and into the journal's keys."""
    says = complaint(lambda: VllmEndpoint(model_name="m", engine_args={"seed": 1j}))
    assert says.startswith("model_endpoints.*.engine_args: expected a value that YAML can hold")


def test_values_are_kept_as_their_types_have_them() -> None:
    models = Models(mweak="w", mstrong=["a", "b"])  # type: ignore[arg-type]
    assert models.mstrong == ("a", "b")
    timeout = OpenAIEndpoint(model_id="m", request_timeout=60).request_timeout
    assert (timeout, type(timeout)) == (60.0, float)
    assert config(params={"n_mask": 8}).params == Params(n_mask=8), "a section may be given as a mapping"
    assert config().endpoints["big"] is ENDPOINTS["big"]


def test_a_changed_copy_is_checked_too() -> None:
    assert complaint(lambda: structs.replace(Params(), n_mask=0)) == "params.n_mask: expected int >= 1, found 0"
    nobody = Models(mweak="nobody", mstrong=("big",))
    assert "no endpoint 'nobody'" in complaint(lambda: structs.replace(config(), models=nobody))


CROSSING: list[tuple[dict[str, Any], str]] = [
    (
        {"models": Models(mweak="small", mstrong=("bigg",))},
        "models.mstrong: no endpoint 'bigg' in model_endpoints; did",
    ),
    ({"models": Models(mweak="small", mstrong=("big", "big"))}, "models.mstrong: an endpoint is named twice"),
    ({"params": Params(judge_mode="llm")}, "models.judge: missing; params.judge_mode is llm"),
    ({"params": Params(truncation="rewrite")}, "models.truncation: missing; params.truncation is rewrite"),
    ({"params": Params(min_candidates=7)}, "params.min_candidates: expected at most 6, the number of traces"),
    ({"engine": EngineOptions(max_cost_usd=1)}, "engine.max_cost_usd: no endpoint in use has a price"),
    ({"endpoints": 3}, "model_endpoints: expected a mapping of endpoint names"),
    ({"endpoints": {"big": 3}}, "model_endpoints.big: expected a mapping"),
]


@pytest.mark.parametrize(("changes", "says"), CROSSING)
def test_what_does_not_go_together_is_no_config(changes: dict[str, Any], says: str) -> None:
    assert complaint(lambda: config(**changes)).startswith(says)


def test_endpoints_of_one_limit_group_agree_in_code_as_well() -> None:
    one = OpenAIEndpoint(model_id="m", limit_group="g", max_concurrent_requests=8)
    two = structs.replace(one, max_concurrent_requests=9)
    assert config(endpoints=ENDPOINTS | {"big": one, "other": one})
    says = complaint(lambda: config(endpoints=ENDPOINTS | {"big": one, "other": two}))
    assert (
        says == "model_endpoints.other.max_concurrent_requests: expected the same as for big; both are in limit_group g"
    )


def test_a_price_is_what_a_limit_on_costs_needs() -> None:
    priced = OpenAIEndpoint(model_id="m", prices=Prices(output=2))
    assert config(endpoints=ENDPOINTS | {"big": priced}, engine=EngineOptions(max_cost_usd=1))
    assert priced.cost(1_000_000, 0, 500_000) == 1.0
    assert [ENDPOINTS[name].cost(1, 1, 1) for name in ("small", "other")] == [None, None]


def test_the_environment_is_checked_apart_from_the_config() -> None:
    made = config()
    check_environment(made, {"KEY_A": "secret"})
    key = "model_endpoints.big.api_key_env: environment variable KEY_A"
    assert complaint(lambda: check_environment(made, {})) == f"{key} is not set"
    assert complaint(lambda: check_environment(made, {"KEY_A": "secret\r"})).startswith(f"{key} holds a line break")


def test_an_endpoint_that_plays_no_role_needs_no_key() -> None:
    check_environment(config(models=Models(mweak="small", mstrong=("other",))), {})


def test_paths_in_the_home_folder_are_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    dataset = Dataset(input_path="~/in.jsonl", work_dir="~/work", finetune_out="~/out", decontaminate=("~/a", "b"))
    assert (dataset.input_path, dataset.work_dir) == ("/home/me/in.jsonl", "/home/me/work")
    assert (dataset.finetune_out, dataset.decontaminate) == ("/home/me/out", ("/home/me/a", "b"))
    assert TransformersEndpoint(model_id="~/models/small").model == "/home/me/models/small"
    assert OpenAIEndpoint(model_id="~/m").model == "~/m", "the provider's name for it, no path"


def test_the_input_may_be_left_out_until_it_is_needed() -> None:
    """Questions may be handed over in code."""
    assert config().dataset.input_path is None
    assert complaint(lambda: input_of(config())).startswith("dataset.input_path: missing")
    assert input_of(config(dataset=Dataset(input_path="in.jsonl"))) == Path("in.jsonl")


def test_a_work_dir_is_found_without_keys_and_models(tmp_path: Path) -> None:
    """A run can be looked at where its models and keys are not."""
    path = tmp_path / "c.yaml"
    path.write_text("models: {mweak: nobody}\ndataset: {work_dir: runs/a}\n")
    assert load_work_dir(path) == Path("runs/a")
    path.write_text("dataset: {work_dri: runs/a}\n")
    assert complaint(lambda: load_work_dir(path)) == f"{path}: dataset.work_dri: unknown key; did you mean work_dir?"


def test_every_kind_of_endpoint_knows_its_type_and_its_longest_answer() -> None:
    kinds = [OpenAIEndpoint(model_id="m"), VllmEndpoint(model_id="m"), TransformersEndpoint(model_id="m")]
    assert [kind.type for kind in kinds] == ["openai", "vllm", "transformers"]
    assert [kind.longest_answer for kind in kinds] == [8192, 8192, 8192]
    assert OpenAIEndpoint(model_id="m", max_tokens=5).longest_answer == 5
    most = GenerationKwargs(max_new_tokens=7)
    assert OpenAIEndpoint(model_id="m", max_tokens=5, generation_kwargs=most).longest_answer == 7
    assert VllmEndpoint(model_id="m", generation_kwargs=most).longest_answer == 7


def test_every_parameter_is_in_the_shape_and_has_a_default_there() -> None:
    shape = result_shape(config(params=Params(n_mask=8)), {})
    defaults = default_shape()
    assert {key for key in shape if key.startswith(("params.", "dataset.columns."))} == set(defaults)
    assert {key for key in defaults if shape[key] != defaults[key]} == {"params.n_mask"}
    assert msgspec.json.decode(msgspec.json.encode(shape)) == shape
