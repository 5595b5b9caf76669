"""Limits of an endpoint: requests in flight and per minute, as configured and as learned from 429s."""
