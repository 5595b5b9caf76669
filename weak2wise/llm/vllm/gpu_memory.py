"""Whether an embedded model fits into this machine's GPUs, judged by its files without loading it."""

import subprocess
from pathlib import Path

from weak2wise.config import VllmEndpoint
from weak2wise.llm.endpoint import Inspection
from weak2wise.llm.vllm.footprint import Footprint, footprint

UTILIZATION = 0.92
"""The default ``gpu_memory_utilization`` of vLLM 0.32."""
_QUERY = ("nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits")


def cached(model: str, endpoint: VllmEndpoint) -> Path | None:
    """The folder of a hub model in the local Hugging Face cache; ``None`` if it is not there. Blocks."""
    try:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - comes with vLLM
        from huggingface_hub.errors import HFValidationError  # noqa: PLC0415
    except ImportError:
        return None
    folder = endpoint.download_dir and Path(endpoint.download_dir).expanduser()
    try:
        found = try_to_load_from_cache(model, "config.json", cache_dir=folder, revision=endpoint.revision)
    except HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def gpus() -> list[int]:
    """The memory of each visible NVIDIA GPU, in bytes. Blocks."""
    try:
        output = subprocess.run(_QUERY, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603 - fixed
        return [int(line) << 20 for line in output.split()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def fit(needs: Footprint, endpoint: VllmEndpoint, gpu_bytes: list[int]) -> tuple[bool, str]:
    """Whether a model fits into the GPUs that its endpoint uses, and the reason for a message."""
    if not gpu_bytes:
        return True, "no GPU was found here to compare that with"
    count = (endpoint.tensor_parallel_size or 1) * (endpoint.pipeline_parallel_size or 1)
    if count > len(gpu_bytes):
        return False, f"it is to run on {count} GPUs, of which {len(gpu_bytes)} were seen"
    share = endpoint.gpu_memory_utilization or UTILIZATION
    room = int(min(gpu_bytes) * share) * count
    said = f"{share:g} of {count} x {min(gpu_bytes) / 1e9:.1f} GB"
    left = room - needs.weights
    one = needs.kv_per_token * (endpoint.max_model_len or 1)
    if left < one:
        wants = "the weights" if left < 0 else f"one answer of max_model_len {endpoint.max_model_len:,}"
        return False, f"{said} has no room for {wants}"
    return True, f"{said} leaves room for at most {left // needs.kv_per_token:,} tokens in flight"


def inspect_model(name: str, endpoint: VllmEndpoint) -> Inspection:
    """Check whether an embedded model exists, and whether it fits."""
    model = endpoint.model
    folder: Path | None = Path(model).expanduser()
    assert folder is not None
    if folder.is_dir() or model.startswith(("/", ".", "~")):
        missing = next(
            (part for part in ("config.json", "tokenizer_config.json") if not (folder / part).is_file()), None
        )
        if missing:
            return Inspection("bad", f"{folder}: no model there, no {missing} (model_endpoints.{name}.model_name)")
    else:
        folder = cached(model, endpoint)
        if folder is None:
            said = "a hub name, not fetched yet, so its memory needs are not known"
            how = f"--load fetches and loads it; after `hf download {model}` check reads its files"
            return Inspection("good", f"{model}: {said}; {how}")
    needs = footprint(folder, endpoint.dtype, endpoint.kv_cache_dtype)
    if needs is None:
        return Inspection(
            "good", f"{model}: found, but of an architecture whose memory needs are not known; pass --load to load it"
        )
    fits, compared = fit(needs, endpoint, gpus())
    more = "; pass --load to load it" if fits else f" (model_endpoints.{name})"
    return Inspection("good" if fits else "bad", f"{model}: needs {needs} (all GPUs together); {compared}{more}")
