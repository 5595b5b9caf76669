"""Moves records: bounded queues between stages, concurrent tasks in each stage, one TaskGroup around all."""

from weak2wise.pipeline.run import run
from weak2wise.pipeline.stage import Stage

__all__ = ["Stage", "run"]
