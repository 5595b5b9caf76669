"""What the embedded engine says of given texts, and the scorers' formulas on it, against transformers in float32."""

import asyncio
import math
import random
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

import pytest
import pytest_asyncio
from msgspec import UNSET

from tests.contexts import PROMPTS, context
from tests.vllm.engines import ask, engine_test, model_folder, running_engine
from weak2wise.config import GenerationKwargs, Params, VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.errors import Rejected
from weak2wise.llm.model import Completion, Continuation, Message, Prompt
from weak2wise.llm.vllm.model import VllmModel
from workers.answers.locate import sentences
from workers.records import Candidate, Question, Traced
from workers.scorers import LOGPROB_SCORERS, scorer_named
from workers.scorers.masking import hint

QUESTION = Question(
    row=1, id=None, text="Natalia sold 48 clips in April and half of that in May. How many?", answer="72"
)
THINKING = (
    "In April she sold 48 clips. In May 48 / 2 = 24. Together that is 48 + 24 = 72.\n\nIs it? Yes! 72 – ça va. 🙂 End.",
    "48 plus 24 is 72",
    "Purple monkeys, 17 of them! Quantum clips sell themselves; thus 48 is April.\nTherefore 9.",
)
STEPS = ("## Step 1: May\nHalf of 48 is 24.", "## Step 2: add\n48 + 24 is 72.", "## Final Answer\n72")
TRACED = Traced(
    question=QUESTION,
    candidates=tuple(
        Candidate(m_strong="m", sample=at, step_reasoning="", step_list=STEPS[at:], normal=text, normal_is_own=True)
        for at, text in enumerate(THINKING)
    ),
)
NEAR = 1e-3


def scoring(text: str, after: str = "", question: str = QUESTION.text) -> Prompt:
    return Prompt(
        messages=(Message("user", question),), temperature=0.0, seed=0, continuation=Continuation(text, after)
    )


class Reference:
    """The same by transformers: one text at a time, every token against the whole vocabulary, no padding."""

    def __init__(self) -> None:
        transformers, self.torch = import_module("transformers"), import_module("torch")
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(model_folder())
        self.model = transformers.AutoModelForCausalLM.from_pretrained(model_folder(), dtype=self.torch.float32).eval()

    def tokens(self, question: str, after: str, text: str) -> tuple[list[int], list[int]]:
        """The context's and the text's."""
        chat = [{"role": "user", "content": question}]
        shown = self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        context, before, scored = (
            self.tokenizer(part, add_special_tokens=False)["input_ids"] for part in (shown, after, text)
        )
        return context + before, scored

    def __call__(self, question: str, text: str, after: str = "") -> tuple[list[float], list[int]]:
        """The log-probabilities and the ranks of the text's tokens."""
        context, scored = self.tokens(question, after, text)
        with self.torch.no_grad():
            logits = self.model(self.torch.tensor([context + scored])).logits[0].double()
        values, ranks = [], []
        for at, token in enumerate(scored, len(context) - 1):
            row = self.torch.log_softmax(logits[at], dim=-1)
            values.append(float(row[token]))
            ranks.append(1 + int((row > row[token]).sum()))
        return values, ranks


def by_definition(name: str, reference: Reference, candidate: Candidate) -> float:
    """A score as docs/method.md defines it, from what transformers says, without the scorers' own code."""
    text = candidate.normal
    values, ranks = reference(QUESTION.text, text)
    if name == "grape":
        return sum(values) / len(values)
    if name == "rsr":
        return -sum(min(rank, 100) for rank in ranks) / -sum(values)
    if name == "ifd":
        alone, _ = reference("", text)
        ifd = (sum(values) / len(values)) / (sum(alone) / len(alone))
        return ifd if ifd <= 1 else 1 - ifd
    if name == "local_naturalness":
        ends = [end for _, end in sentences(text)]
        begins = [0, *ends[:-1]]
        means = []
        for at, (begin, end) in enumerate(zip(begins, ends, strict=True)):
            window = text[begins[max(0, at - 4)] : begin].lstrip()
            found, _ = reference(QUESTION.text, text[begin:end], window)
            means.append(sum(found) / len(found))
        return sum(means) / len(means)
    chances = [
        math.exp(sum(reference(PROMPTS.guided(QUESTION.text, hint(candidate.step_list, i, 3)), r"\boxed{72}")[0]))
        for i in range(3)
    ]
    shares = (2.0**-2, 2.0**-2, 2.0**-1)
    weighted = sum(share * chance for share, chance in zip(shares, chances, strict=True))
    return 0.5 * sum(chances) / 3 + 0.5 * weighted / 2


class TestLogprobs:
    """Tests that share one running engine and one model of transformers."""

    pytestmark = engine_test

    @pytest_asyncio.fixture(loop_scope="module", scope="class")
    async def model(self) -> AsyncIterator[VllmModel]:
        async with running_engine(
            dtype="float32",
            max_model_len=1024,
            max_num_seqs=32,
            enable_prefix_caching=True,
            generation_kwargs=GenerationKwargs(max_new_tokens=8),
            engine_args={"kv_cache_memory_bytes": 2**30},
        ) as model:
            yield model

    @pytest.fixture(scope="class")
    def reference(self) -> Reference:
        return Reference()

    async def test_each_tokens_log_probability_and_rank_are_those_of_transformers(
        self, model: VllmModel, reference: Reference
    ) -> None:
        for text, after in ((THINKING[0], ""), (THINKING[2], ""), (" Half of 48 is 24.", "In April she sold 48.")):
            answer = await model.complete(scoring(text, after))
            assert answer.logprobs is not UNSET
            values, ranks = reference(QUESTION.text, text, after)
            assert len(answer.logprobs.values) == len(values)
            assert max(abs(a - b) for a, b in zip(answer.logprobs.values, values, strict=True)) < NEAR
            near = [abs(a - b) <= max(1, b // 500) for a, b in zip(answer.logprobs.ranks, ranks, strict=True)]
            assert all(near), "ranks may swap only where probabilities differ by rounding"
            assert answer.logprobs.ranks[:3] == ranks[:3]
            assert answer.usage.prompt_tokens == sum(map(len, reference.tokens(QUESTION.text, after, text)))
            assert (answer.usage.completion_tokens, answer.text, answer.says_nothing) == (1, "", False)

    @pytest.mark.parametrize("name", LOGPROB_SCORERS)
    async def test_each_formula_is_that_of_its_definition_on_transformers(
        self, name: str, model: VllmModel, reference: Reference
    ) -> None:
        scorer = scorer_named(name)(context(Params(n_mask=3), model))
        scores = await scorer(TRACED)
        for candidate, score in zip(TRACED.candidates, scores, strict=True):
            expected = by_definition(name, reference, candidate)
            assert math.isclose(score.score, expected, rel_tol=NEAR, abs_tol=1e-12)
        if name == "likelihood":
            assert all(score.score > 1e-12 for score in scores)

    async def test_neither_other_requests_nor_the_prefix_cache_change_a_value(self, model: VllmModel) -> None:
        """VLLM's own values for cached prefixes depended on the order of requests (vllm#42019)."""
        text = "word by word it grows. " * 12
        alone = await model.complete(scoring(text))
        assert alone.logprobs is not UNSET
        neighbours = [ask(f"{QUESTION.text} {n}", n) for n in range(12)]
        prompts = [scoring(text), *neighbours, scoring(text + "more"), scoring(text), scoring(text[:90])]
        random.Random(3).shuffle(prompts)
        answers = await asyncio.gather(*map(model.complete, prompts))
        for prompt, answer in zip(prompts, answers, strict=True):
            if prompt == scoring(text):
                assert answer.usage.cached_tokens == 0
                assert answer.logprobs is not UNSET
                pairs = zip(answer.logprobs.values, alone.logprobs.values, strict=True)
                assert max(abs(a - b) for a, b in pairs) < NEAR
            elif prompt.continuation is UNSET:
                assert answer.logprobs is UNSET
                assert answer.text

    async def test_a_text_without_room_fails_alone(self, model: VllmModel) -> None:
        prompts = [scoring("fine"), scoring("word " * 2000), scoring("fine, too"), scoring("fine", "word " * 1500)]
        outcomes = await asyncio.gather(*map(model.complete, prompts), return_exceptions=True)
        for outcome in (outcomes[1], outcomes[3]):
            assert isinstance(outcome, Rejected)
            assert outcome.kind == "context_overflow"
        assert isinstance(outcomes[0], Completion)
        assert isinstance(outcomes[2], Completion)

    async def test_a_text_of_no_token_is_refused(self, model: VllmModel) -> None:
        with pytest.raises(Rejected, match="no log-probability"):
            await model.complete(scoring(""))


class TestWithoutChatTemplate:
    """A base model's: the answer follows the question as one more message."""

    pytestmark = engine_test

    async def test_the_text_is_continued_after_an_empty_line(self) -> None:
        reference = Reference()
        async with running_engine(
            dtype="float32", max_model_len=512, chat_template=False, engine_args={"kv_cache_memory_bytes": 2**30}
        ) as model:
            for question in (QUESTION.text, ""):
                answer = await model.complete(scoring("It is 72.", question=question))
                assert answer.logprobs is not UNSET
                tokenizer = reference.tokenizer
                before = [*tokenizer(question)["input_ids"], *tokenizer("\n\n")["input_ids"]]
                scored = tokenizer("It is 72.")["input_ids"]
                with reference.torch.no_grad():
                    logits = reference.model(reference.torch.tensor([before + scored])).logits[0].double()
                for at, (token, value) in enumerate(zip(scored, answer.logprobs.values, strict=True), len(before) - 1):
                    assert abs(float(reference.torch.log_softmax(logits[at], dim=-1)[token]) - value) < NEAR


@pytest.mark.parametrize(("argument", "value"), [("kv_sharing_fast_prefill", True), ("logprobs_mode", "raw_logits")])
def test_an_engine_argument_that_makes_log_probabilities_wrong_is_refused(argument: str, value: Any) -> None:
    endpoint = VllmEndpoint(model_id="m", engine_args={argument: value})
    with pytest.raises(ConfigError, match=rf"model_endpoints\.weak\.engine_args\.{argument}"):
        VllmModel.check_logprobs("weak", endpoint)
    VllmModel.check_logprobs("weak", VllmEndpoint(model_id="m", engine_args={"logprobs_mode": "raw_logprobs"}))
