"""A program with an embedded engine, for tests that interrupt or kill it: ``python -m tests.vllm.child MODEL_FOLDER``.

It prints ``starting`` and, once the engine is up, ``started``; then it waits to be ended.
"""

import asyncio
import sys

from weak2wise.config import VllmEndpoint
from weak2wise.llm.vllm.model import VllmModel


async def main(folder: str) -> None:
    """Start, wait, and close on every way out that leaves us the time."""
    endpoint = VllmEndpoint(
        model_id=folder, dtype="float32", max_model_len=512, max_num_seqs=4, enforce_eager=True,
        engine_args={"kv_cache_memory_bytes": 2**28},
    )  # fmt: skip
    model = VllmModel("child", endpoint)
    print("starting", flush=True)
    try:
        await model.open()
        print("started", flush=True)
        await asyncio.Event().wait()
    finally:
        await model.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
