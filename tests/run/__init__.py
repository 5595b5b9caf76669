"""Whole runs: the engine as its users run it, stopped, disturbed and started again."""
