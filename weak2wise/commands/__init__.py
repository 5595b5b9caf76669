"""The command line of ``python -m weak2wise.engine``, also installed as ``weak2wise``; one module a command."""

import sys
from difflib import get_close_matches

import cyclopts

from weak2wise.commands.retry_failed import retry_failed
from weak2wise.commands.run import INTERRUPTED, run
from weak2wise.commands.say import say
from weak2wise.telemetry.log import silence

app = cyclopts.App(
    name="weak2wise",
    help="Synthesise reasoning traces that suit a weak LLM. Start it again after any interruption: it goes on.",
    version_flags=["--version"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.default(run)
app.command(run)
app.command(retry_failed)
# Named, not imported, so that none slows the others down.
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


def main() -> None:
    """The ``weak2wise`` command."""
    silence()
    word = next(iter(sys.argv[1:2]), "-")
    names = [name for name in app if not name.startswith("-")]
    if not word.startswith("-") and word not in names:
        near = get_close_matches(word, names, n=1)
        say(f"{word}: no such command; " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"))
        sys.exit(2)
    try:
        code = app(exit_on_error=False)
    except KeyboardInterrupt:
        say("Interrupted.")
        code = INTERRUPTED
    except cyclopts.CycloptsError:
        code = 2  # cyclopts has said what is wrong with the command line
    sys.exit(code)
