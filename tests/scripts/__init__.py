"""The scripts beside the package."""
