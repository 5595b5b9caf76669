"""What makes an engine's answers repeat exactly: its runner and sampler, and vLLM's batch-invariant mode."""

import os
from importlib import import_module
from typing import Any

import pytest

from scripts.bench_invariance import active
from tests.vllm.engines import model_folder
from weak2wise.config import VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.vllm.engine_log import EngineLog

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]


class Platform:
    """A machine with one NVIDIA GPU, or a CPU alone."""

    def __init__(self, capability: int | None) -> None:
        self._capability = capability

    def is_cpu(self) -> bool:
        return self._capability is None

    def is_cuda(self) -> bool:
        return self._capability is not None

    def has_device_capability(self, least: int) -> bool:
        return self._capability is not None and self._capability >= least


@pytest.fixture
def arguments(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, and the variable as it was when the test is over."""
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "0")
    return import_module("weak2wise.llm.vllm.arguments")


def test_the_runner_and_the_sampler_that_are_active() -> None:
    """On the CPU: model runner V1, and vLLM's sampler with a stream of random numbers for each request's seed."""
    engine_log = EngineLog(None)
    module = import_module("weak2wise.llm.vllm.engine")
    endpoint = VllmEndpoint(model_id=model_folder(), max_model_len=2048)
    try:
        args = module.engine_arguments("weak", endpoint, engine_log)
        config = args.create_engine_config(module.UsageContext.LLM_CLASS)
    finally:
        engine_log.close()
    if import_module("vllm.platforms").current_platform.is_cpu():
        assert active(config) == {"runner": "V1", "sampler": "forward_cpu"}
    else:  # both of these heed seeds; what else there is has to be looked at first
        assert active(config)["sampler"] in {"forward_native", "forward_cuda"}


@pytest.mark.parametrize(
    ("capability", "said"),
    [(None, "here vLLM runs on a CPU"), (75, "this GPU is older")],
)
def test_batch_invariant_mode_is_refused_where_vllm_has_none(
    arguments: Any, monkeypatch: pytest.MonkeyPatch, capability: int | None, said: str
) -> None:
    monkeypatch.setattr(arguments, "current_platform", Platform(capability))
    endpoint = VllmEndpoint(model_id="m", batch_invariant=True)
    with pytest.raises(ConfigError, match=rf"model_endpoints\.weak\.batch_invariant: .*8\.0 .*{said}; leave it out"):
        arguments.set_batch_invariance("weak", endpoint)
    assert os.environ["VLLM_BATCH_INVARIANT"] == "0"
    monkeypatch.setenv("VLLM_BATCH_INVARIANT", "1")
    with pytest.raises(ConfigError, match=r"^VLLM_BATCH_INVARIANT: "):
        arguments.set_batch_invariance("weak", VllmEndpoint(model_id="m"))


def test_batch_invariant_mode_is_on_for_engines_that_ask_for_it(
    arguments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "current_platform", Platform(90))
    arguments.set_batch_invariance("weak", VllmEndpoint(model_id="m"))
    assert os.environ["VLLM_BATCH_INVARIANT"] == "0"
    arguments.set_batch_invariance("weak", VllmEndpoint(model_id="m", batch_invariant=True))
    assert import_module("vllm.envs").VLLM_BATCH_INVARIANT


def test_an_engine_is_not_started_where_the_mode_it_asks_for_cannot_be_had(
    arguments: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arguments, "current_platform", Platform(None))
    engine_log = EngineLog(None)
    endpoint = VllmEndpoint(model_id=model_folder(), batch_invariant=True)
    launched: list[bool] = []
    try:
        with pytest.raises(ConfigError, match="batch_invariant"):
            import_module("weak2wise.llm.vllm.engine").open_engine(
                "weak", endpoint, engine_log, lambda: launched.append(True)
            )
    finally:
        engine_log.close()
    assert not launched
