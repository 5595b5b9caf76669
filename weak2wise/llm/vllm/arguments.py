"""An endpoint's settings as vLLM's engine arguments. Only imported together with vLLM.

- On a CPU a per-request seed kills the engine when a prefill is chunked, so chunking is off there unless the user
  asks for it; vLLM then makes ``max_num_batched_tokens`` at least ``max_model_len`` by itself.
- On a CPU the engine computes in its own process, without vLLM's separate worker: the two wait for each other in busy
  loops, which on a few cores costs a third of the throughput (``scripts/bench_scoring.py``).
- Several processes of one engine are always started by vLLM itself, never by Ray, also on a host in a Ray cluster.
- On a CPU without AVX-512 the default type is float32: bfloat16, most models' own type, is several times slower there.
"""

import os
from pathlib import Path
from typing import Any

import torch
from vllm.config.logging import LoggingConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.v1.executor.uniproc_executor import UniProcExecutor

from weak2wise.config import VllmEndpoint
from weak2wise.errors import ConfigError
from weak2wise.llm.vllm.engine_log import USER_CONFIGURES_LOGGING, EngineLog
from weak2wise.telemetry.log import host_log

NATIVE_ARGS = (
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "revision",
    "download_dir",
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "data_parallel_size",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "gpu_memory_utilization",
    "enforce_eager",
    "enable_prefix_caching",
    "enable_chunked_prefill",
    "trust_remote_code",
)
BATCH_INVARIANT = "VLLM_BATCH_INVARIANT"
LEAST_CAPABILITY = 80
"""NVIDIA's compute capability, times ten, from which vLLM has batch-invariant kernels."""
CPU_KV_BYTES = 4 * 2**30


def _available_memory() -> int:
    """Bytes that the kernel estimates are available without swapping."""
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(meminfo["MemAvailable"].split()[0]) * 1024


def _cpu_args(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """The arguments that a CPU build needs beyond the user's."""
    extra: dict[str, Any] = {}
    if args.get("enable_chunked_prefill"):
        host_log.warning(
            "vllm.chunked_prefill_on_cpu", endpoint=name, hint="seeded requests can kill the engine; leave it out"
        )
    else:
        extra["enable_chunked_prefill"] = False
    if not {"distributed_executor_backend", "tensor_parallel_size", "pipeline_parallel_size"} & args.keys():
        extra["distributed_executor_backend"] = UniProcExecutor
    if "dtype" not in args and torch.backends.cpu.get_cpu_capability() == "AVX2":
        extra["dtype"] = "float32"
    sized = {"kv_cache_memory_bytes", "gpu_memory_utilization", "num_gpu_blocks_override"} & args.keys()
    if not sized and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        extra["kv_cache_memory_bytes"] = min(CPU_KV_BYTES, _available_memory() // 4)
    return extra


def _pinned_executor(args: dict[str, Any]) -> dict[str, Any]:
    """What vLLM takes by itself for several processes, except in a placement group of Ray: there it would take Ray."""
    each = args.get("tensor_parallel_size", 1) * args.get("pipeline_parallel_size", 1)
    replicas = args.get("data_parallel_size", 1)
    chosen = {"distributed_executor_backend", "data_parallel_backend", "nnodes"} & args.keys()
    fits = not current_platform.is_cuda() or torch.cuda.device_count() >= each
    return {"distributed_executor_backend": "mp"} if each * replicas > 1 and fits and not chosen else {}


def set_batch_invariance(name: str, endpoint: VllmEndpoint) -> None:
    """Turn vLLM's batch-invariant mode on if the endpoint asks for it.

    It is an environment variable, which the engine's processes inherit: so it stays on for all engines that this
    process starts later.

    Raises:
        ConfigError: it is asked for, here or by the variable itself, and vLLM does not have it for this hardware.
    """
    by_variable = os.environ.get(BATCH_INVARIANT, "0") != "0"
    if not (endpoint.batch_invariant or by_variable):
        return
    old = current_platform.is_cuda() and not current_platform.has_device_capability(LEAST_CAPABILITY)
    if current_platform.is_cpu() or old:
        what = f"model_endpoints.{name}.batch_invariant" if endpoint.batch_invariant else BATCH_INVARIANT
        found = "this GPU is older" if old else "here vLLM runs on a CPU"
        least = f"a GPU (of NVIDIA's: compute capability {LEAST_CAPABILITY / 10} or newer)"
        raise ConfigError(f"{what}: vLLM's batch-invariant mode needs {least}, and {found}; leave it out")
    os.environ[BATCH_INVARIANT] = "1"


def engine_arguments(name: str, endpoint: VllmEndpoint, engine_log: EngineLog) -> AsyncEngineArgs:
    """The endpoint as vLLM's arguments; settings without a meaning here are logged and left out."""
    args: dict[str, Any] = {"model": endpoint.model, "disable_log_stats": True, "use_tqdm_on_load": False}
    if not USER_CONFIGURES_LOGGING:
        args["logging_config"] = LoggingConfig(pylogging_config_file=str(engine_log.config_file()))
    tokenizer = dict(endpoint.tokenizer_kwargs)
    if tokenizer.pop("trust_remote_code", False):
        args["trust_remote_code"] = True
    if revision := tokenizer.pop("revision", None):
        args["tokenizer_revision"] = revision
    if tokenizer:
        host_log.warning("vllm.tokenizer_kwargs_ignored", endpoint=name, keys=sorted(tokenizer))
    native = {key: getattr(endpoint, key) for key in NATIVE_ARGS}
    args |= {key: value for key, value in native.items() if value is not None}
    args |= endpoint.engine_args
    is_cpu = current_platform.is_cpu()
    if endpoint.device not in (None, "auto") and endpoint.device.startswith("cpu") != is_cpu:
        running_on = current_platform.device_type
        host_log.warning("vllm.device_ignored", endpoint=name, device=endpoint.device, running_on=running_on)
    return AsyncEngineArgs(**(args | _pinned_executor(args) | (_cpu_args(name, args) if is_cpu else {})))
