"""Values that no config can mean: a line that names file and key, and exit code 2; no traceback, no long wait."""

import time
from pathlib import Path

import pytest

from tests.engine_runs import config_for, finish, write_run
from weak2wise.config import load_config
from weak2wise.errors import ConfigError

ODD = (
    *(".inf", "-.inf", ".nan", "1e400", "9" * 30, "1" + "0" * 5000, "!!int x", "!!float x", "!!timestamp x"),
    *("2020-13-45", "2020-01-01", '"a\\0b"', '"\\ud800"', "&x [*x]", "&x {a: *x}", "[]", "{}", "{1: 2}", "{[1]: 2}"),
    *("!!binary aGk=", "!!set {a}", "!!python/object:os.system x", "'" + "a" * 5000 + "'", "'" + "../" * 2000 + "'"),
)
KEYS = (
    *("models", "models.mweak", "models.mstrong", "model_endpoints", "model_endpoints.weak", "dataset"),
    *("dataset.input_path", "dataset.work_dir", "dataset.finetune_out", "dataset.decontaminate"),
    *("dataset.columns.id", "params.n_mask", "params.beta", "params.skip_filter", "params.outcomes", "params.scorer"),
    *("prompts.cgen", "engine.lanes.sft", "engine.fsync_seconds", "engine.max_cost_usd"),
    *(
        f"model_endpoints.weak.{key}"
        for key in (
            *("type", "base_url", "base_urls", "headers", "headers.X", "extra_body", "extra_body.z", "stream"),
            *("max_requests_per_minute", "request_timeout", "max_retries", "prices.input", "generation_kwargs.top_k"),
            *("limit_group", "tokenizer_kwargs", "unknown"),
        )
    ),
)
NUMBERS = {key for key in KEYS if key.rpartition(".")[2] in {"n_mask", "beta", "sft", "fsync_seconds", "max_cost_usd"}}
NUMBERS |= {f"model_endpoints.weak.{key}" for key in ("max_requests_per_minute", "request_timeout", "max_retries")}
NUMBERS |= {"model_endpoints.weak.prices.input"}


@pytest.mark.slow
@pytest.mark.parametrize("key", KEYS)
def test_an_odd_value_is_taken_or_refused_by_a_line(tmp_path: Path, key: str) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    for value in ODD:
        began = time.process_time()
        try:
            load_config(tmp_path / "config.yaml", [f"{key}={value}"], {})
        except ConfigError as error:
            assert key.split(".", maxsplit=1)[0] in str(error), value
        else:
            assert key not in NUMBERS or value not in {".inf", "-.inf", ".nan", "1e400", "9" * 30}, value
        assert time.process_time() - began < 5, value


def _levels(first: str, repeat: str) -> str:
    rows = [f"b0: &b0 {first}"] + [repeat.format(n=n, inner=", ".join([f"*b{n - 1}"] * 10)) for n in range(1, 10)]
    return "{" + ", ".join(rows) + "}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (_levels("[x]", "b{n}: &b{n} [{inner}]"), "more than 100,000 values"),
        (_levels("{a: 1}", "b{n}: &b{n} {{<<: [{inner}]}}"), "more than 100,000 values"),
        ("&x {a: [*x]}", "an alias inside of what it names"),
        ("1" + "0" * 5000, "not a valid int"),
        ("2020-13-45", "not a valid timestamp"),
        ('"a\\0b"', "NUL"),
        ('"\\ud800"', "surrogate"),
        ("[" * 20_000, "nested too deeply"),
    ],
)
def test_a_file_that_is_no_config_is_refused_at_once(tmp_path: Path, value: str, said: str) -> None:
    (tmp_path / "config.yaml").write_text(f"models: {{}}\nextra: {value}\n")
    began = time.process_time()
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(tmp_path / "config.yaml", (), {})
    assert time.process_time() - began < 10
    assert str(caught.value).startswith(str(tmp_path / "config.yaml"))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("model_endpoints.weak.max_requests_per_minute=.inf", "max_requests_per_minute: expected float <= "),
        ("engine.queue_size=99999999999999999999", "engine.queue_size: expected int <= "),
        ("dataset.work_dir='" + "a" * 300 + "'", "dataset.work_dir: too long for a file name"),
        ("dataset.input_path='" + "a/" * 3000 + "'", "dataset.input_path: too long for a file name"),
        ("model_endpoints.weak.extra_body=&x {a: *x}", "the value is not YAML"),
    ],
)
def test_a_command_refuses_it_too_with_exit_code_2_and_no_traceback(tmp_path: Path, setting: str, said: str) -> None:
    write_run(tmp_path, config_for(tmp_path, "http://127.0.0.1:9/v1"), 1)
    for command in ("run", "check"):
        printed = finish(tmp_path, "--set", setting, command=command, code=2)
        assert said in printed
        assert "Traceback" not in printed
