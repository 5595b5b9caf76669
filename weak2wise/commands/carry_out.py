"""A run from the command line: how it handles signals, what it prints, and its exit code."""

import asyncio
import errno
import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import uvloop
from rich.console import Console

from weak2wise.commands.extras import needing_ray
from weak2wise.commands.say import INTERRUPTED, command_line, explain, handle_interrupts, say
from weak2wise.config import Config, input_of, load_config
from weak2wise.dataset import unreadable_advice
from weak2wise.errors import ConfigError
from weak2wise.llm.http.open_files import raise_open_files
from weak2wise.outputs.summary import Summary, show
from weak2wise.run.engine import GRACE_SECONDS, Engine
from weak2wise.telemetry.log import Echo
from weak2wise.telemetry.terminal import UNREAD_SECONDS, QueuedStream, can_be_drawn_on, wait_for_reader, write_line
from weak2wise.watch.board import Observed
from weak2wise.watch.page import Address, served
from weak2wise.watch.screen import on_screen

if TYPE_CHECKING:
    from weak2wise.cluster.holders import RayHolders


async def supervise(engine: Engine, page: Address | None = None) -> Summary | None:
    """Run an engine and show its progress. On SIGINT, SIGTERM or SIGHUP, wait for calls in flight, then stop.

    A second SIGINT or SIGTERM ends the process at once. A second SIGHUP does not: a terminal that is closed may send it
    twice. SIGHUP has no effect if it was ignored from the start (``nohup``).

    Returns:
        The summary, or ``None`` if the run was interrupted.
    """
    opened: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        if page:
            say(f"The page: {await stack.enter_async_context(served(opened, page))}")
        if can_be_drawn_on():
            await stack.enter_async_context(on_screen(opened, Console(stderr=True)))
        return await _until_signalled(engine, opened)


async def _until_signalled(engine: Engine, opened: "asyncio.Future[Observed]") -> Summary | None:
    interrupted = asyncio.Event()

    def on_signal() -> None:
        if interrupted.is_set():
            os._exit(INTERRUPTED)
        interrupted.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGHUP, interrupted.set)
    running = asyncio.create_task(engine.run(opened), name="run")
    waiting = asyncio.create_task(interrupted.wait(), name="signals")
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        return running.result()
    await engine.drain.drain(GRACE_SECONDS)
    running.cancel()
    with suppress(asyncio.CancelledError):
        return await running  # it may have finished in the meantime
    return None


def make_engine(config: Config, *, verbose: bool = False, **options: Any) -> Engine:
    """An engine that prints its warnings on this terminal; ``options`` are passed to it. Raises ``ConfigError``."""
    limits = [config.endpoints[name].limits for name in dict.fromkeys(config.roles().values())]
    raise_open_files([limit.max_concurrent_requests for limit in limits])
    # Progress is drawn on a capable terminal; elsewhere it is a line from time to time.
    return Engine(config, echo=Echo(write_line, progress=not can_be_drawn_on(), everything=verbose), **options)


def carry_out(
    config: Path,
    overrides: Sequence[str],
    page: str | None = None,
    *,
    verbose: bool = False,
    ray: str | None = None,
    **options: Any,
) -> int:
    """Load a config, run an engine with these ``options``, print how it ended, and return the exit code.

    ``ray``: the address of a cluster whose hosts do the work.
    """
    handle_interrupts()
    resume_command = command_line()
    engine: Engine | None = None
    try:
        address = Address.of(page) if page else None
        loaded = load_config(config, overrides)
        try:
            options |= {"holders": _holders(loaded)} if ray else {}
            engine = make_engine(loaded, verbose=verbose, **options)
        except ConfigError as error:
            raise ConfigError(f"{config}: {error}") from None
        collect_less_often()
        with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            if ray:
                stack.enter_context(options["holders"].joined(ray, engine.drain, engine.budget))
            summary = runner.run(supervise(engine, address))
            if summary is None:
                stack.close()
                say(f"Interrupted; everything that had arrived is kept. Go on with: {resume_command}")
                wait_for_reader()
                # No return: the runner would wait for threads, and one may be reading a large input for minutes.
                # Exiting ends the threads' writes to the work_dir first and releases its lock after that.
                os._exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - printed below; the traceback is in the log
        if engine is None:
            return explain(error, resume_command, logged=False)
        return explain(error, resume_command, logged=engine.logged, redact=engine.redact)
    _print(summary, engine.summary_file)
    for text in (*summary.shortfalls, *summary.warnings):
        say(f"Warning: {text}.")
    failed = summary.totals.failed
    if lines := summary.totals.unreadable:
        say(f"{unreadable_advice(lines, engine.failures, input_of(loaded))}.")
    if sum(failed.values()) > lines:
        say(f"Some questions failed, see {engine.failures}. To try them again: {resume_command}")
    if summary.totals.unfinished:
        say(f"{summary.totals.unfinished:,} more are unfinished: go on with the command that started the run.")
    return 1 if failed or summary.totals.unfinished or summary.shortfalls else 0


def _holders(config: Config) -> "RayHolders":
    """The hosts of a Ray cluster. Raises ``ConfigError`` if Ray is not installed."""
    with needing_ray():
        from weak2wise.cluster.holders import RayHolders  # noqa: PLC0415 - Ray is an extra
    return RayHolders(config)


def collect_less_often() -> None:
    """Look for cyclic garbage less often: a quarter of a run's CPU went into it, and few of its objects are in cycles.

    It concerns the whole process, so it is for programs that own theirs.
    """
    gc.collect()
    gc.freeze()  # what is imported stays
    gc.set_threshold(10_000, 20, 50)


class _Out(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error. Rich would exit with code 1, which has another meaning here."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _print(summary: Summary, path: Path) -> None:
    """Print the summary. It is also in the file ``path``, so a failure to print does not make the run fail."""
    wait_for_reader()  # what was said before comes first
    try:
        out = QueuedStream(sys.stdout)
        show(summary, _Out(file=cast("IO[str]", out)))
        problem = "" if out.drained(UNREAD_SECONDS) else "nobody reads it"
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        say(f"Standard output: {problem}. The totals are in {path}.")
