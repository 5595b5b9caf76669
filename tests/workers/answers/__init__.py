"""When two answers are the same."""
