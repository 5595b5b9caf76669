"""Models over HTTP: limits, retries, answers, what they cost, and the journal of them."""
