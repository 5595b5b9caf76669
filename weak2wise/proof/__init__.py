"""Does the data help? Train the weak LLM on arms of a run, evaluate it, and say what that proves."""
