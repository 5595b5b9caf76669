"""An endpoint of somebody else's, named by its import path, goes through every command without a change here."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

import weak2wise
from tests.api.runs import questions
from tests.engine_runs import ROOT, lines
from tests.finished_run import command
from weak2wise.plugins import load_object
from weak2wise.run.engine import Engine
from weak2wise.watch.metrics import metrics
from weak2wise.watch.observer import Observed

MODULE = """\
import asyncio
import msgspec
from tests.loopback import Request, answer_to
from weak2wise import Completion, Endpoint, EndpointSettings, LimitSettings, Load, Usage

opened = []


class Mine(Endpoint):
    version = "1"
    most = 0
    now = 0

    class Settings(EndpointSettings, frozen=True, kw_only=True):
        at_once: int = 3

        @property
        def limits(self):
            return LimitSettings(max_concurrent_requests=self.at_once)

        def cost(self, prompt_tokens, cached_tokens, completion_tokens):
            return completion_tokens / 1000

    async def open(self):
        opened.append(self.name)

    async def complete(self, prompt):
        type(self).now += 1
        type(self).most = max(self.now, self.most)
        await asyncio.sleep(0.005)
        type(self).now -= 1
        asked = msgspec.to_builtins(prompt) | {"model": self.settings.model}
        answer = answer_to(msgspec.convert(asked, Request))
        usage = Usage(prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens)
        return Completion(text=answer.content, reasoning=answer.reasoning, finish_reason="stop", usage=usage)


class Here(Mine):
    embedded = True
    Settings = EndpointSettings

    def load(self):
        return Load(in_flight=self.now, limit=4)
"""


@pytest.fixture
def my_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a module, a config that names its classes, and an input."""
    (tmp_path / "ends_lab").mkdir()
    (tmp_path / "ends_lab" / "ends.py").write_text(MODULE)
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions(4)))
    config: dict[str, Any] = {
        "models": {"mweak": "small", "mstrong": ["big"]},
        "model_endpoints": {
            "small": {"type": "ends_lab.ends:Here", "model_id": "weak"},
            "big": {"type": "ends_lab.ends:Mine", "model_id": "strong-a"},
        },
        "params": {"n_mask": 2, "judge_mode": "rule", "samples_per_model": 1, "skip_filter": True},
        "dataset": {"input_path": "in.jsonl", "work_dir": "work"},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "ends_lab"]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


def weak2wise_command(*arguments: str, code: int = 0) -> str:
    """A command in a process of its own, in the current folder, which is where the module is."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    full = [sys.executable, "-m", "weak2wise", *arguments]
    done = subprocess.run(full, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


@pytest.mark.slow
def test_it_works_in_every_command(my_lab: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checked = weak2wise_command("check")
    assert "endpoint big: answered" in checked
    assert "endpoint small: an embedded model; pass --load to load it" in checked
    assert "endpoint small: answered" in weak2wise_command("check", "--load")
    assert "1 of 1 questions passed all steps" in weak2wise_command("preview", "-n", "1")
    assert "4" in weak2wise_command("run")
    shape = json.loads((my_lab / "work" / "manifest.json").read_text())["shape"]
    for name, kind in {"small": "Here", "big": "Mine"}.items():
        assert shape[f"model_endpoints.{name}.type"] == f"ends_lab.ends:{kind}"
        assert shape[f"model_endpoints.{name}.version"] == "1"
    assert command("status", "work") == 0
    assert "finished" in capsys.readouterr().out
    assert command("report", "work") == 0
    assert "strong-a" in (my_lab / "work" / "report.html").read_text()
    assert command("export", "work", "--out", "train.jsonl", "--provenance") == 0
    assert len(lines(my_lab / "train.jsonl")) == 4

    path = my_lab / "ends_lab" / "ends.py"
    path.write_text(MODULE.replace('version = "1"', 'version = "2"'))
    refused = weak2wise_command("run", code=2)
    assert "model_endpoints.big.version" in refused
    assert "model_endpoints.small.version" in refused


async def test_the_board_and_the_metrics_show_calls_cost_and_engine(my_lab: Path) -> None:
    """And the machinery keeps the limit that its settings ask for."""
    config = weak2wise.load_config(my_lab / "config.yaml")
    opened: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()
    engine = Engine(config, questions=questions(20))
    summary = await engine.run(opened)
    board = json.loads(msgspec.json.encode(opened.result().board()))
    (big,), (small,) = board["endpoints"], board["engines"]
    calls = {use.endpoint: use.calls for use in summary.roles}
    assert (big["name"], big["sent"], big["answered"], big["limit"]) == ("big", 20, 20, 3)
    assert (small["name"], small["answered"], small["room"]) == ("small", calls["small"], 4)
    assert calls["small"] > 0
    assert big["cost_usd"] == board["cost_usd"] > 0
    assert load_object("ends_lab.ends:Mine", "type").most == 3
    shown = metrics(opened.result(), None).decode()
    for name, count in (("big", 20), ("small", calls["small"])):
        assert f'weak2wise_call_seconds_count{{endpoint="{name}",run="{my_lab.name}/work"}} {count}.0' in shown


async def test_each_endpoint_of_a_host_is_opened_once_for_all_runs(my_lab: Path) -> None:
    """The embedded one, too."""
    config = weak2wise.load_config("config.yaml")
    async with weak2wise.Host(config) as host:
        await asyncio.gather(
            *(
                weak2wise.asynthesize(questions(3, first), config, work_dir=my_lab / str(first), host=host)
                for first in (0, 3, 6)
            )
        )
    assert sorted(sys.modules["ends_lab.ends"].opened) == ["big", "small"]


@pytest.mark.slow
async def test_its_calls_are_held_to_the_budget(my_lab: Path) -> None:
    overrides = ["engine.max_cost_usd=2", "model_endpoints.big.generation_kwargs.max_new_tokens=500"]
    config = weak2wise.load_config(my_lab / "config.yaml", overrides)
    with pytest.raises(weak2wise.RunStopped, match=r"engine\.max_cost_usd"):
        await weak2wise.asynthesize(questions(30), config, work_dir=my_lab / "work")
    spent = sum(use.cost_usd for use in weak2wise.open_run(my_lab / "work").summary.roles)
    assert 1.3 < spent <= 2.0
