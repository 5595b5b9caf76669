"""Whether an answer depends on what else is in the batch: the same prompts and seeds, alone and together.

Asked are some prompts one at a time, then all at once, then all at once among others and in another order. Counted is
how many have the same text as alone. With ``--batch-invariant`` all should, where the hardware has that mode.

    python scripts/bench_invariance.py [--weak MODEL] [--prompts 16] [--new-tokens 128] [--batch-invariant]
"""

import argparse
import asyncio
import json
import os
import random
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from weak2wise.config import GenerationKwargs, VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.model import Message, Prompt
from weak2wise.llm.vllm.model import VllmModel

if TYPE_CHECKING:
    from vllm.config import VllmConfig


def active(config: "VllmConfig") -> dict[str, str]:
    """Which of vLLM's model runners and samplers an engine of this config uses here."""
    sampler = import_module("vllm.v1.sample.ops.topk_topp_sampler").TopKTopPSampler(config.model_config.logprobs_mode)
    return {"runner": "V2" if config.use_v2_model_runner else "V1", "sampler": sampler.forward.__name__}


def question(number: int) -> Prompt:
    """One of the questions."""
    text = f"A farmer has {number + 3} fields with {number * 7 % 11 + 2} trees each. How many trees? Explain." * (
        1 + number % 3
    )
    return Prompt(messages=(Message("user", text),), temperature=0.6, seed=number)


async def measure(endpoint: VllmEndpoint, prompts: int) -> dict[str, object]:
    """Start an engine, ask, and count."""
    model = VllmModel("weak", endpoint)
    await model.open()
    try:
        assert model._engine is not None  # it is open
        config = model._engine._llm.vllm_config
        asked, more = [question(number) for number in range(prompts)], [question(1000 + n) for n in range(prompts)]
        alone = [(await model.complete(prompt)).text for prompt in asked]
        together = [answer.text for answer in await asyncio.gather(*map(model.complete, asked))]
        mixed = [*asked, *more]
        random.Random(0).shuffle(mixed)
        among = dict(zip([id(p) for p in mixed], await asyncio.gather(*map(model.complete, mixed)), strict=True))
        return active(config) | {
            "prompts": prompts,
            "batch_invariant": endpoint.batch_invariant,
            "same_together": sum(a == b for a, b in zip(alone, together, strict=True)),
            "same_among_others": sum(text == among[id(p)].text for text, p in zip(alone, asked, strict=True)),
        }
    finally:
        await model.close()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    models = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "weak2wise" / "models"
    parser.add_argument("--weak", default=str(models / "smollm2-135m-instruct"))
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--batch-invariant", action="store_true")
    parser.add_argument("--engine-args", type=json.loads, default={}, help="more engine arguments, as JSON")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    endpoint = VllmEndpoint(
        model_id=options.weak,
        max_model_len=2048,
        max_num_seqs=2 * options.prompts,
        enforce_eager=True,
        batch_invariant=options.batch_invariant,
        generation_kwargs=GenerationKwargs(max_new_tokens=options.new_tokens),
        engine_args=options.engine_args,
    )
    try:
        found = asyncio.run(measure(endpoint, options.prompts))
    except ConfigError as error:
        if not options.batch_invariant:
            raise
        found = {"batch_invariant": True, "refused": str(error)}
    print(", ".join(f"{key}: {value}" for key, value in found.items()))
    if options.json:
        options.json.write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
