"""What ``import weak2wise`` does to a process: nothing; and a config in code is the same as one from a file."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import weak2wise
from tests.api.runs import config_at, questions
from tests.engine_runs import ROOT

FOREIGN = """
import asyncio, logging, resource, signal, sys, threading

def state():
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    hooks = (sys.excepthook, threading.excepthook, sys.stdout, sys.stderr, asyncio.get_event_loop_policy())
    return handlers, limits, hooks, list(logging.getLogger().handlers), list(sys.path), threading.active_count()

def main():
    before = state()
    import weak2wise
    heavy = {"msgspec", "aiohttp", "structlog", "uvloop", "yaml", "rich", "cyclopts", "workers"} & set(sys.modules)
    assert not heavy, heavy
    assert [name for name in sys.modules if name.startswith("weak2wise.")] == []
    for name in weak2wise.__all__:
        getattr(weak2wise, name)
    assert state()[:5] == before[:5]
    assert state()[5] == before[5]
    print("untouched")

if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_importing_it_and_all_its_names_changes_nothing_in_a_foreign_program(tmp_path: Path) -> None:
    """A package run by ``python -m``, as that is how weak2wise's own entry points are started, too."""
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "__init__.py").touch()
    (tmp_path / "foreign" / "program.py").write_text(FOREIGN)
    command = [sys.executable, "-W", "error", "-m", "foreign.program"]
    env = {"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "untouched\n"), done.stderr


def test_every_name_is_there_and_no_other() -> None:
    """And type checkers see the same ones."""
    assert weak2wise.__file__ is not None
    exported = re.findall(r"\b(\w+) as \1\b", Path(weak2wise.__file__).read_text())
    assert sorted(["__version__", *exported]) == sorted(weak2wise.__all__)
    assert set(weak2wise.__all__) <= set(dir(weak2wise))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        weak2wise.nothing  # noqa: B018


def test_a_config_in_code_equals_the_one_from_its_yaml(tmp_path: Path) -> None:
    made = weak2wise.Config(
        models=weak2wise.Models(mweak="small", mstrong=("big", "other"), judge="other"),
        endpoints={
            "small": weak2wise.VllmEndpoint(model_name="org/small", max_num_seqs=8),
            "big": weak2wise.OpenAIEndpoint(
                model_id="b",
                base_url="https://a.example/v1",
                prices=weak2wise.Prices(output=2),
                generation_kwargs=weak2wise.GenerationKwargs(top_p=0.9),
            ),
            "other": weak2wise.OpenAIEndpoint(model_id="o", base_url="https://b.example/v1"),
        },
        params=weak2wise.Params(n_mask=8, outcomes=weak2wise.AnswerPolicy(length="retry")),
        dataset=weak2wise.Dataset(columns=weak2wise.Columns(question="q")),
        prompts=weak2wise.PromptTexts(cgen="Explain under '##' subtitles, then '## Final Answer'."),
        engine=weak2wise.EngineOptions(lanes=weak2wise.Lanes(generate=9), max_cost_usd=5),
    )
    text = {
        "models": {"mweak": "small", "mstrong": ["big", "other"], "judge": "other"},
        "model_endpoints": {
            "small": {"type": "vllm", "model_name": "org/small", "max_num_seqs": 8},
            "big": {
                "model_id": "b",
                "base_url": "https://a.example/v1",
                "prices": {"output": 2},
                "generation_kwargs": {"top_p": 0.9},
            },
            "other": {"model_id": "o", "base_url": "https://b.example/v1"},
        },
        "params": {"n_mask": 7, "outcomes": {"length": "retry"}},
        "dataset": {"columns": {"question": "q"}},
        "prompts": {"cgen": "Explain under '##' subtitles, then '## Final Answer'."},
        "engine": {"lanes": {"generate": 9}, "max_cost_usd": 5},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(text))
    assert weak2wise.load_config(tmp_path / "run.yaml", ["params.n_mask=8"]) == made


async def test_a_missing_key_is_found_by_the_run_and_by_the_host_before_anything_is_made(tmp_path: Path) -> None:
    config = config_at("http://127.0.0.1:9/v1", shared={"api_key_env": "W2W_NO_SUCH_KEY"})
    says = r"model_endpoints\.weak\.api_key_env: environment variable W2W_NO_SUCH_KEY is not set"
    with pytest.raises(weak2wise.ConfigError, match=says):
        await weak2wise.asynthesize(questions(1), config, work_dir=tmp_path / "work")
    with pytest.raises(weak2wise.ConfigError, match=says):
        weak2wise.Host(config)
    assert weak2wise.Host(config, env={"W2W_NO_SUCH_KEY": "set"}).config is config
    assert not (tmp_path / "work").exists()
