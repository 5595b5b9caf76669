"""Whether an embedded model fits into this machine's GPUs, judged by its files without loading it."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from weak2wise.config import VllmEndpoint
from weak2wise.llm.endpoint import Inspection
from weak2wise.llm.vllm.footprint import Footprint, footprint

UTILIZATION = 0.92
"""The default ``gpu_memory_utilization`` of vLLM 0.32."""
_QUERY = ("nvidia-smi", "--query-gpu=index,uuid,memory.total,name", "--format=csv,noheader,nounits")


class Gpu(Struct, frozen=True):
    """One NVIDIA GPU; ``size`` is its memory in bytes."""

    index: int
    uuid: str
    size: int
    name: str


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


def gpus(env: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The NVIDIA GPUs that a program started here may use. Blocks."""
    try:
        output = subprocess.run(_QUERY, capture_output=True, text=True, timeout=20, check=True).stdout  # noqa: S603 - fixed
        found = [_gpu(line) for line in output.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []
    visible = env.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return found
    chosen: list[Gpu] = []
    for word in visible.split(","):
        one = next((gpu for gpu in found if _names(word.strip(), gpu)), None)
        if one is None:  # CUDA takes none from the first wrong one on
            break
        chosen.append(one)
    return chosen


def _gpu(line: str) -> Gpu:
    index, uuid, size, name = (part.strip() for part in line.split(",", 3))
    return Gpu(int(index), uuid, int(size) << 20, name)


def _names(word: str, gpu: Gpu) -> bool:
    return word == str(gpu.index) or (word.startswith("GPU-") and gpu.uuid.startswith(word))


def fit(needs: Footprint, endpoint: VllmEndpoint, found: Sequence[Gpu]) -> tuple[bool, str]:
    """Whether a model fits into the GPUs that its endpoint uses, and the reason for a message."""
    if not found:
        return True, "no GPU was found here to compare that with"
    each, copies = _gpus_of_a_copy(endpoint), endpoint.data_parallel_size or 1
    count = each * copies
    if count > len(found):
        return False, f"it is to run on {count} GPUs, of which {len(found)} were seen"
    share = endpoint.gpu_memory_utilization or UTILIZATION
    size = min(gpu.size for gpu in found[:count])
    left = int(size * share) * each - needs.weights
    one = needs.kv_per_token * (endpoint.max_model_len or 1)
    said = f"of the {size / 1e9:.1f} GB of a GPU, {share:g} are used, {needs.weights / each / 1e9:.1f} GB for weights"
    if left < one:
        wants = "the weights" if left < 0 else f"one answer of max_model_len {endpoint.max_model_len or 1:,}"
        return False, f"{said}: no room for {wants}"
    tokens = f"{left // needs.kv_per_token:,} tokens in flight"
    return True, f"{said}, which leaves room for at most {tokens}{' in each copy' if copies > 1 else ''}"


def _gpus_of_a_copy(endpoint: VllmEndpoint) -> int:
    return (endpoint.tensor_parallel_size or 1) * (endpoint.pipeline_parallel_size or 1)


def idle(endpoint: VllmEndpoint, found: Sequence[Gpu]) -> str:
    """Which GPUs the endpoint leaves idle, and what would use them; empty if none."""
    each = _gpus_of_a_copy(endpoint)
    used = each * (endpoint.data_parallel_size or 1)
    left = [str(gpu.index) for gpu in found[used:]]
    if not left:
        return ""
    which = f"GPU {left[0]} stays" if len(left) == 1 else f"GPUs {', '.join(left)} stay"
    copies = len(found) // each
    more = f": data_parallel_size: {copies} would use {copies * each} of {len(found)}" if copies * each > used else ""
    return f"{which} idle{more}"


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
            unused = idle(endpoint, gpus())
            rest = f"; {unused} (model_endpoints.{name})" if unused else ""
            return Inspection("warning" if unused else "good", f"{model}: {said}; {how}{rest}")
    found = gpus()
    unused = idle(endpoint, found)
    rest = f"; {unused} (model_endpoints.{name})" if unused else ""
    good: Literal["good", "warning"] = "warning" if unused else "good"
    needs = footprint(folder, endpoint.dtype, endpoint.kv_cache_dtype)
    if needs is None:
        said = "found, but of an architecture whose memory needs are not known; pass --load to load it"
        return Inspection(good, f"{model}: {said}{rest}")
    fits, compared = fit(needs, endpoint, found)
    more = "; pass --load to load it" if fits else f" (model_endpoints.{name})"
    return Inspection(good if fits else "bad", f"{model}: a copy needs {needs}; {compared}{more}{rest if fits else ''}")
