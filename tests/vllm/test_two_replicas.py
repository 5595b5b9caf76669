"""Two copies of a real model behind one engine."""

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.vllm.engines import ask, engine_test, running_engine
from weak2wise.config import GenerationKwargs
from weak2wise.llm.call import Call, calling
from weak2wise.llm.model import Completion, Prompt
from weak2wise.llm.vllm.model import VllmModel

BLOCK = 32


class TestTwoReplicas:
    """Tests that share one engine."""

    pytestmark = engine_test

    @pytest_asyncio.fixture(loop_scope="module", scope="class")
    async def model(self) -> AsyncIterator[VllmModel]:
        async with running_engine(
            dtype="float32",
            max_model_len=1024,
            max_num_seqs=8,
            data_parallel_size=2,
            enable_prefix_caching=True,
            generation_kwargs=GenerationKwargs(max_new_tokens=8),
            engine_args={"kv_cache_memory_bytes": 2**29, "block_size": BLOCK},
        ) as model:
            yield model

    async def test_each_row_has_its_prompt_read_by_one_replica_alone(self, model: VllmModel) -> None:
        """One after another, so that only the routing decides: all but the first take the whole blocks from a cache."""
        for row in (1, 2):
            text = f"Row {row} says: add the numbers one after another and see what comes of it. " * 8
            usage = [(await asked(model, row, ask(text, seed))).usage for seed in range(4)]
            blocks = (usage[0].prompt_tokens - 1) // BLOCK
            assert blocks >= 4
            assert [use.cached_tokens // BLOCK for use in usage[1:]] == [blocks] * 3
            assert usage[0].cached_tokens < BLOCK * blocks

    async def test_a_seed_draws_the_same_on_either_replica(self, model: VllmModel) -> None:
        texts = {(await asked(model, row, ask("Tell me a story.", 7))).text for row in (1, 2, 3, 4)}
        assert len(texts) == 1

    async def test_one_row_alone_uses_both_when_it_has_many_calls(self, model: VllmModel) -> None:
        assert model.capacity == 18
        prompts = [ask(f"Write about {number}.", number) for number in range(16)]
        calls = asyncio.gather(*(asked(model, 1, prompt) for prompt in prompts))
        engine, most = model._engine, 0
        assert engine is not None
        while not calls.done():
            most = max(most, min(engine._routing.loads))
            await asyncio.sleep(0.005)
        assert len(await calls) == 16
        assert most >= 6
        assert engine._routing.loads == [0, 0]


async def asked(model: VllmModel, row: int, prompt: Prompt) -> Completion:
    with calling(Call(row=row)):
        return await model.complete(prompt)
