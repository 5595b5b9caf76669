"""The commands, but for the run itself."""
