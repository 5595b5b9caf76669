"""The Python API, and what is loaded by import path: a scorer, an endpoint."""
