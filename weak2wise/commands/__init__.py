"""The commands, one module each. Each is imported only when it is called."""

import atexit
import io
import os
import sys
from difflib import get_close_matches
from typing import TextIO

import cyclopts

from weak2wise.commands.run import run
from weak2wise.commands.say import INTERRUPTED, say
from weak2wise.telemetry.terminal import QueuedStream, wait_for_reader

app = cyclopts.App(
    name="weak2wise",
    help="Synthesise reasoning traces that suit a weak LLM. After an interruption, start it again: it resumes.",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
    help_format="plaintext",  # other formats import a Markdown parser, which takes longer than everything else
)
app.default(run)
app.command(run, sort_key=40)
# Named by import path, not imported: no command slows the others down. --help lists them by sort_key: the order of a
# day's work.
app.command(
    "weak2wise.commands.retry_failed:retry_failed",
    name="retry-failed",
    sort_key=60,
    help="Try failed questions again, all or some. Other questions are left as they are.",
)
app.command("weak2wise.commands.init:init", name="init", sort_key=10, help="Write a commented config for a provider.")
app.command(
    "weak2wise.commands.check:check",
    name="check",
    sort_key=20,
    help="Check before a run whether it will work, and what it may cost.",
)
app.command(
    "weak2wise.commands.preview:preview",
    name="preview",
    sort_key=30,
    help="Run a few questions through all steps and show the results.",
)
app.command(
    "weak2wise.commands.compare:compare",
    name="compare",
    sort_key=120,
    help="Compare scorers on the traces that a run already has.",
)
app.command(
    "weak2wise.commands.status:status", name="status", sort_key=50, help="Show the state of a run, read from its files."
)
app.command(
    "weak2wise.commands.view:view",
    name="view",
    sort_key=55,
    help="Show runs on a page in the browser: finished, stopped or running ones.",
)
app.command(
    "weak2wise.commands.export:export",
    name="export",
    sort_key=80,
    help="Write a run's training data in a trainer's format.",
)
app.command(
    "weak2wise.commands.train:train", name="train", sort_key=90, help="Train the weak LLM on the traces of a run."
)
app.command(
    "weak2wise.commands.report:report",
    name="report",
    sort_key=70,
    help="Write a report of a run: one HTML file that needs no network.",
)
app.command(
    "weak2wise.commands.evaluate:evaluate",
    name="evaluate",
    sort_key=100,
    help="Ask a model held-out questions and print how often it is right.",
)
app.command(
    "weak2wise.commands.prove:prove",
    name="prove",
    sort_key=110,
    help="Synthesise, train, evaluate, and say whether it helped.",
)
app.command(
    "weak2wise.commands.repair:repair",
    name="repair",
    sort_key=150,
    help="Set damaged lines of a run's ledgers aside, so that the run can go on.",
)
app.command(
    "weak2wise.commands.gc:gc",
    name="gc",
    sort_key=160,
    help="Delete what a work_dir can do without, after saying how much and what follows.",
)
app.command(
    "weak2wise.commands.fork:fork",
    name="fork",
    sort_key=130,
    help="Make a new work_dir with other settings that shares what a run has paid for.",
)
batch = cyclopts.App(
    name="batch", help="Batches of a run that are out at a provider.", help_format="plaintext", sort_key=140
)
batch.command("weak2wise.commands.batch:list_batches", name="list", help="List the batches of a run that are out.")
batch.command(
    "weak2wise.commands.batch:cancel_batches",
    name="cancel",
    help="Cancel them. What they have answered is fetched by the next start.",
)
app.command(batch)
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
    except cyclopts.CycloptsError as error:  # cyclopts has already printed what is wrong
        if files := [token for token in error.unused_tokens or () if token.endswith(_YAML)]:
            say(f"Did you mean --config {files[0]}?")
        return 2
    except OSError as error:  # commands report their own errors; here only printing help can fail
        say(f"standard output: {error.strerror}")
        return 3
    return code


def _open_streams() -> None:
    """Make sure that the standard streams are open and accept every character, and that nobody waits for stderr.

    A closed stream is replaced by /dev/null. Otherwise the next file to be opened, perhaps a ledger, would get its file
    descriptor, and everything written to "standard error" would go into that file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free descriptor
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8")  # noqa: SIM115 - stays open
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    stderr, sys.stderr = sys.stderr, QueuedStream(sys.stderr)
    atexit.register(_close_streams, stderr)


def _close_streams(stderr: TextIO) -> None:
    """Wait for the reader of standard error; if there is one, what is still to come is written to it directly."""
    if wait_for_reader():
        sys.stderr = stderr


def _flushed(code: int) -> int:
    """Flush standard output and return the exit code: 3 if that fails and ``code`` is 0."""
    try:
        sys.stdout.flush()
    except OSError as error:
        # Otherwise Python would flush again at exit, print an error, and use an exit code of its own.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if code == 0:
            say(f"standard output: {error.strerror}")
            code = 3
    return code
