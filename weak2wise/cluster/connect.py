"""Joins a Ray cluster, or starts one on this machine."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from weak2wise.errors import ConfigError

REACH_SECONDS = 10.0
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
        _reach(address)
        ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError, RayError) as error:
        said = " ".join(str(error).split())[:300]
        raise ConfigError(f"--ray {address}: no cluster answers there ({said})") from None
    try:
        yield
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Find out within seconds that nothing answers at a host:port: Ray tries for minutes. Raises ``OSError``."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), REACH_SECONDS).close()
