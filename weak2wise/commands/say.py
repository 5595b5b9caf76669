"""What a command says to its user: one line a fact, never a traceback."""

import os
import re
import shlex
import signal
import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import structlog

from weak2wise.errors import ConfigError, StopRun
from weak2wise.telemetry.log import silence
from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.terminal import tell

log = structlog.get_logger()

P = ParamSpec("P")


def explain(error: Exception, again: str, *, kept: bool = True) -> int:
    """Say in a line or three why the run ended, and return the exit code; ``kept``: its work_dir outlives it."""
    lasting = "Nothing that had arrived is lost. Go on with" if kept else "Try again with"
    causes = _leaves(error)
    for cause in causes:
        if isinstance(cause, ConfigError):
            say(str(cause))
            return 2
    for cause in causes:
        if isinstance(cause, StopRun):
            log.error("run.stopped", reason=str(cause))
            say(cause.hint)
            say(f"{lasting}: {again}")
            return 3
    if not kept:  # nor does its log
        silence()
    log.error("run.broken", exc_info=error)
    where = "in run.log" if kept else "above"
    say(f"This is a bug in weak2wise: {type(causes[0]).__name__}: {causes[0]}. The traceback is {where}.")
    say(f"{lasting}: {again}")
    return os.EX_SOFTWARE


def _leaves(error: BaseException) -> list[BaseException]:
    """The errors themselves, out of the groups that TaskGroups wrap around them."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


def say(text: str) -> None:
    """One line to the user, on standard error."""
    tell(plain(text))


def command_line(arguments: list[str]) -> str:
    """The command line that goes on, without what may be a secret, and without what would start anew once more."""
    shown = [re.sub(r"(headers|extra_body)(.*?)=.*", r"\1\2=…", argument, flags=re.DOTALL) for argument in arguments]
    for anew in (["--resume", "never"], ["--resume=never"]):
        for at in reversed(range(len(shown))):
            if shown[at : at + len(anew)] == anew:
                del shown[at : at + len(anew)]
    return shlex.join(["python", "-m", "weak2wise.engine", *shown])


def begin() -> None:
    """From here on an interruption is an exception, which tidies up on its way; see ``weak2wise/__init__.py``."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def told(command: Callable[P, int]) -> Callable[P, int]:
    """A command whose user's mistakes end in a line and exit code 2, trouble with files in one and 3."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        begin()
        try:
            return command(*args, **kwargs)
        except ConfigError as error:
            say(str(error))
            return 2
        except StopRun as error:
            say(f"{error}. {error.hint}")
            return 3
        except OSError as error:
            say(f"{error.filename or 'input or output'}: {error.strerror or error}")
            return 3

    return run
