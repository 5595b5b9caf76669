"""The log of one run, open while the run goes on."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from weak2wise.access import refusal
from weak2wise.errors import ConfigError
from weak2wise.run.ending import log_ending
from weak2wise.telemetry.log import Echo, RunLog


@asynccontextmanager
async def logged(
    path: Path, redact: Callable[[str], str], *, echo: Echo | None, peers: set[RunLog]
) -> AsyncIterator[None]:
    """Write events to this log while the context is open, also how the run ends.

    Args:
        path: the log.
        redact: removes the run's secrets.
        echo: shows some events to the user, besides.
        peers: the logs of the host's runs in progress.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        run_log = RunLog(path, redact, echo=echo, peers=peers)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {refusal(path, error)} (dataset.work_dir)") from None
    with until_end(run_log):
        yield


@contextmanager
def until_end(run_log: RunLog) -> Iterator[None]:
    """Write events to an open log while the context is open, and how it ended; then close the log."""
    try:
        with run_log.active():
            try:
                yield
            except BaseException as error:
                log_ending(error)
                raise
    finally:
        run_log.close()
