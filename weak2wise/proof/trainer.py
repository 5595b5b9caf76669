"""The process that trains: ``python -m weak2wise.proof.trainer SPEC.json``, launched by accelerate.

It says what happens in JSON lines (``messages.py``) on its standard output; what libraries print there goes to
standard error, a log file. Its standard input is a pipe that its parent keeps open: when that ends, so does this
process, however the parent ended. So no training goes on that nobody watches.
"""

import errno
import fcntl
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from weak2wise.errors import TRAINING, ConfigError, RunStopped
from weak2wise.ledger.files import fix_hint
from weak2wise.proof.messages import Message, Refused, Spec, Stopped

_LEAST_BYTES = 64 << 20
"""With less room than this on the disk, a failed write is its fault, whatever the library says."""


def main() -> None:
    """Train as the file says, and report how it went; the exit code is 0 if a message says how."""
    spec = Spec.read(Path(sys.argv[1]))
    say = _channel() if os.environ.get("RANK", "0") == "0" else lambda _: None
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    with (spec.folder / "trainer.lock").open("wb") as lock:
        if os.environ.get("RANK", "0") == "0":
            fcntl.flock(lock, fcntl.LOCK_EX)  # the trainer of a parent that was killed may be ending just now
        try:
            _train(spec, say)
        except (ConfigError, RunStopped) as error:
            said: Message = Refused(str(error)) if isinstance(error, ConfigError) else Stopped(str(error), error.hint)
            say(said)
        except Exception as error:
            if (blamed := _machine(error, spec)) is None:
                raise
            traceback.print_exc()
            say(blamed)


def _train(spec: Spec, say: Callable[[Message], None]) -> None:
    try:
        from weak2wise.proof.fitting import fit  # noqa: PLC0415 - takes seconds; the parent may end meanwhile
    except ImportError as error:
        traceback.print_exc()
        raise ConfigError(f"a package that trains cannot be imported ({error}): {TRAINING}") from None
    fit(spec, say)


def _machine(error: Exception, spec: Spec) -> Stopped | None:
    """What to say of an error that is the machine's fault; ``None`` if it is not."""
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return Stopped(
            f"the memory is full: {str(error).partition('.')[0]}",
            "Lower train.device_batch_size (it changes no result) or train.max_length, or set train.lora_rank",
        )
    space = os.statvfs(spec.folder)
    if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
        return Stopped(f"{error.filename or spec.folder}: {error.strerror}", fix_hint(error))
    if space.f_bavail * space.f_frsize < _LEAST_BYTES:
        return Stopped(f"{spec.folder}: the disk is full", fix_hint(OSError(errno.ENOSPC, "")))
    return None


def _channel() -> Callable[[Message], None]:
    """A function that sends a message to the parent. Whatever else prints on standard output goes to the log."""
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    encode = msgspec.json.Encoder().encode

    def say(message: Message) -> None:
        out.write(encode(message) + b"\n")

    return say


def _end_with_parent() -> NoReturn:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
