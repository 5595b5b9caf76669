"""The embedded vLLM engine."""
