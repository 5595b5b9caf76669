"""What the tests of real engines share: the model, how they ask it, and how they wait until it is gone."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from weak2wise.config import VllmEndpoint
from weak2wise.llm.model import Message, Prompt
from weak2wise.llm.vllm.guard import family
from weak2wise.llm.vllm.model import VllmModel

PATIENCE_SECONDS = 30.0
"""How long to wait for processes to be gone: far more than they need, so that a busy machine fails no test."""

engine_test = [
    pytest.mark.slow,
    pytest.mark.vllm,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore"),  # torch and vLLM deprecate things as they are imported
]


def model_folder() -> str:
    """The weak model for tests: ``W2W_TEST_WEAK_MODEL``, or where ``scripts`` put it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    default = cache / "weak2wise" / "models" / "smollm2-135m-instruct"
    folder = Path(os.environ.get("W2W_TEST_WEAK_MODEL") or default)
    if not (folder / "config.json").is_file():
        pytest.fail(f"no model in {folder}: set W2W_TEST_WEAK_MODEL to a folder with SmolLM2-135M-Instruct")
    return str(folder)


@asynccontextmanager
async def running_engine(model_id: str | None = None, **settings: Any) -> AsyncIterator[VllmModel]:
    """A running engine of the weak model for tests, or of another."""
    endpoint = VllmEndpoint(model_id=model_id or model_folder(), **({"enforce_eager": True} | settings))
    model = VllmModel("weak", endpoint)
    await model.open()
    try:
        yield model
    finally:
        await model.close()


def ask(text: str, seed: int = 0, temperature: float = 0.8) -> Prompt:
    return Prompt(messages=(Message("user", text),), temperature=temperature, seed=seed)


class WithoutTokenizer:
    """A vLLM engine that does not show its tokenizer, so that text and repetition are left to it."""

    tokenizer = None

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)


def wait_until_gone(pids: list[int], started: float | None = None) -> None:
    """Wait for processes, given by id while they run, and all their descendants to be gone."""
    begin = started or time.monotonic()
    while family(pids):
        assert time.monotonic() - begin < PATIENCE_SECONDS, f"still there: {sorted(family(pids))}"
        time.sleep(0.1)
