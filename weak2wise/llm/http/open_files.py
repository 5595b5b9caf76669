"""The limit of open files. Each request in flight is a connection, and each connection an open file."""

import resource
from collections.abc import Sequence

from weak2wise.errors import ConfigError
from weak2wise.llm.limits.limits import MOST_IN_FLIGHT

OPEN_FILES = 65_536
"""The number of open files to ask the system for, if nothing needs more; a usual soft limit is 1,024."""
RESERVED_FILES = 128
"""Files for everything else: ledgers, log, pipes to worker processes, visitors of the page."""


def raise_open_files(configured: Sequence[int | None]) -> None:
    """Raise the soft limit of open files to what the requests in flight need, as far as the hard limit allows.

    It changes the whole process, so only a program may call it, not a library.

    Args:
        configured: the limit of requests in flight of each provider, ``None`` if none is configured.
    """
    needed = max(OPEN_FILES, sum(filter(None, configured)) + configured.count(None) + RESERVED_FILES)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def default_in_flight(configured: Sequence[int | None]) -> int:
    """How many requests may be in flight if nothing is configured: the remaining open files, divided evenly.

    Args:
        configured: as for ``raise_open_files``.

    Raises:
        ConfigError: this process may not open as many files as are configured.
    """
    known = sum(filter(None, configured))
    open_ended = configured.count(None)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    if known + open_ended + RESERVED_FILES > files:
        raise ConfigError(
            f"model_endpoints: {known:,} requests in flight are configured (max_concurrent_requests), but this process "
            f"may open no more than {files:,} files, {RESERVED_FILES} of them for other things. Lower the former, or "
            "raise the latter (ulimit -n)"
        )
    return min(MOST_IN_FLIGHT, (files - RESERVED_FILES - known) // open_ended) if open_ended else MOST_IN_FLIGHT
