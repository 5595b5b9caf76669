"""Requests that are sent in batches, for the lower price of a provider's batch API (OpenAI's files and batches)."""
