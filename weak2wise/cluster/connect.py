"""Joins a Ray cluster, or starts one on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from weak2wise.errors import ConfigError

OBJECT_STORE_BYTES = 80 * 2**20
"""The least that Ray takes: nothing of the run goes through it."""


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Be connected to a cluster.

    Args:
        address: ``auto``: the cluster that this shell belongs to; ``local``: one that is started here and ended again;
            or a head's host:port.

    Raises:
        ConfigError: there is none.
    """
    if address.startswith("ray://"):
        raise ConfigError(f"--ray {address}: start the run on a node of the cluster, or by ray job submit")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What actors print is in Ray's own logs; what happens is in run.log.
    options: dict[str, object] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"--ray {address}: no cluster answers there ({said})") from None
    try:
        yield
    finally:
        ray.shutdown()
