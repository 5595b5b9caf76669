"""The desk, where hosts that work on one input share limits, cost budget and error rates."""
