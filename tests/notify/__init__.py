"""A word at the end of a run."""
