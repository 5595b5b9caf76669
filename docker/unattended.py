"""The engine as a service that is restarted when it crashes: the entry point of compose.yaml.

A restart helps after a crash, a kill or when memory ran out. It does not help if you must fix something: "some failed"
(1), "could not start" (2) and "stopped" (3, for example because the budget is spent) end the service with 0, so that
`restart: on-failure` does not restart it. The reason has been printed. Other commands than the run keep their codes.

A bug in weak2wise (70) counts as a crash: if it is random, a restart gets past it, and nothing is paid twice; if it
comes back, `on-failure:10` limits the restarts.
"""

import signal
import subprocess
import sys

SETTLED = {1: "it finished, and some questions failed", 2: "it could not start", 3: "it stopped"}


def main(arguments: list[str]) -> int:
    """Run the engine with these arguments, pass signals on to it, and return the service's exit code."""
    command = [sys.executable, "-m", "weak2wise.engine", *arguments]
    # In its own session it gets a Ctrl-C only once, from this process. Twice would mean "end at once".
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
