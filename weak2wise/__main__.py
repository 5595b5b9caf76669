"""The program: ``python -m weak2wise``, ``python -m weak2wise.engine`` and the installed ``weak2wise``.

Signals, exit codes, standard streams and the limit on open files are the program's business; nothing of that is in the
modules that it is made of.
"""

import os
import signal


def _end(_number: int, _frame: object) -> None:
    signal.signal(signal.SIGALRM, lambda *_: os._exit(130))
    signal.alarm(1)  # nobody may be reading
    os.write(2, b"Interrupted.\n")
    os._exit(130)


def main() -> None:
    """Run what the command line asks for, and exit with its code."""
    # Until its command begins there is nothing to tidy up, and an exception in the middle of an import is a traceback,
    # or in a compiled module worse.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)
    from weak2wise.commands import run_command_line  # noqa: PLC0415 - imported once the handler is in place

    run_command_line()


if __name__ == "__main__":
    main()
