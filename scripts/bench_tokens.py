"""What one token costs on the host: with a model of no size, so that nearly nothing else is left to measure.

Two engines with the same weights run side by side, one of them idle at any time. Each round makes the same answers

    b       by vLLM's offline ``LLM.generate``, which looks for repetition and makes the text token by token,
    b'      by ``LLM.generate`` with neither: the least that vLLM can do,
    before  by our engine, with both left to vLLM, as it is for a tokenizer that is not one of Hugging Face's,
    after   by our engine as it is: repetition found as tokens are delivered, the text made at the end.

Printed are medians over the rounds, in microseconds of CPU time a token: of the engine's process, and of the front end,
which is the process that asked. How many answers are the same is printed, too: rounding depends on what else is in a
batch, and with a model that knows nothing all tokens are about as likely. Before that, the two functions alone, vLLM's
and ours, on the text of this project's docs.

    python scripts/bench_tokens.py [--tokens 1024] [--in-flight 64] [--rounds 3] [--functions-only]
"""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import fields
from multiprocessing.process import BaseProcess
from operator import eq
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
VOCABULARY = 512
PATIENCE_SECONDS = 600
"""For one round of one way."""


class Cost(NamedTuple):
    """Microseconds a token: CPU time of the engine's process, CPU time of this process, and on the clock."""

    engine: float
    front: float
    clock: float


class Said(NamedTuple):
    """An answer: its text and how many tokens it took."""

    text: str
    tokens: int


def pages() -> list[str]:
    """The project's docs, the characters of ASCII in them: others would make texts whose end is no character."""
    return [page.read_text().encode("ascii", "ignore").decode() for page in sorted(ROOT.glob("docs/*.md"))]


def write_model(folder: Path) -> None:
    """Write a Llama of one tiny layer without weights, and a tokenizer for it, made from the project's own docs."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(pages(), trainers.BpeTrainer(vocab_size=VOCABULARY, show_progress=False))
    size = tokenizer.get_vocab_size()
    tokenizer.add_special_tokens(["<end>"])  # beyond what the model knows, so every answer is as long as it may be
    tokenizer.save(str(folder / "tokenizer.json"))
    template = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<end>", "chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = shape | {"num_key_value_heads": 1, "head_dim": 32, "vocab_size": size, "max_position_embeddings": 65536}
    kind = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "float32"}
    (folder / "config.json").write_text(json.dumps(kind | config | {"tie_word_embeddings": True}))


def cpu_seconds(process: BaseProcess | None) -> float:
    """CPU time of an engine's process, or of this one, all threads."""
    if process is None:
        return time.process_time()
    # The command in parentheses may hold anything; the fields after it are fixed (proc_pid_stat(5)).
    used = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(used[11]) + int(used[12])) / os.sysconf("SC_CLK_TCK")


async def measured(process: BaseProcess, answers: Callable[[], Awaitable[list[Said]]]) -> tuple[Cost, list[Said]]:
    """What one round of one way costs, and its answers."""
    began = time.perf_counter(), cpu_seconds(process), cpu_seconds(None)
    said = await asyncio.wait_for(answers(), PATIENCE_SECONDS)
    clock, engine, front = time.perf_counter() - began[0], cpu_seconds(process) - began[1], cpu_seconds(None) - began[2]
    tokens = sum(answer.tokens for answer in said)
    return Cost(*(1e6 * seconds / tokens for seconds in (engine, front, clock))), said


def bare(endpoint: Any, tokens: int) -> tuple[Any, Callable[[int, bool], list[Said]]]:
    """An ``LLM`` with the endpoint's engine arguments, and what makes its answers, as (b) or as (b')."""
    from tokenizers import Tokenizer
    from vllm import LLM, SamplingParams
    from vllm.engine.arg_utils import EngineArgs

    from weak2wise.llm.vllm.arguments import engine_arguments
    from weak2wise.llm.vllm.engine import REPETITION
    from weak2wise.llm.vllm.engine_log import EngineLog

    arguments = engine_arguments("bare", endpoint, EngineLog(None))
    llm = LLM(**{field.name: getattr(arguments, field.name) for field in fields(EngineArgs)})

    def answers(number: int, least: bool) -> list[Said]:
        more = {"detokenize": False} if least else {"repetition_detection": REPETITION}
        params = [SamplingParams(temperature=0.6, seed=i, max_tokens=tokens, **more) for i in range(number)]
        outputs = llm.generate([question(i) + "\n" for i in range(number)], params, use_tqdm=False)
        decode = Tokenizer.from_file(f"{endpoint.model}/tokenizer.json").decode
        ends = [output.outputs[0] for output in outputs]
        return [Said(decode(end.token_ids) if least else end.text, len(end.token_ids)) for end in ends]

    return llm, answers


def question(number: int) -> str:
    """One of the questions."""
    return f"Question {number}: what is {number} and {number + 1}? Think step by step."


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=1024, help="of each answer")
    parser.add_argument("--in-flight", type=int, default=64, help="answers made at once")
    parser.add_argument("--rounds", type=int, default=3, help="measured ones; one more comes first")
    parser.add_argument("--functions-only", action="store_true", help="start no engine")
    parser.add_argument("--json", type=Path, help="write the figures of the engines there, too")
    options = parser.parse_args()
    for name, value in {
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_CPU_OMP_THREADS_BIND": "0",
        "HF_HUB_OFFLINE": "1",
    }.items():
        os.environ.setdefault(name, value)
    with TemporaryDirectory() as folder:
        write_model(Path(folder))
        console = Console(width=100)
        print_functions(console, Path(folder))
        if not options.functions_only:
            figures = await compare(console, folder, options.tokens, options.in_flight, options.rounds)
            if options.json:
                options.json.write_text(json.dumps(figures))


class Alone:
    """What is done for each token of an answer, without an engine: by vLLM's functions and by ours."""

    def __init__(self, tokenizer: Any, prompt: list[int]) -> None:
        self._tokenizer = tokenizer
        self._prompt = prompt

    def check_each(self, tokens: list[int]) -> None:
        """Repetition by vLLM: at every token, of which this makes a copy."""
        from vllm.v1.core.sched.utils import check_sequence_repetition

        from weak2wise.llm.vllm.engine import REPETITION

        for number in range(1, len(tokens) + 1):
            check_sequence_repetition(tokens[:number], REPETITION)

    def copy_each(self, tokens: list[int]) -> None:
        """The copies alone, which vLLM does not make."""
        for number in range(1, len(tokens) + 1):
            tokens[:number]

    def as_delivered(self, tokens: list[int]) -> None:
        """Repetition by us."""
        from weak2wise.llm.vllm.engine import DELIVERY
        from weak2wise.llm.vllm.repetition import Repetition

        repetition = Repetition()
        for start in range(0, len(tokens), DELIVERY):
            repetition.extend(tokens[start : start + DELIVERY])

    def step_by_step(self, tokens: list[int]) -> None:
        """Text by what vLLM uses."""
        from tokenizers.decoders import DecodeStream

        stream, text = DecodeStream(ids=self._prompt, skip_special_tokens=True), ""
        for token in tokens:
            text += stream.step(self._tokenizer, token) or ""

    def at_the_end(self, tokens: list[int]) -> None:
        """Text by us."""
        from weak2wise.llm.vllm.detokenizer import texts

        "".join(texts(self._tokenizer, self._prompt, tokens))


def print_functions(console: Console, folder: Path) -> None:
    """Microseconds a token for repetition and for text, by vLLM's functions and by ours; the best of five times."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = tokenizer.encode("".join(pages())).ids
    alone = Alone(tokenizer, ids[:50])
    table = Table("tokens of an answer", "repetition by vLLM, us a token", "by us", "text by vLLM", "by us")
    for length in (128, 256, 512, 1024, 8192):
        checked, copied, *others = (
            min(timed(function, ids[at * 99 : at * 99 + length]) for at in range(5)) * 1e6 / length
            for function in (
                alone.check_each,
                alone.copy_each,
                alone.as_delivered,
                alone.step_by_step,
                alone.at_the_end,
            )
        )
        table.add_row(f"{length:,}", *(f"{cost:.2f}" for cost in (checked - copied, *others)))
    console.print(table)


def timed(function: Callable[[list[int]], None], tokens: list[int]) -> float:
    """CPU seconds that a call takes."""
    began = time.process_time()
    function(tokens)
    return time.process_time() - began


async def compare(console: Console, folder: str, tokens: int, in_flight: int, rounds: int) -> dict[str, Any]:
    """Start both engines, measure each way ``rounds`` times, print the medians and return them."""
    from tests.vllm.engines import WithoutTokenizer
    from weak2wise.config import GenerationKwargs, VllmEndpoint
    from weak2wise.llm.model import Message, Prompt
    from weak2wise.llm.vllm.engine import EmbeddedEngine
    from weak2wise.llm.vllm.engine_log import EngineLog
    from weak2wise.llm.vllm.gpu_memory import gpus
    from weak2wise.llm.vllm.guard import engine_processes
    from weak2wise.llm.vllm.model import VllmModel

    on_gpu = bool(gpus())
    endpoint = VllmEndpoint(
        model_id=folder,
        dtype=None if on_gpu else "float32",
        gpu_memory_utilization=0.4 if on_gpu else None,  # two engines share it
        max_model_len=tokens + 256,
        max_num_seqs=in_flight,
        enforce_eager=True,
        generation_kwargs=GenerationKwargs(max_new_tokens=tokens),
        engine_args={"load_format": "dummy", "kv_cache_memory_bytes": 2**30, "block_size": 32},
    )
    llm, by_llm = bare(endpoint, tokens)
    (its,) = engine_processes()
    model = VllmModel("tiny", endpoint)
    await model.open()
    (ours,) = engine_processes() - {its}
    after = model._engine
    assert after is not None  # it is open
    before = EmbeddedEngine("before", endpoint, EngineLog(None), WithoutTokenizer(after._llm), set())

    async def one(number: int) -> Said:
        prompt = Prompt(messages=(Message("user", question(number)),), temperature=0.6, seed=number)
        completion = await model.complete(prompt)
        return Said(completion.text, completion.usage.completion_tokens)

    async def by_us(engine: EmbeddedEngine) -> list[Said]:
        model._engine = engine
        return await asyncio.gather(*map(one, range(in_flight)))

    ways: dict[str, tuple[BaseProcess, Callable[[], Awaitable[list[Said]]]]] = {
        "(b) LLM.generate": (its, lambda: asyncio.to_thread(by_llm, in_flight, False)),
        "(b') neither text nor repetition": (its, lambda: asyncio.to_thread(by_llm, in_flight, True)),
        "before: both by vLLM": (ours, lambda: by_us(before)),
        "after: both by us": (ours, lambda: by_us(after)),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    said: dict[str, list[Said]] = {}
    for number in range(rounds + 1):
        for name, (process, answers) in ways.items():
            cost, said[name] = await measured(process, answers)
            if number:
                costs[name].append(cost)
    model._engine = after
    await model.close()
    llm.llm_engine.engine_core.shutdown()

    table = Table(
        f"{in_flight} answers of {tokens} tokens",
        "engine, us a token",
        "front end",
        "both",
        "more than (b')",
        "on the clock",
    )
    medians = {name: Cost(*map(statistics.median, zip(*found, strict=True))) for name, found in costs.items()}
    least = medians["(b') neither text nor repetition"]
    for name, cost in medians.items():
        both = cost.engine + cost.front
        table.add_row(
            name,
            f"{cost.engine:.1f}",
            f"{cost.front:.1f}",
            f"{both:.1f}",
            f"{both - least.engine - least.front:+.1f}",
            f"{cost.clock:.1f}",
        )
    console.print(table)
    for first, second in (("(b) LLM.generate", "before: both by vLLM"), ("before: both by vLLM", "after: both by us")):
        same = sum(map(eq, said[first], said[second]))
        console.print(f"the same answer, {first} and {second}: {same} of {in_flight}")
    shown = {name: cost._asdict() for name, cost in medians.items()}
    return {"answers": in_flight, "tokens": tokens, "microseconds_a_token": shown}


if __name__ == "__main__":
    import uvloop

    uvloop.run(main())
