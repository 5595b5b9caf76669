"""The error of an embedded engine that stops a run."""

from weak2wise.errors import RunStopped

HINT = (
    "start again to go on where it stopped; if it ran out of memory, "
    "lower gpu_memory_utilization or max_num_seqs of this endpoint first"
)


class EngineDied(RunStopped):
    """The embedded engine is dead, or did not start."""
