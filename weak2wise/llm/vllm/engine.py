"""One running vLLM engine. Only this module imports vLLM, in a thread, since that takes many seconds.

Decisions:

- Usage context ``LLM_CLASS``: vLLM then chooses batch sizes for throughput, as a batch job needs.
- Sampling defaults are the model's own (``generation_config.json``), as in ``vllm serve`` and in transformers;
  ``engine_args: {generation_config: vllm}`` turns that off. The temperature always comes from the method.
- Prompts go through the engine's renderer, whose thread pool applies the chat template and tokenises.
- Engine processes are spawned, never forked: a fork would share our sockets and the lock on the work_dir.
- On a CPU a per-request seed kills the engine when a prefill is chunked, so chunking is off there unless the user
  asks for it; vLLM then makes ``max_num_batched_tokens`` at least ``max_model_len`` by itself.
- On a CPU the engine computes in its own process, without vLLM's separate worker: the two wait for each other in busy
  loops, which on a few cores costs a third of the throughput (``scripts/bench_scoring.py``).
- On a CPU without AVX-512 the default type is float32: bfloat16, most models' own type, is several times slower there.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from vllm.config import VllmConfig
from vllm.config.logging import LoggingConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.exceptions import VLLMClientError, VLLMValidationError
from vllm.inputs import TextPrompt
from vllm.platforms import current_platform
from vllm.renderers.params import ChatParams
from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind, SamplingParams
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError
from vllm.v1.executor.uniproc_executor import UniProcExecutor

from weak2wise.config import DEFAULT_NEW_TOKENS, VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.errors import Rejected, Transient
from weak2wise.llm.model import Completion, Message, Prompt, Usage
from weak2wise.llm.vllm.detokenizer import texts
from weak2wise.llm.vllm.engine_log import USER_CONFIGURES_LOGGING, EngineLog
from weak2wise.llm.vllm.errors import HINT, EngineDied
from weak2wise.llm.vllm.guard import engine_processes, family, kill
from weak2wise.llm.vllm.repetition import COPIES, LONGEST, SHORTEST, Repetition
from weak2wise.telemetry.log import host_log

NATIVE_ARGS = (
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "revision",
    "download_dir",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "data_parallel_size",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "gpu_memory_utilization",
    "enforce_eager",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "trust_remote_code",
)
SAMPLING_ARGS = ("top_p", "top_k", "min_p", "repetition_penalty")
CHAT = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
SEED_MASK = 2**63 - 1
"""vLLM keeps a seed in a signed 64-bit integer."""
DELIVERY = 16
"""Tokens that are delivered together: each delivery takes about 20 us, and a loop is noticed up to 15 tokens late."""
REPETITION = RepetitionDetectionParams(min_pattern_size=SHORTEST, max_pattern_size=LONGEST, min_count=COPIES)
"""The rule of ``repetition.py`` in vLLM's own terms."""
CPU_KV_BYTES = 4 * 2**30
GRACEFUL_SECONDS = 1.5
"""How long ``shutdown`` waits for the engine to end by itself; with killing it after that, under 3 s in all."""


def _available_memory() -> int:
    """Bytes that the kernel estimates are available without swapping."""
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(meminfo["MemAvailable"].split()[0]) * 1024


def _cpu_args(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a CPU build needs beyond the user's."""
    extra: dict[str, Any] = {}
    if args.get("enable_chunked_prefill"):
        host_log.warning(
            "vllm.chunked_prefill_on_cpu", endpoint=name, hint="seeded requests can kill the engine; leave it out"
        )
    else:
        extra["enable_chunked_prefill"] = False
    if not {"distributed_executor_backend", "tensor_parallel_size", "pipeline_parallel_size"} & args.keys():
        extra["distributed_executor_backend"] = UniProcExecutor
    if "dtype" not in args and torch.backends.cpu.get_cpu_capability() == "AVX2":
        extra["dtype"] = "float32"
    sized = {"kv_cache_memory_bytes", "gpu_memory_utilization", "num_gpu_blocks_override"} & args.keys()
    if not sized and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        extra["kv_cache_memory_bytes"] = min(CPU_KV_BYTES, _available_memory() // 4)
    return extra


def _engine_args(name: str, endpoint: VllmEndpoint, engine_log: EngineLog) -> AsyncEngineArgs:
    """The endpoint as vLLM's arguments; settings without a meaning here are logged and left out."""
    args: dict[str, Any] = {"model": endpoint.model, "disable_log_stats": True, "use_tqdm_on_load": False}
    if not USER_CONFIGURES_LOGGING:
        args["logging_config"] = LoggingConfig(pylogging_config_file=str(engine_log.config_file()))
    tokenizer = dict(endpoint.tokenizer_kwargs)
    if tokenizer.pop("trust_remote_code", False):
        args["trust_remote_code"] = True
    if revision := tokenizer.pop("revision", None):
        args["tokenizer_revision"] = revision
    if tokenizer:
        host_log.warning("vllm.tokenizer_kwargs_ignored", endpoint=name, keys=sorted(tokenizer))
    native = {key: getattr(endpoint, key) for key in NATIVE_ARGS}
    args |= {key: value for key, value in native.items() if value is not None}
    args |= endpoint.engine_args
    is_cpu = current_platform.is_cpu()
    if endpoint.device not in (None, "auto") and endpoint.device.startswith("cpu") != is_cpu:
        running_on = current_platform.device_type
        host_log.warning("vllm.device_ignored", endpoint=name, device=endpoint.device, running_on=running_on)
    return AsyncEngineArgs(**(args | _cpu_args(name, args) if is_cpu else args))


def _one_line(error: BaseException) -> str:
    # Pydantic's text after the bracket is about pydantic itself.
    return " ".join(str(error).split()).partition(" [type=")[0][:600] or type(error).__name__


def _died(name: str, how: str, engine_log: EngineLog, otherwise: str = "") -> EngineDied:
    last = engine_log.last_error() or otherwise
    return EngineDied(f"the engine of {name} {how}" + (f"; its last error: {last}" if last else ""), hint=HINT)


def sequences(config: VllmConfig) -> int:
    """How many sequences run at once in all replicas that get work from this process."""
    parallel = config.parallel_config
    replicas = parallel.data_parallel_size_local if parallel.local_engines_only else parallel.data_parallel_size
    return int(config.scheduler_config.max_num_seqs * max(1, replicas))


class EmbeddedEngine:
    """A running engine, and how this endpoint uses it."""

    def __init__(
        self, name: str, endpoint: VllmEndpoint, engine_log: EngineLog, llm: AsyncLLM, processes: set[BaseProcess]
    ) -> None:
        self._name = name
        self._endpoint = endpoint
        self._log = engine_log
        self._llm = llm
        self._processes = processes
        self._asked = 0
        self._closing = False
        model = llm.model_config
        self._max_model_len: int = model.max_model_len
        self.max_num_seqs = sequences(llm.vllm_config)
        kwargs = endpoint.generation_kwargs
        given = {key: getattr(kwargs, key) for key in SAMPLING_ARGS}
        self._tokenizer: Tokenizer | None = getattr(llm.tokenizer, "backend_tokenizer", None)
        self._watched = endpoint.end_repetition and self._tokenizer is not None
        """Whether tokens are looked at as they arrive."""
        if self._watched:
            self._delivery = {"output_kind": RequestOutputKind.DELTA, "stream_interval": DELIVERY, "detokenize": False}
        else:
            by_vllm = REPETITION if endpoint.end_repetition else None
            whole = {"output_kind": RequestOutputKind.FINAL_ONLY, "repetition_detection": by_vllm}
            self._delivery = whole | {"detokenize": self._tokenizer is None}
        self._sampling = model.get_diff_sampling_param() | {k: v for k, v in given.items() if v is not None}

    def _params(self, prompt: Prompt, prompt_tokens: int) -> SamplingParams:
        kwargs = self._endpoint.generation_kwargs
        room = self._max_model_len - prompt_tokens
        own = {
            "temperature": prompt.temperature if kwargs.do_sample else 0.0,
            "seed": prompt.seed & SEED_MASK,
            "max_tokens": min(kwargs.max_new_tokens or DEFAULT_NEW_TOKENS, room),
            "skip_special_tokens": True,
        }
        return SamplingParams(**(self._sampling | own | self._delivery))

    async def _render(self, prompt: Prompt) -> Any:
        """The prompt as token ids.

        Raises:
            Rejected: it is too long, or the chat template refuses it.
            EngineDied: the engine is being shut down, and its threads accept no more work.
        """
        renderer = self._llm.renderer
        try:
            if self._endpoint.chat_template:
                chat = [{"role": message.role, "content": message.content} for message in prompt.messages]
                _, (rendered,) = await renderer.render_chat_async([chat], CHAT)
            else:
                text = "\n\n".join(message.content for message in prompt.messages)
                (rendered,) = await renderer.render_cmpl_async([TextPrompt(prompt=text)])
        except Exception as error:
            if self._closing:
                raise await self._shut_down() from error
            # Over-long text is refused before or while it is tokenised, so its full token count is not known.
            if isinstance(error, VLLMValidationError) and error.parameter in {"input_tokens", "input_text"}:
                unit = "tokens" if error.parameter == "input_tokens" else "characters"
                raise self._too_long(f"at least {error.value} {unit}") from error
            raise Rejected("bad_prompt", _one_line(error), endpoint=self._name) from error
        tokens = len(rendered["prompt_token_ids"])
        if tokens >= self._max_model_len:
            raise self._too_long(f"{tokens} tokens")
        return rendered

    def _too_long(self, size: str) -> Rejected:
        limit = f"the model's limit is {self._max_model_len} tokens for prompt and answer (max_model_len)"
        return Rejected("context_overflow", f"the prompt has {size}; {limit}", endpoint=self._name)

    async def answer(self, prompt: Prompt) -> Completion:
        """Answer one prompt; cancelling this removes the request from the engine.

        Raises:
            Rejected: this prompt cannot be answered.
            Transient: the engine aborted this request; it can serve others.
            EngineDied: the engine is dead.
        """
        rendered = await self._render(prompt)
        params = self._params(prompt, len(rendered["prompt_token_ids"]))
        self._asked += 1
        arrived, final = Repetition(), None
        try:
            async with aclosing(self._llm.generate(rendered, params, f"{self._name}-{self._asked}")) as deliveries:
                async for final in deliveries:
                    if self._watched and arrived.extend(final.outputs[0].token_ids):
                        break  # which removes the request from the engine
        except EngineDeadError as error:
            # vLLM raises the same error object in all waiting calls; its frames would keep the dead engine in memory.
            cause = error.with_traceback(None)
            raise await asyncio.to_thread(_died, self._name, f"died{self._exit_status()}", self._log) from cause
        except VLLMClientError as error:
            raise Rejected("bad_prompt", _one_line(error), endpoint=self._name) from error
        except EngineGenerateError as error:
            if self._closing:
                raise await self._shut_down() from error
            raise Transient("engine_error", _one_line(error.__cause__ or error), endpoint=self._name) from error
        assert final is not None  # vLLM ends a stream by a final output or by an exception
        answer = final.outputs[0]
        tokens, reason = (
            arrived.kept(answer.finish_reason) if self._watched else (answer.token_ids, answer.finish_reason)
        )
        if reason == "abort":  # not by us: a cancelled call does not get here
            raise await self._shut_down()
        if reason not in {"stop", "length", "repetition"}:
            raise Transient("engine_error", "the engine gave the request up", endpoint=self._name)
        usage = Usage(len(final.prompt_token_ids), len(tokens), final.num_cached_tokens or 0)
        text = answer.text if self._tokenizer is None else await self._text(final.prompt_token_ids, tokens, reason)
        return Completion(text=text, finish_reason=reason, usage=usage)

    async def _text(self, prompt: list[int], tokens: list[int], reason: str) -> str:
        assert self._tokenizer is not None
        said = tokens[:-1] if reason == "stop" else tokens  # the last one only says that the answer is over
        pieces = []
        for piece in texts(self._tokenizer, prompt, said):
            pieces.append(piece)
            await asyncio.sleep(0)
        return "".join(pieces)

    async def check(self) -> None:
        """Check that the engine replies and a prompt can be rendered. Call once, on the event loop that will use it.

        Raises:
            ConfigError: it cannot, most likely because the model has no chat template.
        """
        await self._llm.get_supported_tasks()
        try:
            await self._render(Prompt(messages=(Message("user", "?"),), temperature=0.0, seed=0))
        except Rejected as error:
            hint = "a base model without a chat template needs chat_template: false"
            raise ConfigError(f"model_endpoints.{self._name}: cannot make a prompt ({error}); {hint}") from error

    async def _shut_down(self) -> EngineDied:
        return await asyncio.to_thread(_died, self._name, "is being shut down", self._log)

    def _exit_status(self) -> str:
        """How the engine's processes ended; empty if they have not yet."""
        codes = [process.exitcode for process in self._processes if process.exitcode]
        return "".join(f" (killed by signal {-code})" if code < 0 else f" (exit status {code})" for code in codes)

    def shutdown(self) -> None:
        """End the engine: let it shut down by itself, then kill what is left. Blocks for up to 3 s; idempotent."""
        self._closing = True
        remains = family(process.pid for process in self._processes if process.pid)
        self._llm.shutdown(timeout=GRACEFUL_SECONDS)
        # Its __del__ calls shutdown again, perhaps so late that the names it needs are gone, and prints an error.
        self._llm.shutdown = lambda **_: None
        kill(remains)
        for process in self._processes:
            process.join(timeout=1.0)


def open_engine(
    name: str, endpoint: VllmEndpoint, engine_log: EngineLog, before_launch: Callable[[], None]
) -> EmbeddedEngine:
    """Start an engine; blocks for half a minute or more, so call it in a thread.

    ``before_launch`` is called right before processes are started, and may raise to give up.

    Raises:
        ConfigError: vLLM rejects the arguments or cannot read the model.
        EngineDied: the engine's processes failed while loading.
    """
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    try:
        args = _engine_args(name, endpoint, engine_log)
        config = args.create_engine_config(UsageContext.LLM_CLASS)
    except Exception as error:
        raise ConfigError(f"model_endpoints.{name}: vLLM refuses it: {_one_line(error)}") from error
    before_launch()
    others = engine_processes()
    try:
        llm = AsyncLLM.from_vllm_config(
            config, usage_context=UsageContext.LLM_CLASS, disable_log_stats=args.disable_log_stats
        )
    except Exception as error:
        raise _died(name, "did not start", engine_log, otherwise=_one_line(error)) from error
    return EmbeddedEngine(name, endpoint, engine_log, llm, engine_processes() - others)
