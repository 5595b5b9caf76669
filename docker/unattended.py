"""The engine as a service that is started again when it dies: the entry point of compose.yaml.

Starting again helps after a crash, a kill or an exhausted memory, and not where only you can mend what is wrong:
"some failed" (1), "could not start" (2) and "stopped" (3, for one the money is spent) end the service with 0, so that
`restart: on-failure` leaves it alone. What was to be said is said. Commands other than the run keep their codes.

A bug of ours (70) is taken for a crash: one that comes of chance is over after a restart, which pays for nothing twice,
and one that comes back meets the end of `on-failure:10`.
"""

import signal
import subprocess
import sys

SETTLED = {1: "it finished, and some questions failed", 2: "it could not start", 3: "it stopped"}


def main(arguments: list[str]) -> int:
    """Run the engine with these arguments, pass signals on to it, and return the service's exit code."""
    command = [sys.executable, "-m", "weak2wise.engine", *arguments]
    # A session of its own: a Ctrl-C in the terminal reaches it once, through us, as two mean "at once".
    engine = subprocess.Popen(command, start_new_session=True)  # noqa: S603
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, _frame: engine.send_signal(caught))
    code = engine.wait()
    if code < 0:
        return 128 - code
    is_run = not arguments or arguments[0] == "run" or arguments[0].startswith("-")
    if is_run and code in SETTLED:
        sys.stderr.write(f"The engine is not started again by itself: {SETTLED[code]} (exit code {code}).\n")
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
