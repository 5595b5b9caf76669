"""What a command prints for its user: one line for each fact. A traceback only for a bug that no log holds."""

import os
import re
import shlex
import signal
import sys
import textwrap
import threading
import traceback
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec

from weak2wise.access import refusal
from weak2wise.errors import ConfigError, RunStopped, single_errors
from weak2wise.telemetry.plain import plain
from weak2wise.telemetry.terminal import write_line

INTERRUPTED = 130
"""The exit code of a command that was interrupted."""

_SECRET_OVERRIDE = re.compile(r"((?:headers|extra_body|options|notify(?!\.url_env=)).*?)=.*", re.DOTALL)

P = ParamSpec("P")


def explain(
    error: Exception,
    resume_command: str,
    *,
    kept: bool = True,
    logged: bool = True,
    redact: Callable[[str], str] = str,
) -> int:
    """Print in one to three lines why the run ended, and return the exit code.

    ``kept``: the work_dir stays after the run. ``logged``: the log holds the traceback of a bug. ``redact`` removes
    the run's secrets from what is printed.
    """
    advice = "Nothing that had arrived is lost. Go on with" if kept else "Try again with"
    causes = single_errors(error)
    for cause in causes:
        if isinstance(cause, ConfigError):
            say(redact(str(cause)))
            return 2
    for cause in causes:
        if isinstance(cause, RunStopped):
            if not (kept and logged):
                say(redact(str(cause)))
            say(redact(cause.hint))
            if cause.same_command:
                say(advice, resume_command)
            elif kept:
                say("Nothing that had arrived is lost.")
            return 3
    if refused := next((cause for cause in causes if isinstance(cause, PermissionError) and cause.filename), None):
        say(redact(_refused(refused)))
        say(f"{advice}: {resume_command}")
        return 2
    logged = logged and kept
    if not logged:
        write_line(redact("".join(traceback.format_exception(error)).rstrip()))
    where = "in run.log" if logged else "above"
    say(f"This is a bug in weak2wise: {type(causes[0]).__name__}: {redact(str(causes[0]))}. The traceback is {where}.")
    say(advice, resume_command)
    return os.EX_SOFTWARE


def _refused(error: PermissionError) -> str:
    path = error.filename
    return f"{path}: {refusal(Path(path), error)}" if isinstance(path, str) else str(error)


def say(text: str, command: str = "") -> None:
    """Print one line on standard error; ``command`` is one that the user can copy.

    On a terminal that is too narrow for it, lines break between words, and the command begins a line of its own.
    """
    text, command = plain(text), plain(command)
    whole = f"{text}: {command}" if command else text
    width = _width()
    if width and len(whole) > width:
        text = textwrap.fill(f"{text}:" if command else text, width, break_long_words=False, break_on_hyphens=False)
        whole = f"{text}\n{command}" if command else text
    write_line(whole)


def _width() -> int | None:
    """The columns of the terminal that standard error is; ``None`` if it is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return None


def command_line(arguments: list[str] | None = None) -> str:
    """The command that resumes the run: as typed, without possible secrets and without ``--resume never``."""
    arguments = sys.argv[1:] if arguments is None else arguments
    shown = [_SECRET_OVERRIDE.sub(r"\1=…", argument) for argument in arguments]
    for restart in (["--resume", "never"], ["--resume=never"]):
        for at in reversed(range(len(shown))):
            if shown[at : at + len(restart)] == restart:
                del shown[at : at + len(restart)]
    return shlex.join([*program(), *shown])


def program() -> list[str]:
    """How this program is called: ``weak2wise``, or ``python -m`` and the module's name; in a container as it says."""
    if by_container := os.environ.get("W2W_COMMAND"):
        return shlex.split(by_container)
    called = Path(sys.argv[0])
    if called.suffix != ".py":
        return [called.name] if called.name == "weak2wise" else ["python", "-m", "weak2wise.engine"]
    return ["python", "-m", "weak2wise" if called.stem == "__main__" else "weak2wise.engine"]


def handle_interrupts() -> None:
    """From now on SIGINT raises ``KeyboardInterrupt``, so that cleanup runs; see ``weak2wise/__main__.py``."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def report_errors(command: Callable[P, int]) -> Callable[P, int]:
    """Decorator of a command: print its errors as one line. Exit code 2 for bad input or config, 3 for file errors."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        handle_interrupts()
        try:
            return command(*args, **kwargs)
        except ConfigError as error:
            say(str(error))
            return 2
        except RunStopped as error:
            say(f"{error}. {error.hint}")
            return 3
        except PermissionError as error:
            say(_refused(error))
            return 2
        except OSError as error:
            say(f"{error.filename or 'input or output'}: {error.strerror or error}")
            return 3

    return run
