"""Checks before a run: whether it will work, and what it may cost."""
