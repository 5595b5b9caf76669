"""Engines that are killed, started again or interrupted, each one started for its test."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engine_runs import ROOT
from tests.vllm.engines import PATIENCE_SECONDS, ask, engine_test, model_folder, wait_until_gone
from weak2wise.config import GenerationKwargs, TransformersEndpoint, VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.errors import Rejected
from weak2wise.llm.model import Completion
from weak2wise.llm.vllm.errors import EngineDied
from weak2wise.llm.vllm.guard import engine_processes, family
from weak2wise.llm.vllm.model import VllmModel
from weak2wise.llm.vllm.restart import Restarted


class TestLifeAndDeath:
    """Tests that start an engine each, since they end it."""

    pytestmark = engine_test

    async def test_base_model_then_its_sudden_death(self) -> None:
        """Bare text, greedy and up to the last token of context; then the engine is killed under waiting calls.

        One test, since starting an engine is most of its cost.
        """
        endpoint = TransformersEndpoint(
            model_name=model_folder(),
            device="cuda:0",  # as the reference's configuration may say; the CPU build runs it all the same
            tokenizer_kwargs={"use_fast": True},
            chat_template=False,
            dtype="float32",
            max_model_len=256,
            max_num_seqs=4,
            enforce_eager=True,
            generation_kwargs=GenerationKwargs(do_sample=False),
            engine_args={"kv_cache_memory_bytes": 2**28},
        )
        model = VllmModel("base", endpoint)
        members: list[int] = []
        try:
            await model.open()
            members += [pid for pid, _ in family(process.pid for process in engine_processes() if process.pid)]
            assert members
            short = await model.complete(ask(" the" * 200, seed=1, temperature=2.0))
            again = await model.complete(ask(" the" * 200, seed=2, temperature=2.0))
            assert short.usage.prompt_tokens == 200
            assert short.text == again.text
            last = await model.complete(ask(" the" * 255))
            assert (last.usage.completion_tokens, last.finish_reason) == (1, "length")
            looping = await model.complete(ask(" the" * 60))
            assert (looping.finish_reason, looping.usage.completion_tokens < 150) == ("repetition", True)
            with pytest.raises(Rejected, match="256 tokens") as refused:
                await model.complete(ask(" the" * 256))
            assert refused.value.kind == "context_overflow"

            calls = [asyncio.create_task(model.complete(ask(f"Count to {i}:", i))) for i in range(12)]
            await asyncio.sleep(1)
            assert model.in_flight == model.capacity
            for process in engine_processes():
                process.kill()
            async with asyncio.timeout(PATIENCE_SECONDS):
                outcomes = await asyncio.gather(*calls, return_exceptions=True)
            died = [outcome for outcome in outcomes if not isinstance(outcome, Completion)]
            assert len(died) > len(outcomes) - model.capacity
            assert all(isinstance(outcome, EngineDied) for outcome in died)
            with pytest.raises(EngineDied, match="signal 9") as late:
                await model.complete(ask("Anybody there?"))
            assert "start again" in late.value.hint
        finally:
            await model.close()
        assert not engine_processes()
        wait_until_gone(members)
        with pytest.raises(EngineDied, match="not running"):
            await model.complete(ask("Anybody there?"))

    async def test_an_engine_killed_under_waiting_calls_is_started_again_and_answers_them(self) -> None:
        endpoint = VllmEndpoint(
            model_name=model_folder(),
            dtype="float32",
            max_model_len=256,
            max_num_seqs=4,
            enforce_eager=True,
            generation_kwargs=GenerationKwargs(max_new_tokens=64),
            engine_args={"kv_cache_memory_bytes": 2**28},
        )
        model = VllmModel("weak", endpoint)
        restarted = Restarted(model, max_restarts=1, first_wait=0.1)
        try:
            await model.open()
            calls = [asyncio.create_task(restarted.complete(ask(f"Count to {i}:", i))) for i in range(12)]
            while model.in_flight < model.capacity:
                await asyncio.sleep(0.05)
            for process in engine_processes():
                process.kill()
            assert all(isinstance(answer, Completion) for answer in await asyncio.gather(*calls))
            late = asyncio.create_task(restarted.complete(ask("Count to 99:", 99)))
            while not model.in_flight:
                await asyncio.sleep(0.01)
            for process in engine_processes():
                process.kill()
            with pytest.raises(EngineDied, match="signal 9"):
                await late
        finally:
            await model.close()
        assert not engine_processes()

    async def test_unreadable_model_is_a_configuration_error(self, tmp_path: Path) -> None:
        model = VllmModel("weak", VllmEndpoint(model_id=str(tmp_path)))
        with pytest.raises(ConfigError, match=r"model_endpoints\.weak: vLLM refuses it"):
            await model.open()
        assert not engine_processes()


def start_child() -> "subprocess.Popen[bytes]":
    """The child program in a process group of its own, as a shell would start it."""
    command = [sys.executable, "-m", "tests.vllm.child", model_folder()]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )


def wait_for(condition: Callable[[], bool], child: "subprocess.Popen[bytes]") -> None:
    begin = time.monotonic()
    while not condition():
        assert child.poll() is None, "the child program ended by itself"
        assert time.monotonic() - begin < 240
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.vllm
def test_ctrl_c_during_start_up_leaves_nothing_behind() -> None:
    """A terminal sends SIGINT to the whole process group; the program ends at once, with its engine half started."""
    with start_child() as child:
        wait_for(lambda: len(family([child.pid])) > 3, child)  # more than itself, the guard and the resource tracker
        members = [pid for pid, _ in family([child.pid])]
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(PATIENCE_SECONDS) != 0
    wait_until_gone(members)


@pytest.mark.slow
@pytest.mark.vllm
def test_sigkill_leaves_no_orphan() -> None:
    with start_child() as child:
        assert child.stdout is not None
        assert [child.stdout.readline(), child.stdout.readline()] == [b"starting\n", b"started\n"]
        members = [pid for pid, _ in family([child.pid])]
        assert len(members) > 3
        child.kill()
    wait_until_gone(members)
