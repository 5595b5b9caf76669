"""One running vLLM engine. Only this module and ``arguments`` import vLLM, in a thread: that takes many seconds.

Decisions:

- Usage context ``LLM_CLASS``: vLLM then chooses batch sizes for throughput, as a batch job needs.
- Sampling defaults are the model's own (``generation_config.json``), as in ``vllm serve`` and in transformers;
  ``engine_args: {generation_config: vllm}`` turns that off. The temperature always comes from the method.
- Prompts go through the engine's renderer, whose thread pool applies the chat template and tokenises.
- A given text (``Prompt.continuation``) is tokenised by itself and put behind the prompt. vLLM computes its prefill
  without the prefix cache, and must: with it, values depend on the order of requests (vllm#42019).
- Calls of one row go to one data parallel replica (``routing.py``): left to vLLM, they would be scattered.
- Engine processes are spawned, never forked: a fork would share our sockets and the lock on the work_dir.
"""

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, cast

from msgspec import UNSET
from tokenizers import Tokenizer
from vllm.config import VllmConfig
from vllm.exceptions import VLLMClientError, VLLMValidationError
from vllm.inputs import TextPrompt, TokensPrompt
from vllm.logprobs import FlatLogprobs
from vllm.outputs import RequestOutput
from vllm.renderers import BaseRenderer
from vllm.renderers.params import ChatParams, TokenizeParams
from vllm.sampling_params import RepetitionDetectionParams, RequestOutputKind, SamplingParams
from vllm.usage.usage_lib import UsageContext
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from weak2wise.config import DEFAULT_NEW_TOKENS, VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.call import current_call
from weak2wise.llm.errors import Rejected, Transient
from weak2wise.llm.model import Completion, Logprobs, Message, Prompt, Usage
from weak2wise.llm.vllm.arguments import engine_arguments, set_batch_invariance
from weak2wise.llm.vllm.detokenizer import texts
from weak2wise.llm.vllm.engine_log import EngineLog
from weak2wise.llm.vllm.errors import HINT, EngineDied
from weak2wise.llm.vllm.guard import engine_processes, family, kill
from weak2wise.llm.vllm.repetition import COPIES, LONGEST, SHORTEST, Repetition
from weak2wise.llm.vllm.routing import Routing

SAMPLING_ARGS = ("top_p", "top_k", "min_p", "repetition_penalty")
CHAT = ChatParams(chat_template_kwargs={"add_generation_prompt": True})
SEED_MASK = 2**63 - 1
"""vLLM keeps a seed in a signed 64-bit integer."""
DELIVERY = 16
"""Tokens that are delivered together: each delivery takes about 20 us, and a loop is noticed up to 15 tokens late."""
REPETITION = RepetitionDetectionParams(min_pattern_size=SHORTEST, max_pattern_size=LONGEST, min_count=COPIES)
"""The rule of ``repetition.py`` in vLLM's own terms."""
SCORING = SamplingParams(
    temperature=0.0,
    max_tokens=1,
    prompt_logprobs=0,
    flat_logprobs=True,
    detokenize=False,
    output_kind=RequestOutputKind.FINAL_ONLY,
)
"""Asks for the log-probability and rank of the prompt's own tokens, and for the one token that must be sampled."""
LEAST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot hold, as in vLLM's own server."""
GRACEFUL_SECONDS = 1.5
"""How long ``shutdown`` waits for the engine to end by itself; with killing it after that, under 3 s in all."""


def _one_line(error: BaseException) -> str:
    # Pydantic's text after the bracket is about pydantic itself.
    return " ".join(str(error).split()).partition(" [type=")[0][:600] or type(error).__name__


def _died(name: str, how: str, engine_log: EngineLog, otherwise: str = "") -> EngineDied:
    last = engine_log.last_error() or otherwise
    return EngineDied(f"the engine of {name} {how}" + (f"; its last error: {last}" if last else ""), hint=HINT)


def replicas(config: VllmConfig) -> int:
    """How many data parallel replicas get work from this process."""
    parallel = config.parallel_config
    own = parallel.data_parallel_size_local if parallel.local_engines_only else parallel.data_parallel_size
    return max(1, int(own))


class _Generated(NamedTuple):
    """The last delivery of an answer, all its tokens, and why it ended."""

    final: RequestOutput
    tokens: list[int]
    reason: str


class EmbeddedEngine:
    """A running engine, and how this endpoint uses it."""

    def __init__(
        self, name: str, endpoint: VllmEndpoint, engine_log: EngineLog, llm: AsyncLLM, processes: set[BaseProcess]
    ) -> None:
        self._name = name
        self._endpoint = endpoint
        self._log = engine_log
        self._llm = llm
        self._renderer: BaseRenderer = llm.renderer
        self._processes = processes
        self._asked = 0
        self._closing = False
        model = llm.model_config
        self._max_model_len: int = model.max_model_len
        places = llm.vllm_config.scheduler_config.max_num_seqs
        self._routing = Routing(replicas(llm.vllm_config), places)
        self.max_num_seqs: int = places * len(self._routing.loads)
        """How many sequences run at once, in all replicas together."""
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
        """The prompt as token ids. Raises ``Rejected`` if it is too long, and as ``_made``."""
        if self._endpoint.chat_template:
            chat = [{"role": message.role, "content": message.content} for message in prompt.messages]
            _, (rendered,) = await self._made(self._renderer.render_chat_async([chat], CHAT))
        else:
            text = "\n\n".join(message.content for message in prompt.messages)
            (rendered,) = await self._made(self._renderer.render_cmpl_async([TextPrompt(prompt=text)]))
        self._check_length(rendered["prompt_token_ids"])
        return rendered

    async def _tokens(self, text: str) -> list[int]:
        """The tokens of a text, with none that marks its beginning or end. Raises as ``_made``."""
        if not text:
            return []
        plain = TokenizeParams(max_total_tokens=self._max_model_len, add_special_tokens=False)
        (rendered,) = await self._made(self._renderer.render_cmpl_async([TextPrompt(prompt=text)], plain))
        return list(rendered["prompt_token_ids"])

    async def _made(self, rendering: Awaitable[Any]) -> Any:
        """What the renderer returns.

        Raises:
            Rejected: the text is too long, or the chat template refuses it.
            EngineDied: the engine is being shut down, and its threads accept no more work.
        """
        try:
            return await rendering
        except Exception as error:
            if self._closing:
                raise await self._shut_down() from error
            # Over-long text is refused before or while it is tokenised, so its full token count is not known.
            if isinstance(error, VLLMValidationError) and error.parameter in {"input_tokens", "input_text"}:
                unit = "tokens" if error.parameter == "input_tokens" else "characters"
                raise self._too_long(f"at least {error.value} {unit}") from error
            raise Rejected("bad_prompt", _one_line(error), endpoint=self._name) from error

    def _check_length(self, tokens: Sequence[int]) -> None:
        if len(tokens) >= self._max_model_len:
            raise self._too_long(f"{len(tokens)} tokens")

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
        final, tokens, reason = await self._generate(rendered, self._params(prompt, len(rendered["prompt_token_ids"])))
        before = final.prompt_token_ids or []
        usage = Usage(len(before), len(tokens), final.num_cached_tokens or 0)
        text = final.outputs[0].text if self._tokenizer is None else await self._text(before, tokens, reason)
        return Completion(text=text, finish_reason=reason, usage=usage)

    async def logprobs(self, prompt: Prompt) -> Completion:
        """How likely each token of ``prompt.continuation`` is; raises as ``answer``, and cancels alike.

        One token has to be sampled after it, which is thrown away.
        """
        assert prompt.continuation is not UNSET
        given = prompt.continuation
        rendered = await self._render(prompt)
        # Without a chat template the answer follows as one more message does.
        before = await self._tokens(given.after if self._endpoint.chat_template else f"\n\n{given.after}")
        text = await self._tokens(given.text)
        tokens = [*rendered["prompt_token_ids"], *before, *text]
        self._check_length(tokens)
        (whole,) = await self._made(self._renderer.render_cmpl_async([TokensPrompt(prompt_token_ids=tokens)]))
        final, sampled, _ = await self._generate(whole, SCORING)
        found = cast("FlatLogprobs", final.prompt_logprobs)
        values, ranks = found.logprobs[-len(text) :], found.ranks[-len(text) :]
        if not text or len(values) < len(text) or any(map(math.isnan, values)):
            raise Rejected("bad_prompt", "the model gave no log-probability of a token", endpoint=self._name)
        logprobs = Logprobs([round(max(value, LEAST_LOGPROB), 6) for value in values], [rank or 0 for rank in ranks])
        usage = Usage(len(tokens), len(sampled), final.num_cached_tokens or 0)
        return Completion(text="", finish_reason="stop", usage=usage, logprobs=logprobs)

    async def _generate(self, rendered: Any, params: SamplingParams) -> _Generated:
        """What the engine makes of a rendered prompt; raises as ``answer``."""
        self._asked += 1
        arrived, final = Repetition(), None
        replica = self._routing.take(current_call().row)
        rank = replica if len(self._routing.loads) > 1 else None
        name = f"{self._name}-{self._asked}"
        try:
            async with aclosing(self._llm.generate(rendered, params, name, data_parallel_rank=rank)) as deliveries:
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
        finally:
            self._routing.give_back(replica)
        assert final is not None  # vLLM ends a stream by a final output or by an exception
        answer = final.outputs[0]
        tokens, reason = (
            arrived.kept(answer.finish_reason) if self._watched else (answer.token_ids, answer.finish_reason)
        )
        if reason == "abort":  # not by us: a cancelled call does not get here
            raise await self._shut_down()
        if reason not in {"stop", "length", "repetition"}:
            raise Transient("engine_error", "the engine gave the request up", endpoint=self._name)
        return _Generated(final, tokens, reason)

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
        ConfigError: vLLM rejects the arguments, cannot read the model, or lacks what is asked for on this hardware.
        EngineDied: the engine's processes failed while loading.
    """
    os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")
    set_batch_invariance(name, endpoint)
    try:
        args = engine_arguments(name, endpoint, engine_log)
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
