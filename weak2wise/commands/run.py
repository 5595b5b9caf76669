"""``run``: the pipeline, started or gone on with, and what a signal does to it.

Exit codes: 0 every record emitted or dropped; 1 finished, some records failed; 2 could not start; 3 stopped midway by
something only the user can mend; 70 stopped by a bug of ours; 130 interrupted. After all but 0 and 2 the same command
goes on where it stopped.
"""

import asyncio
import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import cyclopts
import uvloop
from rich.console import Console

from weak2wise.commands.say import begin, command_line, explain, say
from weak2wise.config import Config, input_of, load_config
from weak2wise.run.engine import Engine
from weak2wise.errors import ConfigError
from weak2wise.ledger.manifest import Resume
from weak2wise.dataset import unreadable_advice
from weak2wise.run.summary import Summary, show
from weak2wise.telemetry.terminal import can_be_drawn_on
from weak2wise.watch.page import Address, served
from weak2wise.watch.screen import on_screen
from workers.method import METHOD

INTERRUPTED = 130
GRACE_SECONDS = 2.0
"""How long answers under way may still arrive after SIGINT, SIGTERM or SIGHUP."""
_NUMBERS = [str(step.number) for step in METHOD]
_UP_TO_STEP = (
    f"Stop after this step, {_NUMBERS[0]} to {_NUMBERS[-1]} ({', '.join(step.name for step in METHOD)}); "
    "a later run goes on."
)


async def supervise(engine: Engine, page: Address | None = None) -> Summary | None:
    """Run an engine and show how it goes; on SIGINT, SIGTERM or SIGHUP let what is under way arrive, then stop.

    A second SIGINT or SIGTERM ends the process at once. A terminal that goes away may say so twice, and SIGHUP means
    nothing where it was ignored from the start (``nohup``).

    Returns:
        The summary, or ``None`` if the run was interrupted.
    """
    engine.observer = asyncio.get_running_loop().create_future()
    async with AsyncExitStack() as stack:
        if page:
            say(f"The page: {await stack.enter_async_context(served(engine.observer, page))}")
        if can_be_drawn_on():
            await stack.enter_async_context(on_screen(engine.observer, Console(stderr=True)))
        return await _until_signalled(engine)


async def _until_signalled(engine: Engine) -> Summary | None:
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
    running = asyncio.create_task(engine.run(), name="run")
    waiting = asyncio.create_task(interrupted.wait(), name="signals")
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        waiting.cancel()
        return running.result()
    await engine.gate.drain(GRACE_SECONDS)
    running.cancel()
    with suppress(asyncio.CancelledError):
        return await running  # it may have finished meanwhile
    return None


def run(
    *,
    config: Path = Path("config.yaml"),
    set_: Annotated[list[str] | None, cyclopts.Parameter(name="--set", negative="")] = None,
    resume: Resume = "auto",
    up_to_step: Annotated[str, cyclopts.Parameter(help=_UP_TO_STEP)] = "all",
    page: str | None = None,
    verbose: Annotated[bool, cyclopts.Parameter(negative="")] = False,
) -> int:
    """Run the pipeline, or go on with a run that was stopped.

    Args:
        config: The YAML file that says what to run.
        set_: Override a key of the config: --set params.n_mask=8. May be given several times.
        resume: auto goes on where an earlier run of the same settings stopped; never starts anew and keeps the earlier
            ledger aside; force goes on although settings changed.
        up_to_step: Stop after the step of this number; a later run goes on. (Help lists the numbers.)
        page: Serve a page that shows how the run goes, and Prometheus metrics at /metrics: a port on this machine, or
            HOST:PORT, which needs the environment variable W2W_PAGE_TOKEN.
        verbose: Show every event of run.log.
    """
    if up_to_step not in {"all", *_NUMBERS}:
        say(f"--up-to-step {up_to_step}: expected {', '.join(_NUMBERS)} or all")
        return 2
    steps = len(METHOD) if up_to_step == "all" else int(up_to_step)
    return carry_out(config, set_ or (), partial(Engine, resume=resume, up_to_step=steps, verbose=verbose), page)


def carry_out(config: Path, overrides: Sequence[str], make: Callable[[Config], Engine], page: str | None = None) -> int:
    """Load a config, run the engine made of it, say how it ended and return the exit code."""
    begin()
    again = command_line(sys.argv[1:])
    try:
        address = Address.of(page) if page else None
        loaded = load_config(config, overrides)
        try:
            engine = make(loaded)
        except ConfigError as error:
            raise ConfigError(f"{config}: {error}") from None
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            summary = runner.run(supervise(engine, address))
            if summary is None:
                say(f"Interrupted; everything that had arrived is kept. Go on with: {again}")
                # Not by returning: the runner would wait for a thread that may be reading a large input for minutes.
                # What such a thread still writes in the work_dir ends now, and only then does the lock go.
                os._exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last resort: told below, in full in the log
        return explain(error, again)
    _print(summary, engine.summary)
    if not summary.totals.rows:
        say(f"Warning: {input_of(loaded)} holds no questions, so there is nothing to do (dataset.input_path).")
    left = summary.totals.failed
    if lines := summary.totals.unreadable:
        say(f"{unreadable_advice(lines, engine.failures, input_of(loaded))}.")
    if sum(left.values()) > lines:
        say(f"Some questions failed, see {engine.failures}. They are tried again by: {again}")
    if summary.totals.unfinished:
        say(f"{summary.totals.unfinished:,} more are unfinished: go on with the command that started the run.")
    return 1 if left or summary.totals.unfinished else 0


class _Out(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the process, with a code that means something else here."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def _print(summary: Summary, path: Path) -> None:
    """Print the summary, which is also in the file ``path``; a run that went well is not told by whether this does."""
    try:
        show(summary, _Out())
    except OSError as error:
        say(f"Standard output: {error.strerror}. The totals are in {path}.")
