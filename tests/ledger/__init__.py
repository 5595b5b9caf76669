"""Ledgers, their files and the manifest."""
