"""The examples of docs/extending.md, run as they are printed there."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

import weak2wise
from tests.api.runs import config_at, questions
from tests.engine_runs import ROOT
from tests.loopback import Request, answer_to, serve

PAGE = (ROOT / "docs" / "extending.md").read_text()


def examples() -> dict[str, str]:
    """The page's modules by file name."""
    blocks = re.findall(r"```python\n# (\S+\.py)\n(.*?)```", PAGE, re.DOTALL)
    return dict(blocks)


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the modules of the page in it."""
    for name, source in examples().items():
        path = tmp_path / name.replace("my_lab/", "page_lab/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@asynccontextmanager
async def ollama() -> AsyncIterator[tuple[str, list[int]]]:
    """A server that speaks as Ollama does; yields its URL and the statuses that it answers with first."""
    statuses: list[int] = []

    async def chat(http: web.BaseRequest) -> web.Response:
        if statuses:
            return web.Response(status=statuses.pop())
        body: dict[str, Any] = await http.json()
        assert (http.path, body["stream"]) == ("/api/chat", False)
        asked = {"model": body["model"], "messages": body["messages"]} | body["options"]
        answer = answer_to(msgspec.convert(asked, Request))
        return web.json_response(
            {
                "message": {"role": "assistant", "content": answer.content},
                "done_reason": answer.finish_reason,
                "prompt_eval_count": answer.prompt_tokens,
                "eval_count": answer.completion_tokens,
            }
        )

    http = web.Server(chat)
    listener = await asyncio.get_running_loop().create_server(http, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", statuses
    finally:
        listener.close()
        await http.shutdown(0.01)


def test_the_page_has_both_examples_and_neither_is_long() -> None:
    assert set(examples()) == {"my_lab/scores.py", "my_lab/endpoints.py"}
    assert all(len(source.splitlines()) <= 42 for source in examples().values())


@pytest.mark.slow
async def test_both_examples_work_in_a_real_run(my_lab: Path) -> None:
    """The endpoint is refused once for being too fast and once by a fault of the server; both are tried again."""
    scorer, kind = "page_lab.scores:HalfHint", "page_lab.endpoints:Ollama"
    async with serve() as server, ollama() as (url, statuses):
        statuses += [500, 429]
        remote = config_at(server.base_url).endpoints["weak"]
        settings = {"type": kind, "model_id": "strong-d", "url": url}
        config = config_at(
            server.base_url,
            endpoints={"weak": remote, "strong-a": settings},
            params=weak2wise.Params(skip_filter=True, judge_mode="rule", scorer=scorer, samples_per_model=2),
        )
        run = await weak2wise.asynthesize(questions(3), config, work_dir=my_lab / "work")
    assert run.totals.emitted == 3
    assert run.settings["params.scorer.version"] == "1"
    assert run.settings["model_endpoints.strong-a.type"] == kind
    assert "model_endpoints.strong-a.url" not in run.settings
    scores = [score for scored in run.scores() for score in scored.scores]
    assert len(scores) == 6
    assert all(isinstance(score.evidence, dict) and score.score == score.evidence["right"] / 2 for score in scores)
    assert run.summary.this_start is not None
    used = {use.endpoint: use for use in run.summary.this_start.endpoints}["strong-a"]
    assert (used.answered, used.faults) == (used.sent - 2, {"rate_limited": 1, "server_error": 1})
