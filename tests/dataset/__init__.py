"""Input files in every format."""
