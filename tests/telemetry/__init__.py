"""Tests of what is logged and shown."""
