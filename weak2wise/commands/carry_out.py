"""A run from the command line: how it handles signals, what it prints, and its exit code."""

import asyncio
import ctypes
import errno
import gc
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol, TypeVar, cast

import uvloop
from rich.console import Console

from weak2wise.commands.extras import needing_ray
from weak2wise.commands.notifying import Notifier
from weak2wise.commands.say import INTERRUPTED, command_line, explain, handle_interrupts, program, say
from weak2wise.commands.signals import until_signalled
from weak2wise.config import Config, input_of, load_config
from weak2wise.dataset import unreadable_advice
from weak2wise.errors import ConfigError
from weak2wise.llm.drain import Drain
from weak2wise.llm.http.open_files import raise_open_files
from weak2wise.outputs.summary import show
from weak2wise.run.engine import Engine
from weak2wise.telemetry.log import Echo
from weak2wise.telemetry.terminal import UNREAD_SECONDS, QueuedStream, can_be_drawn_on, wait_for_reader, write_line
from weak2wise.watch.address import Address, Served
from weak2wise.watch.observer import Observed
from weak2wise.watch.screen import Header, on_screen

if TYPE_CHECKING:
    from weak2wise.cluster.holders import RayHolders

_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
"""The settings' numbers in glibc's malloc.h."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Supervised(Protocol[T_co]):
    """What can be run under supervision: an ``Engine``, or something with a pipeline of its own."""

    drain: Drain

    async def run(self, opened: "asyncio.Future[Observed] | None" = None) -> T_co:
        """Run it; ``opened`` resolves to the observer once there is something to see."""
        ...


async def supervise(
    engine: Supervised[T],
    page: Served | None = None,
    notifier: Notifier | None = None,
    header: Header | None = None,
) -> T | None:
    """Run an engine and show its progress. On SIGINT, SIGTERM or SIGHUP, wait for calls in flight, then stop.

    A second SIGINT or SIGTERM ends the process at once. A second SIGHUP does not: a terminal that is closed may send it
    twice. SIGHUP has no effect if it was ignored from the start (``nohup``).

    Returns:
        What it made, or ``None`` if it was interrupted.
    """
    opened: asyncio.Future[Observed] = asyncio.get_running_loop().create_future()
    if notifier:
        opened.add_done_callback(lambda done: setattr(notifier, "observed", done.result()))
    async with AsyncExitStack() as stack:
        if page:
            from weak2wise.watch.page import served  # noqa: PLC0415 - see ``run_to_end``

            url = await stack.enter_async_context(served(opened, page, show_token=can_be_drawn_on()))
            say(f"The page: {url}")
            for hint in page.address.hints(url):
                say(hint)
            header = header and header._replace(page=url)
        if can_be_drawn_on():
            await stack.enter_async_context(on_screen(opened, Console(stderr=True), header))
        return await until_signalled(engine.run(opened), engine.drain)


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
    allow_host: Sequence[str] = (),
    verbose: bool = False,
    ray: str | None = None,
    to_be_continued: bool = False,
    **options: Any,
) -> int:
    """Load a config, run an engine with these ``options``, print how it ended, and return the exit code.

    ``ray``: the address of a cluster whose hosts do the work. ``to_be_continued``: the command has more to do after
    the run, so nobody is notified that it has finished.
    """
    handle_interrupts()
    resume_command = command_line()
    engine: Engine | None = None
    notifier: Notifier | None = None
    try:
        address = Address.of(page, allow_host) if page else None
        loaded = load_config(config, overrides)
        try:
            options |= {"holders": _holders(loaded)} if ray else {}
            engine = make_engine(loaded, verbose=verbose, config_file=config, **options)
            notifier = Notifier(loaded, resume_command, engine.redact)
        except ConfigError as error:
            raise ConfigError(f"{config}: {error}") from None
        cluster = options["holders"].joined(ray, engine.drain, engine.budget) if ray else None
        shown = Served(address, engine.work_dir.resolve(), config.resolve()) if address else None
        header = Header.of(str(config), loaded)
        summary = run_to_end(engine, resume_command, shown, cluster=cluster, notifier=notifier, header=header)
    except Exception as error:  # noqa: BLE001 - printed below; the traceback is in the log
        if engine is None or notifier is None:
            return explain(error, resume_command, logged=False)
        code = explain(error, resume_command, logged=engine.logged, redact=engine.redact)
        notifier.stopped(error, code)
        return code
    print_out(lambda out: show(summary, out), engine.summary_file)
    for text in (*summary.shortfalls, *summary.warnings):
        say(f"Warning: {text}.")
    failed = summary.totals.failed
    if lines := summary.totals.unreadable:
        say(f"{unreadable_advice(lines, engine.failures, input_of(loaded))}.")
    if sum(failed.values()) > lines:
        say(f"Some questions failed, see {engine.failures}. To try them again", resume_command)
    if summary.totals.unfinished:
        say(f"{summary.totals.unfinished:,} more are unfinished: go on with the command that started the run.")
    code = 1 if failed or summary.totals.unfinished or summary.shortfalls else 0
    if not to_be_continued:
        notifier.finished("; ".join(summary.shortfalls), _next(engine, resume_command, code), code)
    return code


def _next(engine: Engine, resume_command: str, code: int) -> list[str]:
    """What to do after a run that got to its end."""
    called, folder = shlex.join(program()), shlex.quote(str(engine.work_dir))
    again = [f"{resume_command} (tries again what failed)"] if code else []
    return [*again, f"{called} report {folder}", f"{called} export {folder}"]


def run_to_end(
    engine: Supervised[T],
    resume_command: str,
    page: Served | None = None,
    *,
    cluster: AbstractContextManager[None] | None = None,
    notifier: Notifier | None = None,
    header: Header | None = None,
) -> T:
    """Run an engine under supervision; returns what it made. An interruption is said, and ends the process.

    ``cluster``: open while it runs. ``notifier``: notifies of an interruption. ``header``: for a
    picture on the terminal.
    """
    if page:  # a web server takes memory, so only then; here, as loading it would hold up the event loop
        import weak2wise.watch.page  # noqa: F401, PLC0415
    tune_memory()
    with ExitStack() as stack, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        if cluster:
            stack.enter_context(cluster)
        made = runner.run(supervise(engine, page, notifier, header))
        if made is None:
            stack.close()
            say("Interrupted; everything that had arrived is kept. Go on with", resume_command)
            wait_for_reader()
            if notifier:
                notifier.interrupted(INTERRUPTED, runner)
            # No return: the runner would wait for threads, and one may be reading a large input for minutes.
            # Exiting ends the threads' writes to the work_dir first and releases its lock after that.
            wait_for_reader()  # what the notifier has said
            os._exit(INTERRUPTED)
        return made


def _holders(config: Config) -> "RayHolders":
    """The hosts of a Ray cluster. Raises ``ConfigError`` if Ray is not installed."""
    with needing_ray():
        from weak2wise.cluster.holders import RayHolders  # noqa: PLC0415 - Ray is an extra
    return RayHolders(config)


def tune_memory() -> None:
    """Set up this process's memory for a run. For programs that own their process; before any thread is started.

    * Look for cyclic garbage less often: a quarter of a run's CPU went into it, and few of its objects are in cycles.
    * Two heaps in glibc. By default nearly every thread has its own, eight for each core, and what was freed in one is
      of no use in the others. A run's threads seldom allocate at once.
    * A block from 128 KiB goes back to the system when it is freed. By default glibc soon puts larger ones into the
      heaps too, up to 32 MiB, where they leave holes as they grow.
    """
    gc.collect()
    gc.freeze()  # what is imported stays
    gc.set_threshold(30_000, 20, 50)
    with suppress(AttributeError):  # another C library has no such settings
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 128 << 10)


class _Out(Console):
    def on_broken_pipe(self) -> None:
        """Raise the error. Rich would exit with code 1, which has another meaning here."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def print_out(draw: Callable[[Console], None], path: Path) -> None:
    """Print the result. It is also in the file ``path``, so a failure to print does not make the command fail."""
    wait_for_reader()  # what was said before comes first
    try:
        out = QueuedStream(sys.stdout)
        draw(_Out(file=cast("IO[str]", out)))
        problem = "" if out.drained(UNREAD_SECONDS) else "nobody reads it"
    except OSError as error:
        problem = str(error.strerror)
    if problem:
        say(f"Standard output: {problem}. The result is in {path}.")
