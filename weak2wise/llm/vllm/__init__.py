"""Models on a vLLM engine embedded in this process, and the GPU memory they need."""
