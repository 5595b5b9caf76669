"""The ways of scoring that ``bench_scoring.py`` compares, and the traces they score.

Each function is meant to run alone in a process, so vLLM and torch are imported inside.
"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from weak2wise.api import open_run
from weak2wise.config import Config, Params, VllmEndpoint, load_config
from weak2wise.ledger.outcomes import Done
from weak2wise.llm.model import Completion, Model, Prompt
from weak2wise.llm.vllm.model import VllmModel
from weak2wise.process_pool import KillablePool
from weak2wise.run.engine import Engine
from weak2wise.run.store import RunStore
from workers.context import Context
from workers.generate import Generate
from workers.judge import Judge
from workers.prompts import Prompts
from workers.records import Candidate, Question, Scored, Traced, Unsolved
from workers.scorers import StepMask
from workers.truncate import Truncate

MODES: tuple[Literal["anchor", "rewrite"], ...] = ("anchor", "rewrite")


class Speed(NamedTuple):
    """What one way of scoring did, and how long it took."""

    attempts: int
    tokens: int
    prompt_tokens: int
    cached_tokens: int
    seconds: float
    bits: dict[str, int]
    """Mask levels asked, spared, and asked but not needed (``in_vain``)."""


class Setting(msgspec.Struct, frozen=True):
    """The settings that all ways of scoring share."""

    folder: str
    weak: str
    strong: str
    new_tokens: int
    max_num_seqs: int
    n: int

    def config(self, scoring: str) -> Config:
        """A config whose embedded weak model both the engine and the bare vLLM run with."""
        path = Path(self.folder) / f"{scoring}.yaml"
        endpoint = {"type": "vllm", "max_model_len": 2048, "max_num_seqs": self.max_num_seqs, "enforce_eager": True}
        shared = endpoint | {"enable_prefix_caching": True, "engine_args": {"block_size": 32}}
        path.write_text(
            json.dumps(
                {
                    "models": {"mweak": "weak", "mstrong": ["weak"]},
                    "model_endpoints": {
                        "weak": shared
                        | {"model_name": self.weak, "generation_kwargs": {"max_new_tokens": self.new_tokens}},
                        "strong": shared | {"model_name": self.strong, "generation_kwargs": {"max_new_tokens": 256}},
                    },
                    "params": {"scoring": scoring, "judge_mode": "rule", "truncation": "rule", "n_mask": self.n},
                    "dataset": {
                        "input_path": str(Path(self.folder) / "questions.jsonl"),
                        "work_dir": str(Path(self.folder) / scoring),
                    },
                }
            )
        )
        return load_config(path)


class Tally:
    """A model that counts the tokens of its answers."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.tokens = 0

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Pass the prompt on."""
        completion = await self._model.complete(prompt)
        self.tokens += completion.usage.completion_tokens
        return completion


class Cutting(NamedTuple):
    """Cuts of all traces by the strong model in one mode: tokens it wrote, and the number of valid cuts."""

    tokens: int
    held: int
    traces: int


def made_up(question: Question, sample: int, rng: random.Random, *, steps: int, sentences: int) -> Candidate:
    """A trace with thinking of so many sentences, and steps of three sentences each."""

    def sentence() -> str:
        a, b = rng.randrange(2, 90), rng.randrange(2, 90)
        says = ("First we look at", "Then we take", "So far there are", "Next we add up", "That leaves us with")
        return f"{rng.choice(says)} {a} and {b} of them, which makes {a + b} in all."

    listed = [f"## Step {n + 1}: go on\n{' '.join(sentence() for _ in range(3))}" for n in range(steps)]
    listed.append(f"## Final Answer\n{question.answer}")
    thinking = " ".join(sentence() for _ in range(sentences))
    return Candidate(
        m_strong="m",
        sample=sample,
        step_reasoning="\n\n".join(listed),
        step_list=tuple(listed),
        normal=thinking,
        normal_is_own=True,
    )


def write_traces(
    setting: Setting, questions: list[Question], samples: int
) -> tuple[list[Traced], dict[str, Cutting], int]:
    """Let the strong model write ``samples`` traces a question, and cut each in both modes.

    Returns:
        the traces, what cutting took by mode, and the tokens of all traces.
    """

    async def generate() -> tuple[list[Traced], dict[str, Cutting], int]:
        config = setting.config("exhaustive")
        endpoint = config.endpoints["strong"]
        assert isinstance(endpoint, VllmEndpoint)
        model = VllmModel("strong", endpoint)
        await model.open()
        prompts, pool = Prompts.of(config.prompts), KillablePool()
        judge = Judge(prompts=prompts, pool=pool, mode="rule")
        writer = Tally(model)
        worker = Generate({"strong": writer}, judge, prompts, Params(samples_per_model=samples))
        cuttings: dict[str, Cutting] = {}
        try:
            made = await asyncio.gather(*(worker(Unsolved(question=q, weak_attempt=None)) for q in questions))
            traced = [record for record in made if isinstance(record, Traced)]
            assert len(traced) == len(made), "some traces could not be had"
            for mode in MODES:
                tally = Tally(model)
                cut = Truncate(prompts=prompts, model=tally, mode=mode)
                texts = [(c.normal, t.question.answer) for t in traced for c in t.candidates]
                cuts = await asyncio.gather(*(cut(normal, answer, seed=0) for normal, answer in texts))
                cuttings[mode] = Cutting(tally.tokens, sum(c.by == mode for c in cuts), len(cuts))
            return traced, cuttings, writer.tokens
        finally:
            await model.close()
            await pool.close()

    return asyncio.run(generate())


class _Recorder:
    """A model that records its prompts and returns empty answers."""

    def __init__(self) -> None:
        self.prompts: list[Prompt] = []

    async def complete(self, prompt: Prompt, /) -> Completion:
        self.prompts.append(prompt)
        return Completion(text="")


def step_mask(setting: Setting, weak: Model | None = None) -> StepMask:
    """The exhaustive scorer outside the engine. It needs a model only to make attempts."""
    config = setting.config("exhaustive")
    prompts = Prompts.of(config.prompts)
    judge = Judge(prompts=prompts, pool=KillablePool(), mode="rule")
    models = {"weak": weak} if weak else {}
    return StepMask(Context(params=config.params, prompts=prompts, models=models, judge=judge))


def guided_prompts(setting: Setting, traced: list[Traced]) -> list[Prompt]:
    """The prompts of all attempts of exhaustive scoring, with the engine's texts and seeds."""
    recorder = _Recorder()
    scorer = step_mask(setting, recorder)

    async def ask() -> None:
        for record in traced:
            await scorer(record)

    asyncio.run(ask())
    return recorder.prompts


def chats(prompts: Sequence[Prompt]) -> list[list[dict[str, str]]]:
    """The prompts in the form that chat templates take."""
    return [[{"role": m.role, "content": m.content} for m in prompt.messages] for prompt in prompts]


def with_transformers(setting: Setting, prompts: list[Prompt]) -> Speed:
    """(a) One attempt at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed

    tokenizer = AutoTokenizer.from_pretrained(setting.weak)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float32 if device == "cpu" else "auto"
    model = AutoModelForCausalLM.from_pretrained(setting.weak, dtype=dtype).to(device)
    began, tokens, read = time.perf_counter(), 0, 0
    for prompt, chat in zip(prompts, chats(prompts), strict=True):
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, return_tensors="pt").to(device)
        set_seed(prompt.seed)
        out = model.generate(**inputs, do_sample=True, temperature=0.6, max_new_tokens=setting.new_tokens)
        read += inputs["input_ids"].shape[1]
        tokens += out.shape[1] - inputs["input_ids"].shape[1]
    return Speed(len(prompts), tokens, read, 0, time.perf_counter() - began, {})


def with_bare_vllm(setting: Setting, prompts: list[Prompt], least: bool) -> Speed:
    """(b) All prompts at once; (b') the same with neither repetition detection nor text token by token (``least``)."""
    from vllm import LLM
    from vllm.engine.arg_utils import EngineArgs

    from weak2wise.llm.vllm.arguments import engine_arguments
    from weak2wise.llm.vllm.engine import REPETITION
    from weak2wise.llm.vllm.engine_log import EngineLog

    endpoint = setting.config("exhaustive").endpoints["weak"]
    assert isinstance(endpoint, VllmEndpoint)
    log = EngineLog(Path(setting.folder) / "bare-vllm.log")
    arguments = engine_arguments("weak", endpoint, log)
    llm = LLM(**{field.name: getattr(arguments, field.name) for field in fields(EngineArgs)})
    base = llm.get_default_sampling_params()
    params = []
    for prompt in prompts:
        own = base.clone()
        own.repetition_detection = REPETITION if endpoint.end_repetition and not least else None
        own.detokenize = not least
        own.temperature, own.seed, own.max_tokens = prompt.temperature, prompt.seed, setting.new_tokens
        params.append(own)
    tokenizer = llm.get_tokenizer()
    texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats(prompts)]
    began = time.perf_counter()
    outputs = llm.generate(texts, params, use_tqdm=False)
    seconds = time.perf_counter() - began
    llm.llm_engine.engine_core.shutdown()  # otherwise this process and its engine wait for each other
    return Speed(
        len(outputs),
        sum(len(output.outputs[0].token_ids) for output in outputs),
        sum(len(output.prompt_token_ids or ()) for output in outputs),
        sum(output.num_cached_tokens or 0 for output in outputs),
        seconds,
        {},
    )


def with_this_engine(setting: Setting, traced: list[Traced], scoring: str) -> tuple[Speed, list[Scored]]:
    """(c) and (d): the real engine, resuming from a ledger in which step 2 is done."""

    async def score() -> None:
        config = setting.config(scoring)
        unsolved = [Unsolved(question=record.question, weak_attempt=None) for record in traced]
        for step, records in (("filter", unsolved), ("generate", traced)):
            ledger = RunStore.of(config).account.steps[step]
            ledger.open()
            for record in records:
                await ledger.append(Done(record.row, record))
            await ledger.close()
        await Engine(config, up_to_step=3, resume="force").run()  # there is no manifest yet

    asyncio.run(score())
    run = open_run(Path(setting.folder) / scoring)
    (use,), last = run.summary.roles, run.summary.this_start
    assert last is not None  # it has just finished
    events = [json.loads(line) for line in (run.work_dir / "run.log").read_text().splitlines()]
    at = {event["event"]: datetime.fromisoformat(event["timestamp"]) for event in events}
    seconds = (at["run.finished"] - at["run.started"]).total_seconds()
    return (
        Speed(
            use.calls,
            use.completion_tokens,
            use.prompt_tokens,
            use.cached_tokens,
            seconds,
            dict(last.bits),
        ),
        list(run.scores()),
    )
