"""The version of weak2wise."""

__version__ = "0.1.0"
