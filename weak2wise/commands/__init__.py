"""The commands, one module each; they are imported when they are called."""

import io
import os
import sys
from difflib import get_close_matches

import cyclopts

from weak2wise.commands.run import run
from weak2wise.commands.say import INTERRUPTED, say

app = cyclopts.App(
    name="weak2wise",
    help="Synthesise reasoning traces that suit a weak LLM. Start it again after any interruption: it goes on.",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    help_format="plaintext",  # the others import a parser of Markdown, which takes longer than all the rest
)
app.default(run)
app.command(run)
# Named, not imported, so that none slows the others down.
app.command(
    "weak2wise.commands.retry_failed:retry_failed",
    name="retry-failed",
    help="Try the questions again that failed, all or some, and leave every other one as it is.",
)
app.command("weak2wise.commands.init:init", name="init", help="Write a commented config for a provider.")
app.command("weak2wise.commands.check:check", name="check", help="Find out before a run whether it will work.")
app.command(
    "weak2wise.commands.preview:preview", name="preview", help="Take a few questions all the way and show them."
)
app.command("weak2wise.commands.status:status", name="status", help="Say how a run stands, from its files alone.")
app.command("weak2wise.commands.export:export", name="export", help="Write a run's training data for a trainer.")
app.command(
    "weak2wise.commands.report:report", name="report", help="Show a run as one HTML file that needs no network."
)
app.register_install_completion_command()
_YAML = (".yaml", ".yml")


def run_command_line() -> None:
    """Run what the command line asks for, and exit with its code."""
    _open_streams()
    sys.exit(_flushed(_command()))


def _command() -> int:
    """Run what the command line asks for; returns the exit code."""
    word = next(iter(sys.argv[1:2]), "-")
    names = [name for name in app if not name.startswith("-")]
    if not word.startswith("-") and word not in names:
        near = [f"--config {word}"] if word.endswith(_YAML) else get_close_matches(word, names, n=1)
        say(f"{word}: no such command; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"))
        return 2
    try:
        code: int = app(exit_on_error=False)
    except KeyboardInterrupt:
        say("Interrupted.")
        return INTERRUPTED
    except cyclopts.CycloptsError as error:  # cyclopts has said what is wrong with the command line
        if files := [token for token in error.unused_tokens or () if token.endswith(_YAML)]:
            say(f"Did you mean --config {files[0]}?")
        return 2
    except OSError as error:  # commands tell their own trouble; what is left is a page of help that nobody takes
        say(f"standard output: {error.strerror}")
        return 3
    return code


def _open_streams() -> None:
    """See that the standard streams are there and take every character.

    One that was closed leads nowhere from now on: else the next file would be given its number, a ledger perhaps, and
    whoever writes to "standard error" would write into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115 - a number is no path
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _flushed(code: int) -> int:
    """The exit code, once what was printed is out; 3 where all else went well and it cannot be."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            # Else Python would try again at the very end, complain, and exit with a code of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is sys.stdout and code == 0:
                say(f"standard output: {error.strerror}")
                code = 3
    return code
