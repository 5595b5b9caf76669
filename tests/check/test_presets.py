"""What ``init`` writes is accepted where a server refuses what the provider does; ``check`` says what has changed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec import structs

from tests.finished_run import command
from weak2wise.check.provider_notes import provider_notes
from weak2wise.config import Config, load_config
from weak2wise.presets import STALE_DAYS, Preset, presets

Body = dict[str, Any]


def _openai(body: Body) -> str | None:
    if "max_tokens" in body:
        return "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
    if "temperature" in body and body.get("reasoning_effort") != "none":
        return "Unsupported value: 'temperature' does not support 0.6 with this model."
    return None


def _dashscope(body: Body) -> str | None:
    if body.get("enable_thinking", True) and not body.get("stream"):
        return "parameter.enable_thinking only support stream call"
    return None


def _moonshot(body: Body) -> str | None:
    return "invalid temperature: only 1 is allowed for this model" if body.get("temperature", 1) != 1 else None


def _mistral(body: Body) -> str | None:
    return "Extra inputs are not permitted: seed" if "seed" in body else None


def _gemini(body: Body) -> str | None:
    sampling = "temperature" in body and "flash" in body["model"]
    return "Unsupported parameter: temperature" if sampling else None


REFUSALS: dict[str, Callable[[Body], str | None]] = {
    "openai": _openai,
    "dashscope": _dashscope,
    "moonshot": _moonshot,
    "mistral": _mistral,
    "gemini": _gemini,
}
"""Why a provider would answer a request with a 400; the others refuse nothing that we send."""


class Provider:
    """A server that refuses what a provider refuses, and has only the models that it is given."""

    def __init__(self) -> None:
        self.refuses: Callable[[Body], str | None] = lambda _body: None
        self.models: dict[str, str | None] = {}
        self.asked: list[Body] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.base_url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> str:
        app = web.Application()
        app.add_routes([web.post("/v1/chat/completions", self._chat), web.get("/v1/models", self._list)])
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        if body["model"] not in self.models:
            return web.json_response({"error": {"message": "no such model", "code": "model_not_found"}}, status=404)
        if body["model"] != "m" and (why := self.refuses(body)):
            return web.json_response({"error": {"message": why, "type": "invalid_request_error"}}, status=400)
        usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
        message = {"role": "assistant", "content": "5", "reasoning_content": "2 + 3 = 5"}
        if not body.get("stream"):
            return web.json_response({"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage})
        chunk = {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}], "usage": usage}
        text = f"data: {web.json_response(chunk).text}\n\ndata: [DONE]\n\n"
        return web.Response(text=text, content_type="text/event-stream")

    async def _list(self, _request: web.Request) -> web.Response:
        data = [{"id": name, "shutdown_date": ends} for name, ends in self.models.items()]
        return web.json_response({"object": "list", "data": data})

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.refuses = lambda _body: None
    running.models, running.asked = {"m": None}, []
    return running


def check_args(tmp_path: Path, provider: Provider, *overrides: str) -> list[str]:
    (tmp_path / "in.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    weak = f"{{type: openai, model_id: m, base_url: '{provider.base_url}'}}"
    own = (
        f"model_endpoints.weak={weak}",
        f"dataset.input_path={tmp_path / 'in.jsonl'}",
        f"dataset.work_dir={tmp_path / 'work'}",
        f"dataset.finetune_out={tmp_path / 'out.jsonl'}",
    )
    sets = [part for override in (*own, *overrides) for part in ("--set", override)]
    return ["check", "--config", str(tmp_path / "config.yaml"), *sets]


def written(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, provider: Provider) -> Preset:
    """The preset's config; its provider is the server here."""
    preset = presets()[name]
    if preset.key:
        monkeypatch.setenv(preset.key, "k-0123456789")
    here = structs.replace(preset, base_url=provider.base_url)
    monkeypatch.setitem(presets(), name, here)
    assert command("init", name, "--out", tmp_path / "config.yaml") == 0
    provider.models = dict.fromkeys(("m", preset.strong.model, preset.helper.model))
    return here


@pytest.mark.parametrize("name", list(presets()))
def test_check_accepts_a_preset_where_a_server_refuses_what_the_provider_refuses(
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    provider: Provider,
    capsys: pytest.CaptureFixture[str],
) -> None:
    preset = written(tmp_path, name, monkeypatch, provider)
    provider.refuses = REFUSALS.get(name, lambda _body: None)
    assert command(*check_args(tmp_path, provider)) == 0
    shown = capsys.readouterr().out
    asked = {body["model"]: body for body in provider.asked}
    assert set(asked) == {"m", preset.strong.model, preset.helper.model}
    for model in (preset.strong, preset.helper):
        assert model.body.items() <= asked[model.model].items()
        assert not set(model.refuses) & set(asked[model.model])
        assert all(fact in shown for fact in model.unverified)
    limits = ("max_tokens", "max_completion_tokens")
    caps = [asked[preset.helper.model][limit] for limit in limits if limit in asked[preset.helper.model]]
    assert caps
    assert all(cap <= 4096 for cap in caps) or preset.helper.model == preset.strong.model


def test_each_refusal_would_fail_a_config_that_knows_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider
) -> None:
    for name, refuses in REFUSALS.items():
        preset = presets()[name]
        (tmp_path / name).mkdir()
        written(tmp_path / name, name, monkeypatch, provider)
        known = preset.strong if name != "gemini" else preset.helper
        endpoint = "strong" if name != "gemini" else "helper"
        provider.refuses = refuses
        plain = f"{{type: openai, base_url: '{provider.base_url}', model_id: {known.model}}}"
        args = check_args(tmp_path / name, provider, f"model_endpoints.{endpoint}={plain}")
        assert command(*args) == 1, name


def test_check_names_what_a_provider_offers_in_place_of_a_model_that_it_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "deepseek", monkeypatch, provider)
    assert command(*check_args(tmp_path, provider, "model_endpoints.strong.model_id=deepseek-v3-pro")) == 1
    shown = capsys.readouterr().out
    assert "It has no deepseek-v3-pro; it offers 3 models, such as deepseek-v4-pro" in shown


def test_check_warns_of_a_model_that_its_provider_says_will_be_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = written(tmp_path, "openai", monkeypatch, provider)
    provider.models[preset.strong.model] = "2999-01-31"
    assert command(*check_args(tmp_path, provider)) == 0
    assert f"its own list says that {preset.strong.model} is switched off on 2999-01-31" in capsys.readouterr().out


def config_of(tmp_path: Path, name: str, **strong: Any) -> tuple[Config, Preset]:
    preset = presets()[name]
    assert command("init", name, "--out", tmp_path / "config.yaml") == 0
    config = load_config(tmp_path / "config.yaml", env={preset.key: "k"} if preset.key else {})
    endpoints = config.endpoints | {"strong": structs.replace(config.endpoints["strong"], **strong)}
    return structs.replace(config, endpoints=endpoints), preset


@pytest.mark.parametrize(
    ("name", "changes", "days", "says"),
    [
        ("deepseek", {"model_id": "deepseek-reasoner"}, 0, "deepseek-reasoner was switched off on 2026-07-24"),
        ("openai", {"model_id": "gpt-4.1"}, 0, "gpt-4.1 is switched off on 2027-01-14"),
        ("openai", {"extra_body": {}}, 0, "refuses temperature: set model_endpoints.strong.extra_body"),
        ("openai", {"extra_body": {}}, 0, "refuses max_tokens and max_completion_tokens takes its place"),
        ("deepseek", {}, 0, "ignores temperature while it thinks, so params.gen_temperature has no effect"),
        ("dashscope", {"stream": False}, 0, "set model_endpoints.strong.stream: true"),
        ("deepseek", {}, STALE_DAYS + 1, "prices are of 2026-11-26: look them up again"),
        ("together", {"prices": {}}, 0, "no prices are set, so its calls count as free"),
        ("zhipu", {}, 0, "not verified on 2026-11-26: the name of the key's variable"),
    ],
)
def test_check_says_what_is_known_of_a_model(
    tmp_path: Path, name: str, changes: dict[str, Any], days: int, says: str
) -> None:
    config, preset = config_of(tmp_path, name, **changes)
    notes = list(provider_notes("strong", config, preset.looked_up + timedelta(days=days)))
    assert any(says in note for note in notes), notes


def test_check_has_nothing_to_say_about_a_provider_that_it_does_not_know(tmp_path: Path) -> None:
    config, _ = config_of(tmp_path, "deepseek", base_url="https://llm.example/v1")
    assert list(provider_notes("strong", config, date(2026, 11, 27))) == []
