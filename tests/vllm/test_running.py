"""A running vLLM engine, with a real model on whatever device the installed vLLM was built for."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from importlib import import_module

import pytest_asyncio
from msgspec import structs

from tests.contexts import PROMPTS, context
from tests.vllm.engines import WithoutTokenizer, ask, engine_test, running_engine
from weak2wise.config import GenerationKwargs, Params
from weak2wise.llm.errors import Rejected
from weak2wise.llm.model import Completion
from weak2wise.llm.vllm.engine_log import EngineLog
from weak2wise.llm.vllm.model import VllmModel
from weak2wise.process_pool import KillablePool
from workers.judge import Judge
from workers.records import Candidate, Question, Traced
from workers.scorers.masking import exact_weights
from workers.scorers.race import Race
from workers.scorers.stepmask import StepMask
from workers.select import select


class HalfYes(Judge):
    """Judges by lengths alone."""

    async def rule(self, attempt: str, answer: str, *, cut_off: bool = False) -> bool | None:
        return (len(attempt + answer) + cut_off) % 2 == 0


class TestEngine:
    """Tests that share one running engine."""

    pytestmark = engine_test

    @pytest_asyncio.fixture(loop_scope="module", scope="class")
    async def model(self) -> AsyncIterator[VllmModel]:
        async with running_engine(
            dtype="float32",
            max_model_len=2048,
            max_num_seqs=32,
            enable_prefix_caching=True,
            generation_kwargs=GenerationKwargs(max_new_tokens=24),
            engine_args={"kv_cache_memory_bytes": 2**30, "block_size": 32},
        ) as model:
            yield model

    async def test_answers_with_usage(self, model: VllmModel) -> None:
        answer = await model.complete(ask("What is the capital of France?", temperature=0.0))
        assert "Paris" in answer.text
        assert answer.reasoning is None
        assert answer.finish_reason in {"stop", "length"}
        assert answer.usage.prompt_tokens > 20  # the question within the chat template
        assert 0 < answer.usage.completion_tokens <= 24

    async def test_same_seed_same_text_other_seed_other_text(self, model: VllmModel) -> None:
        """A seed of any size repeats a draw; different seeds draw differently."""
        texts = [(await model.complete(ask("Tell me a story.", seed))).text for seed in (2**80 + 7, 2**80 + 7, 1, 2)]
        assert texts[0] == texts[1]
        assert len(set(texts)) == 3

    async def test_answers_are_those_of_vllm_itself(self, model: VllmModel) -> None:
        """Text, tokens and finish reason, also of an answer that runs in circles, which then leaves the engine."""
        module = import_module("weak2wise.llm.vllm.engine")
        assert model._engine is not None
        llm = model._engine._llm
        engine_log = EngineLog(None)
        prompts = {
            True: [
                ask("Translate into Chinese: How many apples are there? Answer with emojis, too.", 3),
                ask("What is the capital of France?", 4),
                ask("Tell me a story.", 5),
            ],
            False: [ask(" the" * 60, temperature=0.0)],
        }
        said: list[list[tuple[object, ...]]] = []
        for engine in (llm, WithoutTokenizer(llm)):
            said.append([])
            for chat, asked in prompts.items():
                settings = {"chat_template": chat, "generation_kwargs": GenerationKwargs(max_new_tokens=400)}
                ours = module.EmbeddedEngine(
                    "weak", structs.replace(model.endpoint, **settings), engine_log, engine, set()
                )
                for prompt in asked:  # one at a time: what else is in a batch changes how the hardware rounds
                    answer = await ours.answer(prompt)
                    said[-1].append((answer.text, answer.finish_reason, answer.usage.completion_tokens))
        assert said[0] == said[1]
        assert {"repetition", "stop"} <= {ended for _, ended, _ in said[0]}
        assert llm.get_num_unfinished_requests() == 0
        engine_log.close()

    async def test_too_long_prompt_fails_alone(self, model: VllmModel) -> None:
        """Its sixteen neighbours are answered."""
        prompts = [ask(f"Say the number {i}.", i) for i in range(16)]
        prompts.insert(8, ask("word " * 5000))
        outcomes = await asyncio.gather(*map(model.complete, prompts), return_exceptions=True)
        refused = outcomes.pop(8)
        assert isinstance(refused, Rejected)
        assert refused.kind == "context_overflow"
        assert refused.endpoint == "weak"
        assert "2048" in str(refused)
        assert all(isinstance(outcome, Completion) for outcome in outcomes)

    async def test_votes_share_one_prefill(self, model: VllmModel) -> None:
        """Asked together, all but the first take the prompt's whole blocks from the prefix cache."""
        text = "Add the numbers one after another and see what comes of it. " * 20
        votes = await asyncio.gather(*(model.complete(ask(text, seed)) for seed in range(5)))
        blocks = (votes[0].usage.prompt_tokens - 1) // 32
        assert blocks > 6
        assert [vote.usage.cached_tokens for vote in votes[1:]] == [32 * blocks] * 4

    async def test_a_race_on_the_engine_leaves_out_what_cannot_matter(self, model: VllmModel) -> None:
        """On real attempts at real hints, judged by a rule that says Yes to about half of them."""
        candidates = tuple(
            Candidate(
                m_strong="m",
                sample=sample,
                step_reasoning="",
                step_list=(
                    f"## Step {sample}\nAdd {sample} and {sample + 7} first.",
                    "## Step\nDouble what comes of it.",
                ),
                normal="word " * (sample + 1),
                normal_is_own=True,
            )
            for sample in range(3)
        )
        record = Traced(question=Question(row=1, id=None, text="How many?", answer="5"), candidates=candidates)
        bits: dict[int | None, Counter[str]] = {}
        for width in (1, None):
            of_run = context(
                Params(n_mask=4, majority=1, beta=0.5, ew_normalization="reference", scoring="race", seed=0),
                model,
                HalfYes(prompts=PROMPTS, pool=KillablePool(), mode="rule"),
                race_width=width,
                free=model.free,
            )
            scorer = StepMask(of_run)
            scores = await scorer(record)
            bits[width] = of_run.bits
            weights = exact_weights(4, beta=0.5, normalization="reference")
            _, best = select(candidates, scores, scorer)
            assert None not in best.s_list
            assert not best.is_bound
            assert any(None in score.s_list for score in scores)
            assert all(score.is_bound == (None in score.s_list) for score in scores)
            for missing in (0, 1):  # whatever the other bits had been, the same one would have won, by the same bits
                known = [[missing if bit is None else bit for bit in score.s_list] for score in scores]
                race = Race(weights, [c.length for c in candidates], [[(c, i) for i in range(4)] for c in range(3)])
                while wanted := race.wanted():
                    race.learn(wanted[0], known[wanted[0][0]][wanted[0][1]])
                assert [race.s_list(c) for c in range(3)] == [score.s_list for score in scores]
        assert bits[1]["in_vain"] == 0
        assert bits[1]["spared"] > 0
        assert bits[None]["in_vain"] > 0

    async def test_admission_is_bounded_and_a_cancelled_call_frees_its_place(self, model: VllmModel) -> None:
        assert model.capacity == 36
        calls = [asyncio.create_task(model.complete(ask(f"Write about {i}.", i))) for i in range(40)]
        await asyncio.sleep(0)
        assert (model.in_flight, model.waiting) == (36, 4)
        for call in calls[4:]:
            call.cancel()
        done = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, Completion) for outcome in done[:4])
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in done[4:])
        assert (model.in_flight, model.waiting) == (0, 0)
