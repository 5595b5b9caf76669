"""The keys of ``batch``: what they may be, and where calls cannot be batched."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.engine_runs import config_for
from weak2wise.config import Config, OpenAIEndpoint, load_config
from weak2wise.config.batch import Batch
from weak2wise.config.endpoints import decode_endpoint
from weak2wise.errors import ConfigError

OPENAI = {"model_id": "m", "base_url": "https://api.openai.com/v1"}


def endpoint(**keys: Any) -> OpenAIEndpoint:
    made = decode_endpoint(OPENAI | keys, "model_endpoints.e")
    assert isinstance(made, OpenAIEndpoint)
    return made


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("200ms", 0.2), ("60s", 60.0), ("10m", 600.0), ("2min", 120.0), ("24h", 86_400.0), ("7d", 604_800.0)],
)
def test_durations_have_units(written: str, seconds: float) -> None:
    assert Batch(poll=written).poll_seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    "wrong", ["", "10", "0s", "-1s", "1 week", "1e9h", 60, True, "9" * 38 + "d", "9" * 50 + "d", "١s"]
)
def test_a_duration_that_is_none_is_refused_by_its_key(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"model_endpoints\.e\.batch\.max_wait: expected a duration such as 200ms"):
        endpoint(batch={"max_wait": wrong})


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"batch": {"max_requests": 0}}, r"model_endpoints\.e\.batch\.max_requests: expected"),
        ({"batch": {"max_requests": 50_001}}, "expected at most 50000"),
        ({"batch": {"pol": "1s"}}, r"batch\.pol: unknown key; did you mean poll"),
        ({"batch": {}, "lane": "flex"}, r"batch: cannot be used with lane"),
        ({"batch": {}, "base_urls": ["https://a.example/v1", "https://b.example/v1"]}, "cannot be used with base_urls"),
        ({"batch": {}, "base_url": "https://api.deepseek.com"}, "has no batch API"),
        ({"batch": {}, "base_url": "https://api.x.ai/v1"}, "providers that have one: openai, dashscope"),
    ],
)
def test_what_cannot_be_batched_is_refused_by_its_key(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        endpoint(**keys)


def test_batches_change_the_price_and_no_answer() -> None:
    plain, batched = endpoint(), endpoint(batch={"poll": "1s"})
    assert batched.answer_settings() == plain.answer_settings()
    assert (plain.expected_factor(off_peak=False), batched.expected_factor(off_peak=False)) == (1.0, 0.5)
    assert endpoint(base_url="https://r.openai.azure.com/openai/v1", batch={}).expected_factor(off_peak=False) == 0.5
    assert endpoint(base_url="http://127.0.0.1:8090/v1", batch={}).expected_factor(off_peak=False) == 1.0


def loaded(tmp_path: Path, name: str, **params: Any) -> Config:
    made = config_for(tmp_path, "http://127.0.0.1:1/v1", **params)
    made["model_endpoints"][name]["batch"] = {}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(made))
    return load_config(tmp_path / "config.yaml")


def test_what_waits_for_one_answer_before_it_asks_for_the_next_is_not_batched(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"models\.judge: every verdict would wait for a batch"):
        loaded(tmp_path, "judge")
    with pytest.raises(ConfigError, match=r"model_endpoints\.weak\.batch: a race waits for one attempt"):
        loaded(tmp_path, "weak")
    with pytest.raises(ConfigError, match=r"model_endpoints\.weak\.batch: params\.scorer my:Scorer may wait"):
        loaded(tmp_path, "weak", scorer="my:Scorer")
    assert loaded(tmp_path, "weak", scoring="exhaustive").endpoints["weak"].batched
    assert loaded(tmp_path, "trunc").endpoints["trunc"].batched
