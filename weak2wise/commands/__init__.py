"""The command line of ``python -m weak2wise.engine``, also installed as ``weak2wise``; one module a command."""

import sys

import cyclopts

from weak2wise.commands.retry_failed import retry_failed
from weak2wise.commands.run import run

app = cyclopts.App(
    name="weak2wise",
    help="Synthesise reasoning traces that suit a weak LLM. Start it again after any interruption: it goes on.",
    version_flags=["--version"],
    result_action="return_value",
)
app.default(run)
app.command(run)
app.command(retry_failed)


def main() -> None:
    """The ``weak2wise`` command."""
    try:
        code = app(exit_on_error=False)
    except cyclopts.CycloptsError:
        code = 2  # cyclopts has said what is wrong with the command line
    sys.exit(code)
