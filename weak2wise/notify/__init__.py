"""A word at the end of a run, to a webhook or a command: what is said, and how it gets there."""
