"""What becomes of an answer's tokens as vLLM delivers them: an engine made up here, asked as the real one is."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from tests.vllm.engines import WithoutTokenizer, ask
from tests.vllm.test_detokenizer import byte_level
from weak2wise.config import VllmEndpoint
from weak2wise.llm.call import Call, calling
from weak2wise.llm.errors import Transient
from weak2wise.llm.model import Completion
from weak2wise.llm.vllm.engine_log import EngineLog
from weak2wise.llm.vllm.errors import EngineDied

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.filterwarnings("ignore")]


@dataclass
class Vllm:
    """Answers every prompt with the same tokens, delivered as the sampling parameters ask for it."""

    tokens: list[int]
    finish_reason: str = "length"
    delivered: int = 0
    closed: bool = False
    asked: list[Any] = field(default_factory=list)
    ranks: list[int | None] = field(default_factory=list)
    replicas: int = 1
    tokenizer: Any = field(default_factory=lambda: SimpleNamespace(backend_tokenizer=byte_level()))

    def __post_init__(self) -> None:
        self.model_config = SimpleNamespace(max_model_len=10_000, get_diff_sampling_param=dict)
        parallel = SimpleNamespace(local_engines_only=False, data_parallel_size=self.replicas)
        scheduler = SimpleNamespace(max_num_seqs=4)
        self.vllm_config = SimpleNamespace(parallel_config=parallel, scheduler_config=scheduler)
        self.renderer = self

    async def render_chat_async(self, *_: Any) -> Any:
        return None, [{"prompt_token_ids": self.tokenizer.backend_tokenizer.encode("How many?\n").ids}]

    async def generate(
        self, rendered: Any, params: Any, _: str, *, data_parallel_rank: int | None
    ) -> AsyncIterator[Any]:
        self.asked.append(params)
        self.ranks.append(data_parallel_rank)
        whole = params.output_kind.name == "FINAL_ONLY"
        step = len(self.tokens) if whole else params.stream_interval
        try:
            for start in range(0, len(self.tokens), step):
                await asyncio.sleep(0)
                part = self.tokens[start : start + step]
                self.delivered += len(part)
                over = start + step >= len(self.tokens)
                text = self.tokenizer.backend_tokenizer.decode(part) if params.detokenize else ""
                reason = self.finish_reason if over else None
                said = SimpleNamespace(token_ids=part, text=text, finish_reason=reason)
                prompt = rendered["prompt_token_ids"]
                yield SimpleNamespace(outputs=[said], prompt_token_ids=prompt, num_cached_tokens=3, finished=over)
        except GeneratorExit:
            self.closed = True
            raise


async def answered(llm: Any, **settings: Any) -> Completion:
    module = import_module("weak2wise.llm.vllm.engine")
    engine_log = EngineLog(None)
    try:
        engine = module.EmbeddedEngine("weak", VllmEndpoint(model_id="m", **settings), engine_log, llm, set())
        completion = await engine.answer(ask("How many?"))
        assert isinstance(completion, Completion)
        return completion
    finally:
        engine_log.close()


def spelled(text: str) -> list[int]:
    ids = byte_level().encode(text).ids
    assert isinstance(ids, list)
    return ids


async def test_an_answer_that_goes_round_in_circles_is_ended_soon_and_kept_up_to_the_loop() -> None:
    pattern = list(range(30, 50))
    llm = Vllm([5, 6, *(40 * pattern)])
    answer = await answered(llm)
    assert llm.closed
    assert 82 <= llm.delivered < 82 + 16
    assert answer.finish_reason == "repetition"
    assert answer.usage.completion_tokens == 82
    assert answer.text == byte_level().decode([5, 6, *(4 * pattern)])


@pytest.mark.parametrize(("reason", "more"), [("length", 0), ("stop", 1)])
async def test_an_answer_is_the_text_of_all_its_tokens_but_the_one_that_stops_it(reason: str, more: int) -> None:
    said = spelled("So the answer is \\boxed{5} 数学 🎉")
    llm = Vllm(said + [7] * more, finish_reason=reason)
    answer = await answered(llm)
    assert answer.text == "So the answer is \\boxed{5} 数学 🎉"
    assert answer.finish_reason == reason
    assert (answer.usage.completion_tokens, answer.usage.cached_tokens) == (len(said) + more, 3)
    assert not llm.closed


async def test_a_loop_is_not_ended_where_the_user_wants_none_ended_and_there_is_one_delivery() -> None:
    llm = Vllm(40 * list(range(30, 50)))
    answer = await answered(llm, end_repetition=False)
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 800
    assert (llm.asked[0].output_kind.name, llm.asked[0].detokenize) == ("FINAL_ONLY", False)


@pytest.mark.parametrize("end_repetition", [True, False])
async def test_text_and_repetition_are_left_to_vllm_where_the_tokenizer_is_not_a_fast_one(end_repetition: bool) -> None:
    llm = Vllm(spelled("It is 5."))
    answer = await answered(WithoutTokenizer(llm), end_repetition=end_repetition)
    assert answer.text == "It is 5."
    params = llm.asked[0]
    assert (params.output_kind.name, params.detokenize) == ("FINAL_ONLY", True)
    rule = params.repetition_detection
    assert (rule and (rule.min_pattern_size, rule.max_pattern_size, rule.min_count)) == (
        (17, 128, 4) if end_repetition else None
    )


async def test_a_request_that_vllm_gives_up_is_tried_again_and_one_that_ends_with_the_engine_is_not_an_answer() -> None:
    with pytest.raises(Transient, match="gave the request up"):
        await answered(Vllm(spelled("It is"), finish_reason="error"))
    with pytest.raises(EngineDied, match="is being shut down"):
        await answered(Vllm(spelled("It is"), finish_reason="abort"))


async def test_a_long_answer_leaves_the_event_loop_free_while_its_text_is_made() -> None:
    """Of 200,000 tokens no more than some thousands are decoded without a pause."""
    llm = Vllm(spelled("2 + 2 = 4, 3 + 3 = 6, ") * 8)
    llm.tokens = [token for number in range(20_000) for token in (number % 300, number % 7, *llm.tokens[:8])]
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await answered(llm, end_repetition=False)
    ticking.cancel()
    assert ticks > 40


async def test_calls_of_a_row_go_to_one_replica_and_give_their_place_back_however_they_end() -> None:
    llm = Vllm(spelled("It is 5."), replicas=4)
    module = import_module("weak2wise.llm.vllm.engine")
    engine_log = EngineLog(None)
    engine = module.EmbeddedEngine("weak", VllmEndpoint(model_id="m", max_num_seqs=4), engine_log, llm, set())
    assert engine.max_num_seqs == 16
    for row in (5, 5, 6, 5):
        with calling(Call(row=row)):
            await engine.answer(ask("How many?"))
    llm.finish_reason = "error"
    with calling(Call(row=5)), pytest.raises(Transient):
        await engine.answer(ask("How many?"))
    with calling(Call(row=5)):
        asked = asyncio.create_task(engine.answer(ask("How many?")))
    while len(llm.ranks) < 6:
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert llm.ranks == [1, 1, 2, 1, 1, 1]
    assert engine._routing.loads == [0, 0, 0, 0]
    engine_log.close()
