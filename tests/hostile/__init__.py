"""Text that is made to be slow to read."""
