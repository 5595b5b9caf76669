"""Calls that are sent in batches."""
