"""How a run ended, by the error that ended it."""

import asyncio

from weak2wise.errors import ConfigError, RunStopped, single_errors
from weak2wise.telemetry.log import log


def ending_of(error: BaseException | None) -> str:
    """How a run ended, in words, by the error that ended it."""
    match cause := _cause(error):
        case None:
            return "finished"
        case asyncio.CancelledError():
            return "interrupted"
        case RunStopped() | ConfigError():
            return f"stopped: {cause}"
    return f"stopped by a bug: {type(cause).__name__}: {cause}"


def log_ending(error: BaseException) -> None:
    """Log why a run ends early; a ``ConfigError`` is shown to the user only."""
    match cause := _cause(error):
        case asyncio.CancelledError():
            log.info("run.interrupted")
        case RunStopped():
            log.error("run.stopped", reason=str(cause))
        case ConfigError():
            pass
        case _:
            log.error("run.broken", exc_info=error)


def _cause(error: BaseException | None) -> BaseException | None:
    """The error inside the groups that TaskGroups add; a ``RunStopped`` is preferred."""
    if error is None:
        return None
    causes = single_errors(error)
    return next((cause for cause in causes if isinstance(cause, RunStopped)), causes[0])
