"""How many connections this process may have open: each request in flight is one, and each connection an open file."""

import resource
from collections.abc import Sequence

from weak2wise.errors import ConfigError
from weak2wise.llm.limits.limits import MOST_IN_FLIGHT

OPEN_FILES = 65_536
"""As many as are asked for where the machine has no limit of its own; 1,024 is a usual one to begin with."""
KEPT_BACK = 128
"""Files for all the rest: ledgers, log, pipes to worker processes, who looks at the page."""


def raise_open_files(configured: Sequence[int | None]) -> None:
    """Let this process open as many files as its requests in flight need, as far as it may.

    It changes a limit of the whole process: for a program, not for a library.

    Args:
        configured: the requests in flight that each provider allows, ``None`` where that is to be found out.
    """
    needed = max(OPEN_FILES, sum(filter(None, configured)) + configured.count(None) + KEPT_BACK)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def in_flight_left(configured: Sequence[int | None]) -> int:
    """How many requests may be in flight where nothing is configured: the open files left are shared out evenly.

    Args:
        configured: as for ``raise_open_files``.

    Raises:
        ConfigError: this process may not open as many files as are configured.
    """
    known = sum(filter(None, configured))
    open_ended = configured.count(None)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    if known + open_ended + KEPT_BACK > files:
        raise ConfigError(
            f"model_endpoints: {known:,} requests in flight are configured (max_concurrent_requests), but this process "
            f"may open no more than {files:,} files, {KEPT_BACK} of them for other things. Lower the former, or raise "
            "the latter (ulimit -n)"
        )
    return min(MOST_IN_FLIGHT, (files - KEPT_BACK - known) // open_ended) if open_ended else MOST_IN_FLIGHT
