"""The judge: does an attempt reach the reference answer?

Three modes. ``rule`` lets arithmetic and algebra decide (``workers.answers``) and counts what they are not sure of as
No. ``llm`` asks the judge model every time. ``cascade`` asks it only where the rule is not sure: rarely for numbers,
nearly always for prose. The rule says Yes or No only where no reader should disagree, so the cascade should differ from
``llm`` only by the judge model's own mistakes.

Each verdict says what decided it, so that a run can count that.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from msgspec import Struct

from weak2wise.errors import ConfigError
from weak2wise.llm.model import Message, Model, Prompt
from weak2wise.llm.single_flight import single_flight
from weak2wise.process_pool import KillablePool, PoolError
from workers.answers import final_answer, in_brief, quick_verdict, verdict, worth_parsing
from workers.prompts import Prompts
from workers.rules import RULES

Mode = Literal["rule", "llm", "cascade"]
TIME_LIMIT = 2.0
"""Seconds that the rule may parse for one verdict; where it succeeds, it needs milliseconds."""
_MAX_HOPELESS = 1000


class Verdict(Struct, frozen=True):
    """Yes or no, and what decided it. An empty attempt is a No by rule in every mode.

    ``rule_unsure`` is a No because there is no judge model to ask; ``llm_unclear`` is a No because the judge model said
    neither Yes nor No, twice.
    """

    correct: bool
    by: Literal["rule", "llm", "rule_unsure", "llm_unclear"]


Given = dict[tuple[str, bool], "asyncio.Future[Verdict]"]
"""Verdicts on one question, ready or under way, by the attempt as it is judged and whether it was cut off."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Judges attempts.

    ``pool`` runs the slow part of the rule in processes that can be killed; give it ``workers.answers.warm_up`` as
    its warm-up. ``model`` is the judge LLM, ``None`` if there is none; then ``cascade`` is the same as ``rule``.

    Raises:
        ConfigError: on construction, for mode ``llm`` without a model.
    """

    prompts: Prompts
    pool: KillablePool
    model: Model | None = None
    mode: Mode = "cascade"
    temperature: float = 0.1
    rules: int = RULES
    """The version of the rules by which it decides."""
    counts: Counter[str] = field(default_factory=Counter)
    """Verdicts given so far, by what decided them."""
    _hopeless: set[tuple[str | None, str]] = field(default_factory=set)
    """Pairs of final answer and reference that recently took too long to compare, or crashed the process."""

    def __post_init__(self) -> None:
        if self.mode == "llm" and self.model is None:
            raise ConfigError("params.judge_mode: llm needs a model under models.judge")

    async def __call__(
        self,
        question: str,
        attempt: str,
        answer: str,
        *,
        seed: int,
        cut_off: bool = False,
        given: Given | None = None,
    ) -> Verdict:
        """Judge one attempt.

        In the modes with a rule, an attempt whose one clear final answer is in a box is judged by that answer alone.

        Args:
            question: the question as the attempt's author saw it.
            attempt: the whole attempt; white space around it does not count.
            answer: the reference answer.
            seed: makes the judge model's sampling repeatable.
            cut_off: the attempt was cut off before its end; the rule then counts a missing answer as wrong.
            given: verdicts on this question so far, to which this one is added; what was judged, or is being judged,
                is not judged again.

        Raises:
            RecordError: the judge model cannot answer.
            RunStopped: no call to it can succeed.
        """
        shown, cut_off = self._shown(attempt, cut_off=cut_off)
        given = {} if given is None or self.mode == "llm" else given
        verdict = await single_flight(
            given,
            (shown, cut_off),
            lambda: self._verdict(question, shown, answer, seed, cut_off=cut_off),
            keep=True,
        )
        self.counts[verdict.by] += 1
        return verdict

    async def needs_no_call(self, attempt: str, answer: str, *, cut_off: bool, given: Given) -> bool:
        """Whether a verdict needs no call to the judge model; the rule's verdict, if any, is added to ``given``."""
        if self.mode == "llm" or self.model is None:
            return self.model is None
        shown, cut_off = self._shown(attempt, cut_off=cut_off)
        if (shown, cut_off) not in given:
            ruled = await self.rule(shown, answer, cut_off=cut_off) if shown else False
            if ruled is None:
                return self.mode == "rule"
            verdict = asyncio.get_running_loop().create_future()
            verdict.set_result(Verdict(ruled, "rule"))
            given.setdefault((shown, cut_off), verdict)
        return True

    def _shown(self, attempt: str, *, cut_off: bool) -> tuple[str, bool]:
        """The part of an attempt that is judged, and whether that part was cut off."""
        whole = attempt.strip()
        shown = whole if self.mode == "llm" else in_brief(whole, self.rules)
        return shown, cut_off and shown == whole

    async def _verdict(self, question: str, attempt: str, answer: str, seed: int, *, cut_off: bool) -> Verdict:
        if not attempt:  # an empty attempt needs no judge
            return Verdict(correct=False, by="rule")
        ruled = None if self.mode == "llm" else await self.rule(attempt, answer, cut_off=cut_off)
        if ruled is not None:
            return Verdict(ruled, "rule")
        if self.model is None or self.mode == "rule":
            return Verdict(correct=False, by="rule_unsure")
        messages = (Message("user", self.prompts.judge(question, attempt, answer)),)
        for sample in range(2):
            prompt = Prompt(messages=messages, temperature=self.temperature, seed=seed + sample, sample=sample)
            correct = yes_or_no((await self.model.complete(prompt)).text)
            if correct is not None:
                return Verdict(correct, "llm")
        return Verdict(correct=False, by="llm_unclear")

    async def rule(self, attempt: str, answer: str, *, cut_off: bool = False) -> bool | None:
        """What the rule alone says, in every mode; ``None`` where it is not sure."""
        ruled = quick_verdict(attempt, answer, cut_off=cut_off, rules=self.rules)
        if ruled is not None or not worth_parsing(attempt, answer, self.rules):
            return ruled
        pair = (final_answer(attempt, self.rules), answer)
        if pair in self._hopeless:
            return None
        try:
            return await self.pool.run(verdict, attempt, answer, cut_off, self.rules, time_limit=TIME_LIMIT)
        except PoolError:
            if len(self._hopeless) >= _MAX_HOPELESS:
                self._hopeless.clear()
            self._hopeless.add(pair)
            return None


def yes_or_no(reply: str) -> bool | None:
    """The verdict in a judge model's reply: its last non-empty line, ``None`` if that is neither Yes nor No."""
    last = reply.strip().rpartition("\n")[2]
    return {"yes": True, "no": False}.get(last.strip("*_`\"'“”‘’ \t.").casefold())
