"""Watching a run that goes on: in the terminal, on a page, through metrics."""
