"""What can be known before a run: whether it will work, and what it may cost."""
