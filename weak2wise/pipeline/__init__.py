"""Moves records: bounded queues between stages, lanes inside them, one TaskGroup around them all."""

from weak2wise.pipeline.run import run
from weak2wise.pipeline.stage import Stage

__all__ = ["Stage", "run"]
