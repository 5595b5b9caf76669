"""Machinery that moves data: queues, ledgers, endpoints. The method itself lives in ``workers``."""

__version__ = "0.1.0"
