"""The evaluation's one step: a held-out question becomes its samples, each with two verdicts."""

from collections.abc import Iterator
from dataclasses import dataclass

from weak2wise.llm.model import Completion, Message, Model, Prompt
from weak2wise.proof.evaluated import Answered, EvaluateSettings, Sample
from workers.answers.strict import in_strict_format
from workers.fanout import fan_out
from workers.judge import Given, Judge, Verdict
from workers.prompts import Template
from workers.records import Asked, Question
from workers.seeds import seed_of


@dataclass(frozen=True)
class Samples:
    """Asks the model a question ``settings.samples`` times, and judges each answer."""

    model: Model
    judge: Judge
    template: Template
    settings: EvaluateSettings

    async def __call__(self, asked: Asked) -> Answered:
        """The question with its samples. Raises ``RecordError`` if one of them cannot be had or judged."""
        question = asked.question
        given: Given = {}
        completions = await fan_out(map(self.model.complete, self._prompts(question)))
        samples = await fan_out(self._judged(question, completion, given) for completion in completions)
        return Answered(question=question, samples=tuple(samples))

    def _prompts(self, question: Question) -> Iterator[Prompt]:
        messages = (Message("user", self.template.fill(question=question.text)),)
        for number in range(self.settings.samples):
            yield Prompt(
                messages=messages,
                temperature=self.settings.temperature,
                seed=seed_of(self.settings.seed, question.row, "evaluate", number),
                sample=number,
            )

    async def _judged(self, question: Question, completion: Completion, given: Given) -> Sample:
        text = completion.text.strip()
        formatted = None if completion.cut_off else in_strict_format(text, self.judge.rules)
        strict = formatted is not None and await self.judge.rule(formatted, question.answer) is True
        if strict and self.judge.mode != "llm":
            verdict = Verdict(correct=True, by="rule")
        else:
            seed = seed_of(self.settings.seed, question.row, "judge")
            verdict = await self.judge(
                question.text, text, question.answer, seed=seed, cut_off=completion.cut_off, given=given
            )
        return Sample(
            strict=strict,
            flexible=verdict.correct,
            by=verdict.by,
            finish_reason=completion.finish_reason,
            cut_off=completion.cut_off,
            tokens=completion.usage.completion_tokens,
            text=text,
        )
