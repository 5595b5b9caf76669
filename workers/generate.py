"""Step 2: several strong models each write several traces towards the known answer (paper, section 3.2)."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from weak2wise.config import Params
from weak2wise.errors import RecordError
from weak2wise.llm.model import Completion, Message, Model, Prompt
from weak2wise.telemetry.log import log_facts
from weak2wise.worker import Partial
from workers.answer_policy import acceptable
from workers.faithful import MARK, contradicts
from workers.fanout import all_settled
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Candidate, Question, Traced, Unsolved
from workers.rules import RULES
from workers.seeds import seed_of
from workers.trace_steps import split_steps


@dataclass(frozen=True)
class Generate:
    """Asks every strong model ``params.samples_per_model`` times.

    ``strong`` maps endpoint names to models, in the config's order.
    """

    strong: Mapping[str, Model]
    judge: Judge
    prompts: Prompts
    params: Params
    rules: int = RULES

    async def __call__(self, unsolved: Unsolved) -> Traced | Partial[Traced]:
        """Collect all candidates of one question; with ``params.min_candidates`` some may be missing.

        Raises:
            RecordError: too few candidates. A temporary error is preferred, so that they are asked for again.
        """
        question = unsolved.question
        results = await all_settled(
            self._candidate(question, name, sample)
            for name in self.strong
            for sample in range(self.params.samples_per_model)
        )
        candidates = tuple(result for result in results if isinstance(result, Candidate))
        traced = Traced(question=question, candidates=candidates)
        errors = [result for result in results if isinstance(result, RecordError)]
        if errors:
            error = next((error for error in errors if error.may_pass), errors[0])
            if len(candidates) < (self.params.min_candidates or len(results)):
                raise error
            return Partial(traced, error)
        return traced

    async def _candidate(self, question: Question, name: str, sample: int) -> Candidate:
        messages = (
            Message("user", question.text),
            Message("assistant", question.answer),
            Message("user", self.prompts.cgen),
        )

        def ask(draw: int) -> Awaitable[Completion]:
            again = ("again", draw) if draw else ()
            seed = seed_of(self.params.seed, question.row, name, sample, *again)
            prompt = Prompt(messages=messages, temperature=self.params.gen_temperature, seed=seed, sample=sample)
            return self.strong[name].complete(prompt)

        with log_facts(m_strong=name, sample=sample):
            completion, found = await acceptable(ask, self.params.outcomes, endpoint=name, rules=self.rules)
            unfaithful = await contradicts(self.judge, completion.text, question.answer)
        thinking = completion.reasoning or ""
        return Candidate(
            m_strong=name,
            sample=sample,
            step_reasoning=completion.text,
            step_list=split_steps(completion.text, self.rules),
            normal=thinking if thinking.strip() else completion.text,
            normal_is_own=bool(thinking.strip()),
            marks=(*found, *((MARK,) if unfaithful else ())),
        )
