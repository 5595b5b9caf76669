"""Scorers side by side: asks the weak LLM what they need, about the traces that a run already has."""
