"""Stages behind bounded queues."""
