"""A dead engine is started again and asked again, so many times."""

import asyncio

import pytest

from weak2wise.config import VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.model import Completion, Message, Prompt
from weak2wise.llm.vllm.model import EngineDied, model as vllm
from weak2wise.llm.vllm.restart import Restarted


class Frail:
    """An engine that answers so many prompts a life; ``starts`` says how its starts end, all well after those."""

    name = "weak"

    def __init__(self, *lives: int, starts: tuple[Exception | None, ...] = ()) -> None:
        self._lives = list(lives)
        self._left = self._lives.pop(0)
        self._starts = list(starts)
        self.running = True
        self.started = 0
        self.answered: list[str] = []

    async def start(self) -> None:
        assert not self.running
        self.started += 1
        await asyncio.sleep(0)
        if self._starts and (error := self._starts.pop(0)):
            raise error
        self._left = self._lives.pop(0)
        self.running = True

    async def close(self) -> None:
        self.running = False
        await asyncio.sleep(0)

    async def complete(self, prompt: Prompt, /) -> Completion:
        if not self.running:
            raise EngineDied("not running", hint="")
        await asyncio.sleep(0)  # they are all inside when it dies
        if not self._left:
            raise EngineDied(f"died; its last words: life {self.started}", hint="")
        self._left -= 1
        self.answered.append(prompt.messages[0].content)
        return Completion(text=prompt.messages[0].content)


def ask(model: Restarted, count: int) -> list[asyncio.Task[Completion]]:
    prompts = [Prompt(messages=(Message("user", str(i)),), temperature=0, seed=0) for i in range(count)]
    return [asyncio.create_task(model.complete(prompt)) for prompt in prompts]


async def test_every_attempt_under_way_at_a_death_is_asked_again_of_one_new_engine() -> None:
    engine = Frail(3, 4, 100)
    answers = await asyncio.gather(*ask(Restarted(engine, max_restarts=2, first_wait=0), 20))
    assert [answer.text for answer in answers] == [str(i) for i in range(20)]
    assert sorted(engine.answered, key=int) == [str(i) for i in range(20)]
    assert engine.started == 2


async def test_a_start_that_fails_is_tried_again_within_the_same_limit() -> None:
    starts = (EngineDied("no memory yet", hint=""), ConfigError("no memory yet"))
    engine = Frail(1, 100, starts=starts)
    await asyncio.gather(*ask(Restarted(engine, max_restarts=3, first_wait=0), 5))
    assert engine.started == 3


async def test_after_the_last_restart_everybody_gets_the_last_words() -> None:
    engine = Frail(1, 1, 1)
    tasks = ask(Restarted(engine, max_restarts=2, first_wait=0), 6)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    died = [str(outcome) for outcome in outcomes if isinstance(outcome, EngineDied)]
    assert died == ["died; its last words: life 2"] * 3
    late = ask(Restarted(engine, max_restarts=0, first_wait=0), 1)[0]
    with pytest.raises(EngineDied):
        await late


async def test_whoever_is_cancelled_while_restarting_leaves_that_to_the_next() -> None:
    engine = Frail(0, 100)
    first, second = ask(Restarted(engine, max_restarts=2, first_wait=0.001), 2)
    while engine.running:
        await asyncio.sleep(0)
    first.cancel()
    assert (await second).text == "1"
    assert first.cancelled()


class Mute:
    """A vLLM engine that answers so many prompts, a moment each, and then hangs."""

    def __init__(self, answers: int) -> None:
        self._left = answers

    async def answer(self, _prompt: Prompt) -> Completion:
        self._left -= 1
        await asyncio.sleep(0.06 if self._left >= 0 else 60)
        return Completion(text="4")


async def test_an_engine_that_hangs_is_as_good_as_dead_and_one_that_answers_others_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vllm, "SILENCE_SECONDS", 0.1)
    model = vllm.VllmModel("weak", VllmEndpoint(model_id="m"))
    model._engine = Mute(3)  # type: ignore[assignment]
    calls = ask(Restarted(model, max_restarts=0), 4)  # one place: each has to wait for those before it
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(end, Completion) for end in ends] == [True, True, True, False]
    assert isinstance(ends[3], EngineDied)
    assert (model.in_flight, model.waiting) == (0, 0)
