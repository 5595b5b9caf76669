"""Training, evaluating and proving."""
