"""Models on a vLLM engine embedded in this process, and what they need of its GPUs."""
